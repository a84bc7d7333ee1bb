"""The store that all simulated replicas share: the SQLite store's own statements, in memory.

One connection, so transactions never overlap; a claim in the middle of another's transaction, as a
server's store allows, is a fault of its own (`Trial`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

from consumer.stores.contract import GroupCommit, Letter, Partition
from consumer.stores.sqlite import SqliteStore
from consumer.stores.sqlite_operations import SqliteOperations
from consumer.stores.sqlite_schema import VERSION, upgrade
from consumer.stores.transaction import Transaction
from schemas.errors import StatementFailed, StoreUnavailable

GROUP: Final = "simulated"
_PATH: Final = Path("memory")
_IN_SAVEPOINT: Final = frozenset({"handler", "keep", "take_back"})


class Crash(BaseException):
    """The process ends here. No Exception, so that nothing handles it."""


class Fault(StrEnum):
    """What goes wrong in a transaction."""

    NO_BEGIN = "unavailable at begin"
    UNAVAILABLE = "unavailable in the middle"
    NO_COMMIT = "unavailable at commit"
    #: It is committed, and the answer is lost.
    AMBIGUOUS = "ambiguous commit"
    STATEMENT_FAILED = "statement failed"
    CRASH = "crash in a transaction"
    CRASH_BEFORE_COMMIT = "crash before commit"
    CRASH_AFTER_COMMIT = "crash after commit"
    #: Another owner claims a partition while the transaction is open.
    CLAIMED = "claimed meanwhile"


class Database:
    """One for all schedules of a process: emptying it is cheaper than making it."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(
            ":memory:", isolation_level=None, cached_statements=256, check_same_thread=False
        )
        self.connection.execute("PRAGMA foreign_keys = ON")
        upgrade(self.connection, 0)
        self.connection.execute("INSERT INTO hookline_store VALUES (?, ?)", (VERSION, GROUP))
        # No UNIQUE: a second effect must be seen, not refused.
        self.connection.execute(
            "CREATE TABLE effects (n INTEGER PRIMARY KEY, entry INTEGER, kind TEXT)"
        )
        tables = self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        self._tables = [row[0] for row in tables if row[0] != "hookline_store"]

    def empty(self) -> None:
        """Forget everything."""
        for table in self._tables:
            self.connection.execute(f"DELETE FROM {table}")

    def operations(self) -> SqliteOperations:
        """The operator's side."""
        operations = SqliteOperations.__new__(SqliteOperations)
        operations._path, operations._connection = _PATH, self.connection
        return operations


class SharedStore(SqliteStore):
    """One replica's adapter: no file, lock or sync, else what the SQLite store does."""

    def __init__(self, database: Database) -> None:
        self._group = GROUP
        self._path = _PATH
        self._writing = threading.Lock()
        self._connection = self._side = database.connection


class Trial:
    """One transaction and what is to go wrong in it, at which of its calls."""

    def __init__(
        self, fault: Fault | None, at: int, claim: Callable[[], None] = lambda: None
    ) -> None:
        """`claim` lets another claim a partition in the open transaction."""
        self.fault = fault
        self._at = at
        self._claim = claim
        self._broken: BaseException | None = None
        self.calls: list[str] = []
        self.letters: list[Letter] = []
        self.struck = False

    def step(self, name: str) -> None:
        """A call is about to be made."""
        if self._broken is not None:
            # A lost connection and an ended process stay so.
            raise self._broken
        self.calls.append(name)
        last = self.fault is Fault.CLAIMED and name == "advance"
        if len(self.calls) - 1 != self._at and not (last and not self.struck):
            return
        match self.fault:
            case Fault.UNAVAILABLE:
                self._break(StoreUnavailable("simulated: the connection is lost"))
            case Fault.STATEMENT_FAILED if "careful" not in self.calls:
                self._break(StatementFailed("simulated"))
            case Fault.CRASH:
                self._break(Crash())
            # Once progress is written, its row is locked until the end. Not in a savepoint: going
            # back to it would take the claim back, too.
            case Fault.CLAIMED if not self.struck and name not in _IN_SAVEPOINT:
                if "advance" in self.calls[:-1]:
                    return
                self.struck = True
                self._claim()

    def strike(self, fault: Fault, error: BaseException) -> None:
        """A point between calls."""
        if self._broken is not None:
            raise self._broken
        if self.fault is fault:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        self.struck = True
        self._broken = error
        raise error


class FaultyStore:
    """A replica's store; `trial` is set before each transaction."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self.trial = Trial(None, 0)

    @contextmanager
    def commit(self, *, careful: bool = False) -> Iterator[GroupCommit]:
        """The store's transaction with its trial."""
        trial = self.trial
        trial.letters.clear()
        trial.calls.clear()
        if careful:
            # The second try after StatementFailed.
            trial.calls.append("careful")
            if trial.fault is Fault.STATEMENT_FAILED:
                trial.fault, trial._broken = None, None
        trial.strike(Fault.NO_BEGIN, StoreUnavailable("simulated: no connection"))
        with self._store.commit(careful=careful) as commit:
            yield cast(GroupCommit, _FaultyCommit(commit, trial))
            trial.strike(Fault.CRASH_BEFORE_COMMIT, Crash())
            trial.strike(Fault.NO_COMMIT, StoreUnavailable("simulated: rolled back"))
            trial.strike(Fault.STATEMENT_FAILED, StatementFailed("simulated"))
        trial.calls.append("committed")
        trial.strike(Fault.CRASH_AFTER_COMMIT, Crash())
        trial.strike(Fault.AMBIGUOUS, StoreUnavailable("simulated: the answer is lost"))

    @property
    def committed(self) -> bool:
        """Whether the last transaction was, whatever its caller was told."""
        return self.trial.calls[-1:] == ["committed"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _FaultyCommit:
    def __init__(self, commit: GroupCommit, trial: Trial) -> None:
        self._commit = commit
        self._trial = trial
        real = commit.handle

        def execute(sql: str, parameters: Any) -> Any:
            trial.step("handler")
            return real.execute(sql, parameters)

        self.handle = Transaction(execute, real.executemany)

    def bury(self, letters: list[Letter]) -> None:
        self._trial.step("bury")
        self._commit.bury(letters)
        self._trial.letters.extend(letters)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._commit, name)
        trial = self._trial

        def stepped(*args: Any, **kwargs: Any) -> Any:
            trial.step(name)
            return method(*args, **kwargs)

        return stepped


def bump(connection: sqlite3.Connection, partition: Partition) -> None:
    """A claim's effect on the epoch."""
    connection.execute(
        "UPDATE hookline_progress SET epoch = epoch + 1, owner = 'thief'"
        " WHERE topic = ? AND partition = ?",
        partition,
    )
