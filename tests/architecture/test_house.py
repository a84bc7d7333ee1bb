"""The house: imports go one way, rooms stay small, nothing of a machine is committed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "credentials", "producer", "consumer", "console", "hookline")
# Put together here, so that this file does not name them whole.
HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org",
         "repo1.maven" + ".org", "repo.maven.apache" + ".org", "proxy.golang" + ".org",
         "deb.debian" + ".org", "static.crates" + ".io")  # fmt: skip
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:root|work|home/\w+)/[\w.]")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_imports_go_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_no_module_is_two_ideas() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix == ".py" and (lines := path.read_text("utf-8").count("\n")) > 400
    }
    assert long == {}


def test_no_room_is_a_drawer_for_everything() -> None:
    names = {path.stem for room in ROOMS for path in (ROOT / room).rglob("*")}
    assert (
        names & {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"} == set()
    )


def test_nothing_committed_names_a_package_registry_or_a_path_of_a_machine() -> None:
    found: list[str] = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if any(host in line for host in HOSTS) or MACHINE_PATHS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert found == []
