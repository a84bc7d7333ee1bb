"""How a transaction's statements go to PostgreSQL, and whose failure an error of one is.

Rule: once a statement has failed in a pipeline that is not careful, nothing of its transaction may
commit, whoever swallows the error: the server has skipped what came behind it, of other events too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import psycopg

from consumer.stores.postgres_link import Connection, Link
from consumer.stores.postgres_schema import FENCED
from consumer.stores.transaction import Parameters
from schemas.errors import StatementFailed, StoreError, StoreUnavailable

PgCursor = psycopg.Cursor[tuple[Any, ...]]

#: Connection, conflict with another transaction, resources, system (PostgreSQL's "Error Codes").
_STORE_CLASSES: Final = frozenset({"08", "40", "53", "58"})
_CURSORS: Final = 64


def of_the_store(error: psycopg.Error, connection: Connection) -> bool:
    """Whether an error says that the database itself cannot go on; else a statement is at fault.

    A statement's own: too big for an index, cancelled, timed out, a lock not got, …
    """
    state = error.sqlstate
    if connection.closed:
        return True
    if state is None:
        aborted = isinstance(error, psycopg.errors.PipelineAborted)
        return isinstance(error, psycopg.OperationalError) and not aborted
    # Operator intervention, but for 57014, which is one statement's; a read-only standby.
    return state[:2] in _STORE_CLASSES or state[:3] == "57P" or state == "25006"


class Sender:
    """Sends statements without waiting for each, or with `careful` one at a time.

    Always in a pipeline, careful too: that is the extended protocol, by which the server refuses
    two statements in one string, so that `INSERT …; COMMIT` is an error and not a commit.
    """

    def __init__(
        self, connection: Connection, pipeline: psycopg.Pipeline, link: Link, *, careful: bool
    ) -> None:
        self.careful: Final = careful
        self._connection = connection
        self._pipeline = pipeline
        self._link = link
        self._cursors: dict[str, PgCursor] = {}
        self._failure: tuple[type[StoreError], str] | None = None

    def run(
        self, sql: str, parameters: Parameters | None = None, *, prepare: bool | None = None
    ) -> PgCursor:
        """Send a statement; no parameters at all: then a literal % needs no doubling."""
        cursor = self._connection.cursor()
        self._send(lambda: cursor.execute(sql, parameters, prepare=prepare))
        return cursor

    def run_many(self, sql: str, rows: Iterable[Parameters | None]) -> PgCursor:
        """Send a statement for each row of parameters."""
        cursor = self._connection.cursor()
        self._send(lambda: cursor.executemany(sql, rows))  # type: ignore[arg-type]
        return cursor

    def run_blindly(self, sql: str, rows: Sequence[Parameters | None]) -> None:
        """Send a statement for each row of parameters; nobody will look at what it gives.

        One cursor for each statement text: making one costs more than sending by it.
        """
        cursor = self._cursors.get(sql)
        if cursor is None:
            if len(self._cursors) >= _CURSORS:
                self._cursors.clear()
            cursor = self._cursors[sql] = self._connection.cursor()
        if len(rows) == 1:
            parameters = rows[0]
            self._send(lambda: cursor.execute(sql, parameters))
        else:
            self._send(lambda: cursor.executemany(sql, rows))  # type: ignore[arg-type]

    def rows(self, sql: str, parameters: Parameters | None = None) -> list[Any]:
        """Send a statement and wait for its rows."""
        rows: list[Any] = self.guarded(self.run(sql, parameters).fetchall)
        return rows

    def wait(self) -> None:
        """Wait until all that was sent has been answered."""
        self.guarded(self._pipeline.sync)

    def fail(self, error: Exception) -> None:
        """A statement of the batch cannot be sent."""
        self._failure = StatementFailed, failed_statement(error)
        self.check()

    def check(self) -> None:
        """Raise again what has failed before."""
        if self._failure is not None:
            kind, message = self._failure
            raise kind(message)

    def guarded(self, run: Callable[[], Any]) -> Any:
        """Call psycopg; its errors come out as ours, but a careful statement's as it is."""
        self.check()
        try:
            return run()
        except psycopg.Error as error:
            if error.sqlstate == FENCED:
                raise
            if of_the_store(error, self._connection):
                self._failure = StoreUnavailable, str(self._link.unavailable(error))
            elif self.careful:
                raise
            else:
                self._failure = StatementFailed, failed_statement(error)
        return self.check()

    def _send(self, run: Callable[[], Any]) -> None:
        self.guarded(lambda: self._and_wait(run) if self.careful else run())

    def _and_wait(self, run: Callable[[], Any]) -> None:
        try:
            run()
        finally:
            self._pipeline.sync()


def failed_statement(error: Exception) -> str:
    """Without what the server said: that may quote values."""
    return f"a statement of the batch failed ({type(error).__name__})"
