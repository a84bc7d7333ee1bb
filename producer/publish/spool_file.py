"""The spool's file: records in the order of their numbers, in SQLite, until Kafka has them.

As durable as its disk: WAL with synchronous=FULL, so that a commit which returned outlives kill -9
and a power cut. One process has it open; SQLite's own lock on it ends with the process.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from schemas.errors import SpoolError, SpoolFailed, SpoolLocked

VERSION: Final = 1
#: "HkSp": tells another program's SQLite file from ours.
_APPLICATION: Final = 0x486B5370
#: Pages given back to the file system at a time, 32 MiB.
_SHRINK_PAGES: Final = 8192
_ROWS: Final = "number INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL,"
_TABLES: Final = (
    f"CREATE TABLE records ({_ROWS} value BLOB NOT NULL, headers BLOB NOT NULL,"
    " spooled_ms INTEGER NOT NULL, produced INTEGER NOT NULL)",
    f"CREATE TABLE refused ({_ROWS} value BLOB NOT NULL, headers BLOB NOT NULL,"
    " spooled_ms INTEGER NOT NULL, reason TEXT NOT NULL, refused_ms INTEGER NOT NULL)",
    "CREATE TABLE state (written_ms INTEGER NOT NULL, open INTEGER NOT NULL)",
    "INSERT INTO state VALUES (0, 0)",
)

#: A full disk, and one that fails in another way.
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MOVE_ASIDE: Final = (
    "if it is damaged, move it aside with its -wal file, keep both, and start again"
)

Headers = list[tuple[str, str | bytes | None]]


class Row(NamedTuple):
    """One record as the file has it; `headers` are MessagePack.

    `produced`: it was in flight to Kafka when it was spooled, so the log may have it already.
    """

    number: int
    topic: str
    key: bytes
    value: bytes
    headers: bytes
    spooled_ms: int
    produced: bool

    @property
    def size_bytes(self) -> int:
        """What it counts against the bound."""
        return len(self.key) + len(self.value) + len(self.headers)


class Totals(NamedTuple):
    """What is in the file; `refused` is what Kafka will not have, set aside for a person."""

    events: int
    bytes: int
    oldest_ms: int
    last_number: int
    refused: int
    refused_bytes: int


class Change(NamedTuple):
    """What one transaction does: new rows, numbers that Kafka has, numbers that it refuses.

    `never`: first and last of those whose commit failed; it may have reached the disk all the same.
    """

    appended: Sequence[Row] = ()
    removed: Sequence[int] = ()
    refused: Sequence[tuple[int, str]] = ()
    never: tuple[int, int] = (0, -1)


def pack_headers(headers: Headers) -> bytes:
    """As the file holds them."""
    return msgspec.msgpack.encode(headers)


def unpack_headers(packed: bytes) -> Headers:
    """As they were."""
    return [(name, value) for name, value in msgspec.msgpack.decode(packed)]


class SpoolFile:
    """Its folder is made if it is missing. Not for two threads at once."""

    def __init__(self, path: Path, *, synchronous: str = "FULL", marks: bool = True) -> None:
        """SpoolLocked if another process has it, SpoolError if it cannot be used at all.

        `marks`: a kill from here on is known to the next; not for one who only looks.
        """
        self.path = path
        self._marks = marks
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Bodies of webhooks are personal data. SQLite gives -wal the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
        except OSError as error:
            raise SpoolError(
                f"spool.path: cannot open {path} ({error.strerror}): check that this user may "
                "write to its folder"
            ) from error
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(synchronous)
        except sqlite3.Error as error:
            self._db.close()
            if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise SpoolLocked(
                    f"{path} is open in another process: a spool has one gateway. Stop that one, "
                    "or give each its own spool.path"
                ) from error
            raise self._unusable(error) from error
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, synchronous: str) -> None:
        db = self._db
        # Held until the process ends, however it ends, and no -shm file is needed.
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        application = db.execute("PRAGMA application_id").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and application != _APPLICATION:
            raise SpoolError(f"{self.path} is another program's file: name another spool.path")
        if version > VERSION:
            raise SpoolError(
                f"{self.path} is of version {version} of the spool, and this Hookline knows "
                f"{VERSION}: start the newer one and let it drain, or name another spool.path"
            )
        if not tables:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        # What is removed is overwritten where that costs no further write.
        db.execute("PRAGMA secure_delete=FAST")
        db.execute("BEGIN EXCLUSIVE")
        if not tables:
            for statement in _TABLES:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={_APPLICATION}")
            db.execute(f"PRAGMA user_version={VERSION}")
        #: The process before did not come to close it: it may have sent some that are still here.
        self.was_killed = bool(db.execute("SELECT open FROM state").fetchone()[0])
        db.execute("COMMIT")
        #: False while the disk has not taken that it is open: `check` tries again.
        self.marked = not self._marks
        try:
            self.check()
        except SpoolFailed as error:
            # On a full disk it can still be drained, and while Kafka takes events none comes here.
            if _code(error.__cause__) not in _NO_ROOM:
                raise

    def totals(self) -> Totals:
        """Counted anew; SpoolError if the file is damaged."""
        size = "coalesce(sum(length(key) + length(value) + length(headers)), 0)"
        try:
            events, held, oldest_ms, last = self._db.execute(
                f"SELECT count(*), {size}, coalesce(min(spooled_ms), 0),"
                " coalesce(max(number), 0) FROM records"
            ).fetchone()
            refused, refused_bytes, last_refused = self._db.execute(
                f"SELECT count(*), {size}, coalesce(max(number), 0) FROM refused"
            ).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return Totals(events, held, oldest_ms, max(last, last_refused), refused, refused_bytes)

    def write(self, change: Change) -> None:
        """All of it or nothing, on the disk when this returns; SpoolFailed if it cannot be."""
        now_ms = time.time_ns() // 1_000_000
        with self._failing(), self._transaction() as db:
            db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", change.appended)
            # After that, since Kafka may have one already that was on its way to the disk.
            db.executemany(
                "DELETE FROM records WHERE number BETWEEN ? AND ?",
                (change.never, *_runs(change.removed)),
            )
            for number, reason in change.refused:
                db.execute(
                    "INSERT INTO refused SELECT number, topic, key, value, headers, spooled_ms,"
                    " ?, ? FROM records WHERE number = ?",
                    (reason, now_ms, number),
                )
                db.execute("DELETE FROM records WHERE number = ?", (number,))

    def read(self, after: int, max_events: int, max_bytes: int) -> list[Row]:
        """The next rows, at least one if there is one; SpoolFailed if the disk does not give it."""
        found: list[Row] = []
        size = 0
        with self._failing():
            for row in self._db.execute(
                "SELECT * FROM records WHERE number > ? ORDER BY number LIMIT ?",
                (after, max_events),
            ):
                read = Row._make(row)
                size += read.size_bytes
                if found and size > max_bytes:
                    break
                found.append(read)
        return found

    def requeue(self, first_number: int) -> int:
        """Put what Kafka refused behind all others, to be tried again; how many that are."""
        with self._failing(), self._transaction() as db:
            put = db.execute(
                "INSERT INTO records SELECT ? + row_number() OVER (ORDER BY number) - 1,"
                " topic, key, value, headers, spooled_ms, 1 FROM refused",
                (first_number,),
            ).rowcount
            db.execute("DELETE FROM refused")
        return put

    def check(self) -> None:
        """Write something; SpoolFailed while the disk does not take it."""
        if not self._marks:
            return
        with self._failing(), self._transaction() as db:
            db.execute("UPDATE state SET written_ms = ?, open = 1", (time.time_ns() // 1_000_000,))
        self.marked = True

    def shrink(self) -> bool:
        """Give some of the free space back to the file system; False when none is left."""
        with self._failing():
            if not self._db.execute("PRAGMA freelist_count").fetchone()[0]:
                return False
            # Not `execute`, which would stop after one page.
            self._db.executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return bool(self._db.execute("PRAGMA freelist_count").fetchone()[0])

    def by_topic(self) -> dict[str, int]:
        """How many records of each topic there are."""
        with self._failing():
            return dict(
                self._db.execute("SELECT topic, count(*) FROM records GROUP BY topic ORDER BY 1")
            )

    def reasons(self) -> dict[str, int]:
        """How many were refused for which reason."""
        with self._failing():
            return dict(
                self._db.execute("SELECT reason, count(*) FROM refused GROUP BY reason ORDER BY 1")
            )

    def close(self) -> None:
        """Let go of the file."""
        # Whatever cannot be written now is written at the next start.
        if self._marks:
            with suppress(sqlite3.Error):
                self._db.execute("UPDATE state SET open = 0")
        with suppress(sqlite3.Error):
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            # From when this returns the records are safe. A crash or an error before: they are
            # not there, and nobody was told that they were.
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            then = f"; {_MOVE_ASIDE}" if _code(error) in _DAMAGED else ""
            raise SpoolFailed(f"the spool {self.path} does not work: {error}{then}") from error

    def _unusable(self, error: sqlite3.Error) -> SpoolError:
        if _code(error) in _NO_ROOM:
            return SpoolError(
                f"the disk of {self.path} does not take what is written ({error}): make room there "
                "or mend it, and start again; what the file holds is safe"
            )
        return SpoolError(f"{self.path} cannot be read as a spool ({error}): {_MOVE_ASIDE}")


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ranges of neighbours: what is removed is nearly always one."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last


def _code(error: BaseException | None) -> Any:
    # Not set on errors of the module itself.
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
