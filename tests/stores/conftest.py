"""The stores that the contract suite runs over; a new store is one more line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer.stores.contract import Store
from tests.stores.harness import Harness, SqliteHarness
from tests.stores.harness_postgres import PostgresHarness
from tests.stores.harness_redis import RedisHarness

HARNESSES: dict[str, Callable[[pytest.FixtureRequest, Path], Harness]] = {
    "sqlite": lambda _request, folder: SqliteHarness(folder),
    "postgres": lambda request, _folder: PostgresHarness(request.getfixturevalue("postgres")),
    "redis": lambda request, _folder: RedisHarness(request.getfixturevalue("redis")),
}
_MARKS = {"postgres": [pytest.mark.postgres], "redis": [pytest.mark.redis]}


@pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, [])) for name in HARNESSES])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    harness = HARNESSES[request.param](request, tmp_path)
    yield harness
    harness.close()


@pytest.fixture
def store(harness: Harness) -> Store:
    return harness.open()
