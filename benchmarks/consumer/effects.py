"""Where candidates write their effects, and what is read back to judge them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from benchmarks.process_usage import cpu_us
from tests.parts.postgres import PostgresServer

_SQLITE: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE effects (
    number INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    resource_key TEXT NOT NULL
);
"""
_POSTGRES: Final = """
CREATE TABLE effects (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id TEXT NOT NULL,
    resource_key TEXT NOT NULL
)
"""
_COUNT: Final = "SELECT count(*), count(DISTINCT event_id) FROM effects"


class Effects(NamedTuple):
    """How many rows there are, and of how many events."""

    rows: int
    events: int


class EffectsPlace(Protocol):
    """One empty database for one candidate in one round."""

    @property
    def url(self) -> str:
        """As `consumer.store` names it."""

    def count(self) -> Effects:
        """What was written."""

    def server_cpu_us(self) -> int:
        """What its server's processes have used so far; 0 where it has none."""


class SqlitePlace:
    """A file, with its table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        connection = sqlite3.connect(path)
        connection.executescript(_SQLITE)
        connection.close()

    @property
    def url(self) -> str:
        return f"sqlite:///{self._path}"

    def count(self) -> Effects:
        connection = sqlite3.connect(self._path)
        try:
            return Effects(*connection.execute(_COUNT).fetchone())
        finally:
            connection.close()

    def server_cpu_us(self) -> int:
        return 0


class PostgresPlace:
    """A database on a server, with its table."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        # What earlier rounds have written is written out now, not while this one is measured.
        server.query("CHECKPOINT")
        server.query(f"CREATE DATABASE {name}")
        self.url = server.dsn.rpartition("/")[0] + f"/{name}"
        server.query(_POSTGRES, self.url)

    def count(self) -> Effects:
        rows, events = self._server.query(_COUNT, self.url).split("|")
        return Effects(int(rows), int(events))

    def server_cpu_us(self) -> int:
        return cpu_us(self._server.pid)
