"""The embedded store: one SQLite file, WAL, synchronous=FULL, one consumer at a time.

The lock file keeps a second consumer out: two on one file would take turns fencing each other,
and the operator would see only slowness.
"""

from __future__ import annotations

import fcntl
import math
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from consumer.stores.contract import (
    GIVEN_UP_S,
    Claim,
    GroupCommit,
    Layout,
    Outgoing,
    Partition,
    Store,
    pack_layout,
)
from consumer.stores.sqlite_commit import DAY_S, SqliteCommit, parked_key
from consumer.stores.sqlite_schema import VERSION, upgrade
from schemas.codec import DEAD_LETTER
from schemas.errors import StatementFailed, StoreLocked, StoreUnavailable, TransactionEnded

BUSY_S: Final = 30.0
_OLDEST: Final = (3, 35, 0)  # RETURNING


class SqliteStore:
    """A `Store` in one file. Its directory is made if it is missing."""

    def __init__(self, path: Path, group: str) -> None:
        self._group = group
        self._path = path
        # SQLite has one writer. Its own waiting sleeps in steps of up to 100 ms; a lock between
        # our threads hands over at once.
        self._writing = threading.Lock()
        self._lock_file = lock(path, "consumer")
        try:
            # Handlers run on one thread, claims and housekeeping on others: two connections.
            self._connection = connect(path)
            self._side = connect(path)
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise unavailable(path, error) from error
        except BaseException:
            self.close()
            raise

    def claim(self, partitions: Sequence[Partition], owner: str = "") -> list[Claim]:
        with self._aside() as connection:
            return [self._claim(connection, partition, owner) for partition in partitions]

    def _claim(self, connection: sqlite3.Connection, partition: Partition, owner: str) -> Claim:
        epoch, next_offset = connection.execute(
            "INSERT INTO hookline_progress (consumer_group, topic, partition, epoch, owner)"
            " VALUES (?, ?, ?, 1, ?)"
            " ON CONFLICT DO UPDATE SET epoch = epoch + 1, owner = excluded.owner,"
            " written_at_s = NULL, idle_from_s = NULL"
            " RETURNING epoch, next_offset",
            (self._group, *partition, owner),
        ).fetchone()
        rows = connection.execute(
            "SELECT key, events, attempts, retry_at_ms FROM hookline_parked_keys"
            " WHERE topic = ? AND partition = ?",
            partition,
        ).fetchall()
        parked = tuple(parked_key(partition, row) for row in rows)
        return Claim(partition, epoch, next_offset, parked)

    def layout(self, topic: str) -> Layout | None:
        with self._aside() as connection:
            row = connection.execute(
                "SELECT layout FROM hookline_layouts WHERE topic = ?", (topic,)
            ).fetchone()
        return msgspec.msgpack.decode(row[0], type=Layout) if row else None

    def note_layout(self, topic: str, layout: Layout, before: Layout | None) -> bool:
        # One consumer has the file, so nobody else can have been faster.
        with self._aside() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO hookline_layouts VALUES (?, ?)",
                (topic, pack_layout(layout)),
            )
        return True

    def progress(self, topic: str) -> dict[int, int]:
        with self._aside() as connection:
            rows = connection.execute(
                "SELECT partition, next_offset FROM hookline_progress"
                " WHERE consumer_group = ? AND topic = ? AND next_offset IS NOT NULL",
                (self._group, topic),
            ).fetchall()
        return dict(rows)

    @contextmanager
    def commit(self, *, careful: bool = False) -> Iterator[GroupCommit]:
        # Statements run at once here, so `careful` changes nothing.
        with self._written(self._connection) as connection:
            yield SqliteCommit(connection, self._group)

    def expire(self, before_s: int, limit: int, *, applied_before_s: int | None = None) -> int:
        with self._aside() as connection:
            connection.execute(
                "UPDATE hookline_progress SET idle_from_s = ? WHERE held_from_s IS NOT NULL"
                " AND written_at_s < ? AND idle_from_s IS NULL",
                (before_s, before_s),
            )
            held = connection.execute(
                "SELECT min(held_from_s) FROM hookline_progress WHERE idle_from_s IS NULL"
                " OR written_at_s >= ? OR idle_from_s > ?",
                (before_s, before_s - GIVEN_UP_S),
            ).fetchone()
            held_s = math.inf if held[0] is None else held[0]
            gone = _forget_ids(connection, int(min(before_s, held_s) // DAY_S), limit)
            if applied_before_s is not None:
                gone += connection.execute(
                    "DELETE FROM hookline_applied WHERE id IN"
                    " (SELECT id FROM hookline_applied WHERE day < ? LIMIT ?)",
                    (int(min(applied_before_s, held_s) // DAY_S), limit),
                ).rowcount
            return gone

    def outgoing(self, limit: int) -> list[Outgoing]:
        with self._aside() as connection:
            rows = connection.execute(
                "SELECT number, letter FROM hookline_dead_letters WHERE sent = 0"
                " ORDER BY number LIMIT ?",
                (limit,),
            ).fetchall()
        return [Outgoing(number, DEAD_LETTER.decode(letter)) for number, letter in rows]

    def sent(self, numbers: Collection[int]) -> None:
        with self._aside() as connection:
            connection.executemany(
                "UPDATE hookline_dead_letters SET sent = 1 WHERE number = ?",
                [(number,) for number in numbers],
            )

    def close(self) -> None:
        for name in ("_connection", "_side"):
            if connection := getattr(self, name, None):
                connection.close()
        self._lock_file.close()

    @contextmanager
    def _aside(self) -> Iterator[sqlite3.Connection]:
        with self._written(self._side) as connection:
            yield connection

    @contextmanager
    def _written(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """A transaction on a connection, one of this process at a time."""
        if not self._writing.acquire(timeout=BUSY_S):
            raise StoreUnavailable(
                f"SQLite store {self._path}: another transaction of this consumer has been open "
                f"for {BUSY_S:g} s: a handler that takes a transaction hangs or is very slow"
            )
        try:
            with translated(self._path):
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException as error:
                # The transaction may be gone already: SQLite rolls back by itself when, say,
                # the disk is full.
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise unavailable(self._path, error) from error
                raise
            if not connection.in_transaction:
                raise TransactionEnded(
                    "a handler ended the consumer's transaction: its batch is tried again"
                )
            with translated(self._path):
                try:
                    # A crash before this returns: nothing of the batch happened. After: all.
                    connection.execute("COMMIT")
                except sqlite3.Error as error:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if isinstance(error, sqlite3.IntegrityError):
                        # A deferred constraint: a handler's doing, found only here.
                        raise StatementFailed(
                            f"the transaction was refused at its end: {error}"
                        ) from error
                    raise
        finally:
            self._writing.release()

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        version, group = known_version(connection)
        if version > VERSION:
            raise StoreUnavailable(
                f"{self._path} has store version {version}, this build knows {VERSION}: "
                "start the Hookline version that wrote it, or a newer one"
            )
        if version and group != self._group:
            # Seen ids are per group: another group would take this group's events for done.
            raise StoreUnavailable(
                f"{self._path} belongs to consumer group {group!r}, not {self._group!r}: "
                "give each group a store of its own (consumer.store)"
            )
        upgrade(connection, version)
        if version:
            connection.execute("UPDATE hookline_store SET version = ?", (VERSION,))
        else:
            connection.execute("INSERT INTO hookline_store VALUES (?, ?)", (VERSION, self._group))
        connection.execute("COMMIT")


def _forget_ids(connection: sqlite3.Connection, before_day: int, limit: int) -> int:
    """Delete at most `limit` ids of earlier days; how many it were."""
    last = connection.execute(
        "SELECT day, id FROM hookline_seen WHERE day < ? ORDER BY day, id LIMIT 1 OFFSET ?",
        (before_day, limit - 1),
    ).fetchone()
    # One range of the key. (By a list of the ids, SQLite looks through the whole day for it: a
    # hundred times the time.)
    if last is None:
        return connection.execute("DELETE FROM hookline_seen WHERE day < ?", (before_day,)).rowcount
    return connection.execute("DELETE FROM hookline_seen WHERE (day, id) <= (?, ?)", last).rowcount


def known_version(connection: sqlite3.Connection) -> tuple[int, str]:
    """The version of the store in a file and the group it belongs to; 0 for an empty file."""
    known = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE name = 'hookline_store'"
    ).fetchone()
    if not known:
        return 0, ""
    version, group = connection.execute("SELECT * FROM hookline_store").fetchone()
    return version, group


def lock(path: Path, owner: str) -> IO[bytes]:
    """A file beside a store's, locked until it is closed: a store has one `owner` at a time."""
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
        pid = file.read(20).decode("ascii", "replace").strip()
        file.close()
        raise StoreLocked(
            f"{path} is open in another process (pid {pid or 'unknown'}): a SQLite store has one "
            f"{owner}; stop that one, or use PostgreSQL for several replicas"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the settings that durability needs; StoreUnavailable for an old SQLite."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise StoreUnavailable(
            f"SQLite {sqlite3.sqlite_version} is too old for the store: use a Python built "
            f"with SQLite {'.'.join(map(str, _OLDEST))} or newer, or another store"
        )
    connection = sqlite3.connect(
        path,
        timeout=BUSY_S,
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
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreUnavailable."""
    try:
        yield
    except sqlite3.Error as error:
        raise unavailable(path, error) from error


def unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """What SQLite said, and what to look at."""
    return StoreUnavailable(
        f"SQLite store {path}: {error}; events wait in Kafka and are tried again. Check the "
        "disk's space and the file's permissions"
    )


def open_sqlite(path: str, group: str) -> Store:
    """The store for `sqlite:///relative/path` or `sqlite:////absolute/path`."""
    return SqliteStore(Path(path), group)
