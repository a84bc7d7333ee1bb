"""One console, one page outside and one browser for these tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.connect_page.stage import ConnectStage
from tests.console.stage import Stage
from tests.parts.browser import browser
from tests.parts.cache import PartMissing


@pytest.fixture(scope="package")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectStage]:
    made = ConnectStage(tmp_path_factory.mktemp("connect"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    # Not longer: while it runs, no test can run an event loop of its own.
    running = browser()
    try:
        found = running.__enter__()
    except PartMissing as missing:
        if "browser" in os.environ.get("HOOKLINE_REQUIRE_PARTS", "").split(","):
            pytest.fail(f"required part browser is missing: {missing}")
        pytest.skip(f"browser is missing: {missing}")
    yield found
    running.__exit__(None, None, None)


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A console without any event."""
    made = Stage(tmp_path_factory.mktemp("console"), [])
    yield made
    made.close()


@pytest.fixture(autouse=True)
def plain(connect: ConnectStage) -> Iterator[None]:
    """What a test has made of the service is undone."""
    yield
    connect.service.hold.clear()
    connect.service.refuse.clear()
    connect.service.evil = lambda text: text
