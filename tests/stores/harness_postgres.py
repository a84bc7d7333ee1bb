"""A database of the test's own on the shared server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from consumer.stores.contract import GroupCommit, Store
from consumer.stores.operations import Operations
from consumer.stores.postgres import PostgresStore
from consumer.stores.postgres_operations import PostgresOperations
from tests.parts.postgres import PostgresServer


class PostgresHarness:
    """One empty store, for group `orders`, with a place for effects."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._name = f"test_{uuid4().hex}"
        server.query(f"CREATE DATABASE {self._name}")
        self.url = server.dsn.rpartition("/")[0] + f"/{self._name}"
        self._store: PostgresStore | None = None
        with self.open().commit() as commit:
            commit.handle.execute(
                "CREATE TABLE effects (n integer GENERATED ALWAYS AS IDENTITY, what text)"
            )

    def open(self) -> Store:
        self._close_store()
        self._store = PostgresStore(self.url, "orders")
        return self._store

    def another(self) -> Store:
        return PostgresStore(self.url, "orders")

    @contextmanager
    def operations(self) -> Iterator[Operations]:
        operations = PostgresOperations(self.url, "orders")
        try:
            yield operations
        finally:
            operations.close()

    def effect(self, commit: GroupCommit, what: str) -> None:
        commit.handle.execute("INSERT INTO effects (what) VALUES (%s)", (what,))

    def effects(self) -> list[str]:
        assert self._store is not None
        with self._store.commit() as commit:
            rows = commit.handle.execute("SELECT what FROM effects ORDER BY n").fetchall()
        return [row[0] for row in rows]

    def close(self) -> None:
        self._close_store()
        self._server.query(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
