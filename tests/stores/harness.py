"""What the contract suite needs to know of a store beside the contract: a file for each store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from consumer.stores.contract import GroupCommit, Store
from consumer.stores.operations import Operations
from consumer.stores.sqlite import SqliteStore
from consumer.stores.sqlite_operations import SqliteOperations


class Harness(Protocol):
    """One empty store, for group `orders`, with a place for effects."""

    def open(self) -> Store:
        """Open the store anew, after closing the one opened before."""

    def another(self) -> Store:
        """A second store beside the open one; skips the test where there can be none."""

    def operations(self) -> AbstractContextManager[Operations]:
        """The operator's side, beside the open store."""

    def effect(self, commit: GroupCommit, what: str) -> None:
        """Make one effect through the handler's transaction."""

    def effects(self) -> list[str]:
        """All committed effects in their order."""

    def close(self) -> None:
        """Close and remove everything."""


class SqliteHarness:
    """A file in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state" / "store.db"
        self._store: SqliteStore | None = None
        with self.open().commit() as commit:
            commit.handle.execute("CREATE TABLE effects (n INTEGER PRIMARY KEY, what TEXT)")

    def open(self) -> Store:
        self._close_store()
        self._store = SqliteStore(self._path, "orders")
        return self._store

    def another(self) -> Store:
        pytest.skip("a SQLite store has one consumer")

    @contextmanager
    def operations(self) -> Iterator[Operations]:
        operations = SqliteOperations(self._path, "orders")
        try:
            yield operations
        finally:
            operations.close()

    def effect(self, commit: GroupCommit, what: str) -> None:
        commit.handle.execute("INSERT INTO effects (what) VALUES (?)", (what,))

    def effects(self) -> list[str]:
        assert self._store is not None
        with self._store.commit() as commit:
            rows = commit.handle.execute("SELECT what FROM effects ORDER BY n").fetchall()
        return [row[0] for row in rows]

    def close(self) -> None:
        self._close_store()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
