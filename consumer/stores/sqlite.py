"""The embedded store: one SQLite file, WAL, synchronous=FULL, one process at a time.

The lock file keeps a second process out: two consumers on one file would take turns fencing
each other, and the operator would see only slowness.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from consumer.stores.contract import Claim, GroupCommit, Partition, Store
from consumer.stores.transaction import Transaction
from schemas.codec import DEAD_LETTER
from schemas.dead_letter import DeadLetter
from schemas.errors import Fenced, StoreLocked, StoreUnavailable, TransactionEnded

_BUSY_S: Final = 30.0
_IDS_A_QUERY: Final = 500  # SQLite's oldest default bound on variables is 999.
_VERSION: Final = 1
_OLDEST: Final = (3, 35, 0)  # RETURNING

_SCHEMA: Final = """
CREATE TABLE hookline_progress (
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    next_offset INTEGER,
    PRIMARY KEY (consumer_group, topic, partition)
) WITHOUT ROWID;
CREATE TABLE hookline_seen (
    id BLOB NOT NULL PRIMARY KEY,
    seen_at_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX hookline_seen_at ON hookline_seen (seen_at_s);
CREATE TABLE hookline_dead_letters (
    number INTEGER PRIMARY KEY,
    dedupe_id BLOB NOT NULL,
    connection TEXT NOT NULL,
    reason TEXT NOT NULL,
    died_at_us INTEGER NOT NULL,
    letter BLOB NOT NULL
);
CREATE TABLE hookline_store (version INTEGER NOT NULL, consumer_group TEXT NOT NULL);
"""


class _SqliteCommit:
    """The open transaction; every method runs on the thread that began it."""

    def __init__(self, connection: sqlite3.Connection, group: str) -> None:
        self._run = connection.execute
        self._many = connection.executemany
        self._connection = connection
        self._group = group
        self.handle = Transaction(connection.execute, connection.executemany)

    def owned(self, claims: Sequence[Claim]) -> set[Partition]:
        # BEGIN IMMEDIATE holds the write lock: what is read here stays so until the commit.
        rows = self._run(
            "SELECT topic, partition, epoch FROM hookline_progress WHERE consumer_group = ?",
            (self._group,),
        )
        epochs = {Partition(topic, number): epoch for topic, number, epoch in rows}
        return {c.partition for c in claims if epochs.get(c.partition) == c.epoch}

    def seen(self, dedupe_ids: Collection[bytes]) -> set[bytes]:
        ids = list(dedupe_ids)
        found: set[bytes] = set()
        for start in range(0, len(ids), _IDS_A_QUERY):
            chunk = ids[start : start + _IDS_A_QUERY]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT id FROM hookline_seen WHERE id IN ({marks})"
            found.update(row[0] for row in self._run(query, chunk))
        return found

    def savepoint(self) -> None:
        self._run("SAVEPOINT hookline_event")

    def keep(self) -> None:
        self._end("RELEASE hookline_event")

    def take_back(self) -> None:
        self._end("ROLLBACK TO hookline_event")
        self._end("RELEASE hookline_event")

    def remember(self, dedupe_ids: Collection[bytes], now_s: int) -> None:
        self._many(
            "INSERT INTO hookline_seen (id, seen_at_s) VALUES (?, ?)",
            [(dedupe_id, now_s) for dedupe_id in dedupe_ids],
        )

    def bury(self, letters: Sequence[tuple[bytes, DeadLetter]]) -> None:
        self._many(
            "INSERT INTO hookline_dead_letters (dedupe_id, connection, reason, died_at_us, letter)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (dedupe_id, x.connection, x.reason, x.died_at_us, DEAD_LETTER.encode(x))
                for dedupe_id, x in letters
            ],
        )

    def advance(self, claims: Sequence[Claim], positions: Mapping[Partition, int]) -> None:
        for claim in claims:
            position = positions.get(claim.partition)
            if position is None:
                continue
            changed = self._run(
                "UPDATE hookline_progress SET next_offset = ?"
                " WHERE consumer_group = ? AND topic = ? AND partition = ? AND epoch = ?",
                (position, self._group, *claim.partition, claim.epoch),
            ).rowcount
            if changed != 1:
                raise Fenced(
                    f"{claim.partition} has another owner now (ours was epoch {claim.epoch}): "
                    "this transaction is rolled back, the new owner continues from its progress"
                )

    def _end(self, statement: str) -> None:
        try:
            self._run(statement)
        except sqlite3.OperationalError as error:
            raise TransactionEnded(
                "the handler ended the consumer's transaction; the whole batch is rolled back "
                f"and tried again ({error})"
            ) from error


class SqliteStore:
    """A `Store` in one file. Its directory is made if it is missing."""

    def __init__(self, path: Path, group: str) -> None:
        self._group = group
        self._path = path
        self._claiming = threading.Lock()
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreUnavailable(
                f"SQLite {sqlite3.sqlite_version} is too old for the store: use a Python built "
                f"with SQLite {'.'.join(map(str, _OLDEST))} or newer, or another store"
            )
        self._lock_file = _lock(path)
        try:
            # Handlers run on one thread, claims on another: each has its own connection.
            self._connection = _connect(path)
            self._claims = _connect(path)
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise _unavailable(path, error) from error
        except BaseException:
            self.close()
            raise

    def claim(self, partitions: Sequence[Partition]) -> list[Claim]:
        with self._claiming, _translated(self._path):
            self._claims.execute("BEGIN IMMEDIATE")
            try:
                claims = [self._claim(partition) for partition in partitions]
            except BaseException:
                self._claims.execute("ROLLBACK")
                raise
            self._claims.execute("COMMIT")
            return claims

    def _claim(self, partition: Partition) -> Claim:
        epoch, next_offset = self._claims.execute(
            "INSERT INTO hookline_progress (consumer_group, topic, partition, epoch)"
            " VALUES (?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch, next_offset",
            (self._group, *partition),
        ).fetchone()
        return Claim(partition, epoch, next_offset)

    @contextmanager
    def commit(self) -> Iterator[GroupCommit]:
        connection = self._connection
        with _translated(self._path):
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield _SqliteCommit(connection, self._group)
        except BaseException as error:
            # The transaction may be gone already: SQLite rolls back by itself when, say, the
            # disk is full.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _unavailable(self._path, error) from error
            raise
        if not connection.in_transaction:
            raise TransactionEnded(
                "a handler ended the consumer's transaction: its batch is tried again"
            )
        with _translated(self._path):
            try:
                # A crash before this returns: nothing of the batch happened. After: all of it.
                connection.execute("COMMIT")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def expire(self, before_s: int, limit: int) -> int:
        with _translated(self._path):
            return self._connection.execute(
                "DELETE FROM hookline_seen WHERE id IN"
                " (SELECT id FROM hookline_seen WHERE seen_at_s < ? LIMIT ?)",
                (before_s, limit),
            ).rowcount

    def close(self) -> None:
        for name in ("_connection", "_claims"):
            if connection := getattr(self, name, None):
                connection.close()
        self._lock_file.close()

    def _prepare(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        known = self._connection.execute(
            "SELECT 1 FROM sqlite_schema WHERE name = 'hookline_store'"
        ).fetchone()
        if not known:
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    self._connection.execute(statement)
            self._connection.execute(
                "INSERT INTO hookline_store VALUES (?, ?)", (_VERSION, self._group)
            )
        version, group = self._connection.execute("SELECT * FROM hookline_store").fetchone()
        self._connection.execute("COMMIT")
        if version != _VERSION:
            raise StoreUnavailable(
                f"{self._path} has store version {version}, this build knows {_VERSION}: "
                "start the Hookline version that wrote it, or a newer one"
            )
        if group != self._group:
            # Seen ids are per group: another group would take this group's events for done.
            raise StoreUnavailable(
                f"{self._path} belongs to consumer group {group!r}, not {self._group!r}: "
                "give each group a store of its own (consumer.store)"
            )


def _lock(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(f"{path}.lock", "a+b")  # noqa: SIM115 - held until close
    except OSError as error:
        raise StoreUnavailable(
            f"cannot open {path}.lock ({error.strerror}): check that the folder exists and that "
            "this user may write to it"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace").strip()
        file.close()
        raise StoreLocked(
            f"{path} is open in another process (pid {owner or 'unknown'}): a SQLite store has one "
            "consumer; stop that one, or use PostgreSQL for several replicas"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL syncs the log at each commit: a power cut after a commit loses nothing.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error


def _unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(
        f"SQLite store {path}: {error}; events wait in Kafka and are tried again. Check the "
        "disk's space and the file's permissions"
    )


def open_sqlite(path: str, group: str) -> Store:
    """The store for `sqlite:///relative/path` or `sqlite:////absolute/path`."""
    return SqliteStore(Path(path), group)
