"""What docs/handlers.md and examples/ show: it runs as it stands there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from standardwebhooks import Webhook

from hookline.processes.handler_loading import load_handlers
from hookline.settings.handlers import ForwardSettings, UpsertSettings
from hookline.testing import event
from tests.handlers.http_server import HttpServer, http_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "handlers.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_the_code_on_the_page_runs(block: str) -> None:
    names: dict[str, Any] = {"__name__": "docs_handlers"}
    exec(
        compile(block.replace("from __future__ import annotations\n", ""), "handlers.md", "exec"),
        names,
    )
    for name, test in names.items():
        if name.startswith("test_"):
            test()


def test_the_settings_on_the_page_are_right() -> None:
    pages = [yaml.safe_load(block)["consumer"] for block in blocks("yaml")]
    forwards = [each for page in pages for each in page.get("forward", [])]
    upserts = [each for page in pages for each in page.get("upsert", [])]
    assert len(forwards) == len(upserts) == 1
    ForwardSettings.model_validate(forwards[0])
    UpsertSettings.model_validate(upserts[0])


def test_the_tests_of_the_first_example_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_the_forwarding_example_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "whsec_b25seSBmb3IgdGhpcyB0ZXN0IG9mIGZvcndhcmQ="

    async def inside() -> HttpServer:
        async with http_server() as server:
            monkeypatch.setenv("WAREHOUSE_URL", server.url())
            monkeypatch.setenv("WAREHOUSE_SIGNING_SECRET", secret)
            handler = load_handlers("examples.forward:handlers").find("hmac.order.paid")
            assert handler is not None
            await handler.function(event("hmac.order.paid", {"total": 3}))
            return server

    (got,) = asyncio.run(inside()).received
    assert Webhook(secret).verify(got.body, got.headers) == {"total": 3}
