"""The stores that the monitor's contract suite runs over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from consumer.monitor.contract import MonitorStore, Questions, Span
from consumer.monitor.postgres import PostgresMonitor, PostgresQuestions
from consumer.monitor.sqlite import SqliteMonitor, SqliteQuestions
from tests.monitor import plain
from tests.monitor.made_up import TOPIC
from tests.monitor.plain import Row
from tests.parts.postgres import PostgresServer


class Place(Protocol):
    """Where one empty store is, which can be opened as often as a test likes."""

    def open(self) -> MonitorStore: ...

    def ask(self) -> Questions: ...

    def close(self) -> None: ...


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "monitor.db"
        self._opened: list[Questions] = []

    def open(self) -> MonitorStore:
        store = SqliteMonitor(self.path)
        self._opened.append(store)
        return store

    def ask(self) -> Questions:
        questions = SqliteQuestions(self.path)
        self._opened.append(questions)
        return questions

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


class PostgresPlace:
    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._name = f"monitor_{uuid4().hex}"
        server.query(f"CREATE DATABASE {self._name}")
        self.url = server.dsn.rpartition("/")[0] + f"/{self._name}"
        self._opened: list[Questions] = []

    def open(self) -> MonitorStore:
        store = PostgresMonitor(self.url)
        self._opened.append(store)
        return store

    def ask(self) -> Questions:
        questions = PostgresQuestions(self.url)
        self._opened.append(questions)
        return questions

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self._server.query(f"DROP DATABASE {self._name} WITH (FORCE)")


_STORES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def _place(request: pytest.FixtureRequest, folder: Path) -> Place:
    if request.param == "sqlite":
        return SqlitePlace(folder)
    return PostgresPlace(request.getfixturevalue("postgres"))


@pytest.fixture(params=_STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = _place(request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(place: Place) -> MonitorStore:
    return place.open()


def append(store: MonitorStore, rows: Sequence[Row], batch: int = 700) -> None:
    """In several batches, as if each were a message of one of two partitions."""
    for number, start in enumerate(range(0, len(rows), batch)):
        partition = number % 2
        first = store.offsets(TOPIC).get(partition)
        store.append(rows[start : start + batch], TOPIC, {partition: Span(first, (first or 0) + 1)})


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return plain.some_rows()


@pytest.fixture(scope="module", params=_STORES)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> Iterator[MonitorStore]:
    """A store of all `rows`, to be asked only."""
    made = _place(request, tmp_path_factory.mktemp("filled"))
    store = made.open()
    append(store, rows)
    yield store
    made.close()
