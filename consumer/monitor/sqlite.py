"""The embedded monitor's store: one SQLite file in WAL, one monitor at a time, others may read."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import LifoQueue
from typing import Any, Final

from consumer.monitor import appending, expiring
from consumer.monitor.appending import Place
from consumer.monitor.contract import Retention, Span
from consumer.monitor.numbers import Numbers, Run
from consumer.monitor.questions import SqlQuestions
from consumer.monitor.searching import Dialect
from consumer.monitor.sqlite_schema import STEPS, VERSION
from consumer.stores.sqlite import BUSY_S, connect, lock
from schemas.errors import StoreUnavailable
from schemas.execution import Execution, Reception

_AT: Final = "monitor_"
#: Questions that are answered at a time; more wait for one of these.
READERS: Final = 4
_CACHE_KIB: Final = 65_536


class SqliteQuestions(SqlQuestions):
    """The questions, asked of a file that a monitor writes, perhaps in another process."""

    dialect = Dialect(at=_AT, aside="+")

    def __init__(self, path: Path) -> None:
        """StoreUnavailable if there is no file of a monitor, or one of another version."""
        self._path = path
        self._readers: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._opened: list[sqlite3.Connection] = []
        if not path.is_file():
            raise StoreUnavailable(
                f"{path} is not there: it is made by `hookline monitor`; start that first, or "
                "correct monitor.store"
            )
        self._open_readers()

    def _open_readers(self) -> None:
        try:
            with self._translated():
                for _ in range(READERS):
                    connection = self._connect()
                    self._opened.append(connection)
                    self._readers.put(connection)
                self._check_version(_version(self._opened[-1]))
        except BaseException:
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path)
        # What a power cut takes back is read from Kafka again: offsets are taken back with it.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB // READERS}")
        return connection

    def _check_version(self, version: int) -> None:
        if version != VERSION:
            raise StoreUnavailable(
                f"{self._path} has monitor version {version}, this build knows {VERSION}: "
                "run `hookline monitor` and whatever asks it at the same Hookline version"
            )

    @contextmanager
    def _reading(self) -> Iterator[Run]:
        connection = self._readers.get(timeout=BUSY_S)
        try:
            with self._translated():
                connection.execute("BEGIN")
                try:
                    yield _runner(connection)
                finally:
                    connection.execute("COMMIT")
        finally:
            self._readers.put(connection)

    @contextmanager
    def _recording(self) -> Iterator[Run]:
        connection = self._readers.get(timeout=BUSY_S)
        try:
            with self._written(connection):
                yield _runner(connection)
        finally:
            self._readers.put(connection)

    @contextmanager
    def _written(self, connection: sqlite3.Connection) -> Iterator[None]:
        with self._translated():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                # A crash before this returns: nothing of it happened. After: all.
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"SQLite store {self._path}: {error}; what is in Kafka is counted once it is "
                "there again. Check the disk's space and the file's permissions"
            ) from error

    def close(self) -> None:
        for connection in self._opened:
            connection.close()


class SqliteMonitor(SqliteQuestions):
    """A `MonitorStore` in one file. Its directory is made if it is missing."""

    def __init__(self, path: Path) -> None:
        """StoreLocked if another monitor has it."""
        self._path = path
        self._readers = LifoQueue()
        self._opened = []
        self._lock_file = lock(path, "monitor")
        self._writing = threading.Lock()
        self._numbers: Numbers | None = None
        try:
            with self._translated():
                self._writer = self._connect()
                self._opened.append(self._writer)
                self._writer.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._prepare()
        except BaseException:
            self.close()
            raise
        self._open_readers()

    def offsets(self, topic: str) -> dict[int, int]:
        with self._reading() as run:
            return appending.offsets(run, _AT, topic)

    def append(
        self, rows: Sequence[Execution | Reception], topic: str, spans: Mapping[int, Span]
    ) -> None:
        with self._writing:
            # Kept only once it is committed: numbers that are rolled back are nobody's.
            numbers, self._numbers = self._numbers, None
            with self._written(self._writer):
                writer = _SqliteWriter(self._writer)
                if numbers is None:
                    numbers = Numbers(_AT)
                    numbers.load(writer.run)
                appending.append(writer, _AT, numbers, rows, topic, spans)
            self._numbers = numbers

    def expire(self, retention: Retention, now_us: int, limit: int) -> int:
        with self._writing, self._written(self._writer):
            return expiring.expire(_runner(self._writer), _AT, retention, now_us, limit)

    def close(self) -> None:
        super().close()
        self._lock_file.close()

    def _prepare(self) -> None:
        with self._written(self._writer):
            version = _version(self._writer)
            if version > VERSION:
                self._check_version(version)
            for step in STEPS[version:]:
                for statement in step.split(";\n"):
                    if statement.strip():
                        self._writer.execute(statement)
            self._writer.execute("DELETE FROM monitor_store")
            self._writer.execute("INSERT INTO monitor_store VALUES (?)", (VERSION,))


class _SqliteWriter:
    """See `appending.Writer`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.run = _runner(connection)

    def insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * len(rows[0]))
        self._connection.executemany(f"INSERT INTO {_AT}{table} ({columns}) VALUES ({marks})", rows)

    def add_counts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._connection.executemany(
            "INSERT INTO monitor_counts VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET n = n + excluded.n",
            rows,
        )

    def sketches(self, places: Sequence[Place]) -> dict[Place, bytes]:
        found: dict[Place, bytes] = {}
        execute = self._connection.execute
        for place in places:
            row = execute(
                "SELECT packed FROM monitor_sketches WHERE grain_s = ? AND series = ? AND at_s = ?",
                place,
            ).fetchone()
            if row is not None:
                found[place] = row[0]
        return found

    def put_sketches(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._connection.executemany(
            "INSERT INTO monitor_sketches VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET packed = excluded.packed",
            rows,
        )


def _runner(connection: sqlite3.Connection) -> Run:
    def run(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return connection.execute(statement, values).fetchall()

    return run


def _version(connection: sqlite3.Connection) -> int:
    known = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE name = 'monitor_store'"
    ).fetchone()
    if not known:
        return 0
    version: int = connection.execute("SELECT version FROM monitor_store").fetchone()[0]
    return version
