"""Consoles over real stores, made once for the tests that only look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console.stage import Stage, letter, made_up, parked_event


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A week of 3,000 events; nobody changes it."""
    made = Stage(tmp_path_factory.mktemp("console"), made_up(3_000))
    made.bury(*(letter(number) for number in range(1, 46)))
    made.park(*(parked_event(number) for number in range(30)))
    yield made
    made.close()


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One of a test's own, without any event."""
    made = Stage(tmp_path_factory.mktemp("console"), [])
    yield made
    made.close()
