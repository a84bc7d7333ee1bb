"""`hookline catalogue`: list, search, show, check, import, schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hookline.command import main
from producer.connect.entry_schema import schema_text
from producer.connect.systems import Catalogue
from tests.connect.catalogue.test_import import TEA
from tests.connect.catalogue.test_mistakes import GOOD


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        main(["catalogue", *arguments])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_all_are_listed_with_how_they_are_connected(capsys):
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    rows = {row["id"]: row for row in json.loads(out)}
    assert len(rows) >= 15
    assert rows["github"]["webhook"] == "api"
    assert rows["slack"]["webhook"] == "manual"
    code, out, _ = run(capsys, "list")
    assert "any-standard-webhooks" in out


def test_a_mistyped_name_is_found(capsys):
    code, out, _ = run(capsys, "search", "shopfy", "--json")
    assert (code, [row["id"] for row in json.loads(out)]) == (0, ["shopify"])
    code, _, err = run(capsys, "search", "xyzzy")
    assert code == 2
    assert "hookline catalogue import" in err


def test_an_entry_is_shown_with_your_own_folder(capsys, tmp_path: Path):
    (tmp_path / "acme.yaml").write_text(GOOD)
    code, out, _ = run(capsys, "show", "acme", "--folder", str(tmp_path))
    assert (code, json.loads(out)["name"]) == (0, "Acme")
    code, _, err = run(capsys, "show", "githb")
    assert code == 2
    assert "did you mean github?" in err


def test_checking_tells_every_mistake_of_every_file(capsys, tmp_path: Path):
    (tmp_path / "acme.yaml").write_text(GOOD)
    code, out, _ = run(capsys, "check", str(tmp_path))
    assert (code, out) == (0, "✓ 1 entry is good\n")
    (tmp_path / "other.yaml").write_text(GOOD.replace("provider: hmac", "provider: hmacc"))
    (tmp_path / "third.yaml").write_text("a: [")
    code, _, err = run(capsys, "check", str(tmp_path))
    assert code == 2
    assert "other.yaml:1: id: is 'acme'" in err
    assert "other.yaml:28: webhook.provider: there is no such provider" in err
    assert "third.yaml" in err
    code, _, err = run(capsys, "check", str(tmp_path / "none"))
    assert code == 2
    code, out, _ = run(capsys, "check")
    assert (code, "entries are good" in out) == (0, True)


def test_a_document_becomes_a_file_that_passes(capsys, tmp_path: Path):
    document = tmp_path / "openapi.yaml"
    document.write_text(TEA)
    folder = tmp_path / "systems"
    code, out, err = run(capsys, "import", str(document), "--into", str(folder), "--id", "tea")
    assert (code, out.strip()) == (0, str(folder / "tea.yaml"))
    assert "GET /v1/me" in err
    code, _, _ = run(capsys, "check", str(folder))
    assert code == 0
    code, _, err = run(capsys, "import", str(document), "--into", str(folder), "--id", "tea")
    assert (code, "--force" in err) == (2, True)
    code, _, _ = run(
        capsys, "import", str(document), "--into", str(folder), "--id", "tea", "--force"
    )
    assert code == 0
    code, out, _ = run(capsys, "import", str(document))
    assert out.startswith("# Made by")


def test_an_id_that_is_none_is_told(capsys, tmp_path: Path):
    document = tmp_path / "openapi.yaml"
    document.write_text(TEA)
    code, _, err = run(
        capsys, "import", str(document), "--id", "../../etc", "--into", str(tmp_path)
    )
    assert code == 2
    assert not (tmp_path / "../../etc.yaml").exists()
    assert "id:" in err


def test_the_example_of_the_documentation_is_an_entry_that_passes(capsys, tmp_path: Path):
    page = (Path(__file__).parents[3] / "docs" / "catalogue.md").read_text("utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "northwind.yaml").write_text(example)
    code, _, err = run(capsys, "check", str(tmp_path))
    assert (code, err) == (0, "")


def test_every_system_of_ours_is_in_the_documentations_table():
    page = (Path(__file__).parents[3] / "docs" / "catalogue.md").read_text("utf-8")
    for system in Catalogue.load().all():
        assert system.id.startswith("any-") or f"| {system.name}" in page


def test_the_schema_is_printed(capsys):
    code, out, _ = run(capsys, "schema")
    assert (code, out) == (0, schema_text())
