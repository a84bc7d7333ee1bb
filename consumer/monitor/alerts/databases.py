"""The two databases that alerts are kept in, as one small thing: transactions of plain SQL.

Statements are written with `?`; each alert of a rule, each silence and each group is one small row,
so nothing here needs more than the two have in common.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from schemas.errors import StoreUnavailable

Row = tuple[Any, ...]
_BUSY_S: Final = 10.0
#: PostgreSQL's lock while tables are made.
_PREPARING: Final = 0x616C7274


class Transaction(Protocol):
    """Statements that count together, or not at all."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows that it gives; empty for one that gives none."""


class Database(Protocol):
    """Where `SqlAlertStore` writes."""

    #: What a column that numbers its rows, never twice, is made of.
    serial: str

    def transaction(self) -> Any:
        """A context of one `Transaction`; StoreUnavailable if it did not come about."""

    def preparing(self) -> Any:
        """The same, and no other process prepares its tables meanwhile."""

    def close(self) -> None:
        """Release it."""


class SqliteDatabase:
    """A file, which other processes may have open as well."""

    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Written at its end; the file is ours alone within it."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(self._connection)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def preparing(self) -> AbstractContextManager[Transaction]:
        """A transaction: there is never another beside it."""
        return self.transaction()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"the monitor's store {self._path}: {error}; check the disk's space and the file's "
            "permissions"
        )


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()


class PostgresDatabase:
    """PostgreSQL, in its schema `hookline`."""

    serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"

    def __init__(self, url: str) -> None:
        # The client is imported where it is used: it is an extra.
        from consumer.stores.postgres_link import Link

        self._link = Link(url)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One transaction."""
        with self._link.using() as connection, connection.transaction():
            connection.execute("SET LOCAL search_path = hookline")
            yield _PostgresTransaction(connection)

    @contextmanager
    def preparing(self) -> Iterator[Transaction]:
        """A transaction under a lock of its own, and the schema is there."""
        with self._link.using() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_PREPARING,))
            connection.execute("CREATE SCHEMA IF NOT EXISTS hookline")
            connection.execute("SET LOCAL search_path = hookline")
            yield _PostgresTransaction(connection)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


class _PostgresTransaction:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description is not None else []
