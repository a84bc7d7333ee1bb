"""The operator's side of the SQLite store: a second connection beside the running consumer."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from consumer.stores.contract import ParkedEvent, ParkedKey, Partition
from consumer.stores.operations import Filter, StoredLetter, as_parked
from consumer.stores.sqlite import connect, known_version, translated, unavailable
from consumer.stores.sqlite_commit import park, parked_event, parked_key
from consumer.stores.sqlite_schema import VERSION
from schemas.codec import DEAD_LETTER
from schemas.errors import StoreUnavailable

_LETTER = (
    "SELECT number, dedupe_id, event_type, resource_key, letter, traceparent"
    " FROM hookline_dead_letters"
)


class SqliteOperations:
    """`Operations` on one file; waits for the consumer's transactions as a second writer does."""

    def __init__(self, path: Path, group: str) -> None:
        self._path = path
        if not path.exists():
            raise StoreUnavailable(
                f"there is no store at {path}: start the consumer once, or name its store "
                "(consumer.store is relative to the folder that the consumer runs in)"
            )
        with translated(path):
            self._connection = connect(path)
            version, owner = known_version(self._connection)
        if version != VERSION or owner != group:
            self._connection.close()
            raise StoreUnavailable(
                f"{path} is version {version} of group {owner!r}; this build needs version "
                f"{VERSION} of group {group!r}: start this version's consumer of that group once"
            )

    def letters(self, wanted: Filter, after: int, limit: int) -> list[StoredLetter]:
        where, values = _where(wanted)
        with translated(self._path):
            rows = self._connection.execute(
                f"{_LETTER} WHERE number > ?{where} ORDER BY number LIMIT ?",
                (after, *values, limit),
            ).fetchall()
        return [_stored(row) for row in rows]

    def count(self, wanted: Filter) -> int:
        where, values = _where(wanted)
        with translated(self._path):
            query = f"SELECT count(*) FROM hookline_dead_letters WHERE true{where}"
            found: int = self._connection.execute(query, values).fetchone()[0]
        return found

    def letter(self, number: int) -> StoredLetter | None:
        with translated(self._path):
            row = self._connection.execute(f"{_LETTER} WHERE number = ?", (number,)).fetchone()
        return _stored(row) if row else None

    def redrive(self, numbers: Sequence[int], now_ms: int) -> int:
        moved = 0
        for number in numbers:
            with self._transaction() as run:
                row = run(f"{_LETTER} WHERE number = ?", (number,)).fetchone()
                if row is None:
                    continue
                stored = _stored(row)
                event = as_parked(stored, now_ms)
                # By day, so that the key (day, id) serves.
                run(
                    "WITH RECURSIVE days(day) AS (SELECT min(day) FROM hookline_seen"
                    " UNION ALL SELECT day + 1 FROM days"
                    " WHERE day < (SELECT max(day) FROM hookline_seen))"
                    " DELETE FROM hookline_seen WHERE (day, id) IN (SELECT day, ? FROM days)",
                    (stored.dedupe_id,),
                )
                park(run, [event], now_ms)
                run(
                    "UPDATE hookline_parked_keys SET touched = 1, retry_at_ms = ?"
                    " WHERE topic = ? AND partition = ? AND key = ?",
                    (now_ms, *event.partition, event.key),
                )
                run("DELETE FROM hookline_dead_letters WHERE number = ?", (number,))
            moved += 1
        return moved

    def discard(self, numbers: Sequence[int]) -> int:
        with self._transaction() as run:
            return sum(
                run("DELETE FROM hookline_dead_letters WHERE number = ?", (number,)).rowcount
                for number in numbers
            )

    def parked_keys(
        self, connection: str, after: tuple[Partition, bytes] | None, limit: int
    ) -> list[ParkedKey]:
        start: tuple[Any, ...] = (*after[0], after[1]) if after else ("", -1, b"")
        with translated(self._path):
            rows = self._connection.execute(
                "SELECT topic, partition, key, events, attempts, retry_at_ms"
                " FROM hookline_parked_keys k WHERE (topic, partition, key) > (?, ?, ?)"
                " AND (? = '' OR EXISTS (SELECT 1 FROM hookline_parked p WHERE p.topic = k.topic"
                " AND p.partition = k.partition AND p.key = k.key AND p.connection = ?))"
                " ORDER BY topic, partition, key LIMIT ?",
                (*start, connection, connection, limit),
            ).fetchall()
        return [parked_key(Partition(row[0], row[1]), row[2:]) for row in rows]

    def parked_events(self, partition: Partition, key: bytes, limit: int) -> list[ParkedEvent]:
        with translated(self._path):
            rows = self._connection.execute(
                "SELECT offset, value, traceparent, request_id, connection, event_type, reason,"
                " parked_at_ms FROM hookline_parked"
                " WHERE topic = ? AND partition = ? AND key = ? ORDER BY offset LIMIT ?",
                (*partition, key, limit),
            ).fetchall()
        return [parked_event(partition, key, row) for row in rows]

    def retry(self, keys: Collection[tuple[Partition, bytes]], now_ms: int) -> int:
        with self._transaction() as run:
            return sum(
                run(
                    "UPDATE hookline_parked_keys SET touched = 1, retry_at_ms = ?"
                    " WHERE topic = ? AND partition = ? AND key = ?",
                    (now_ms, *partition, key),
                ).rowcount
                for partition, key in keys
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection.execute
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise unavailable(self._path, error) from error
            raise


def _where(wanted: Filter) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    for column, value in (("connection", wanted.connection), ("reason", wanted.reason)):
        if value:
            parts.append(f"{column} = ?")
            values.append(value)
    if wanted.event_type.endswith(".*"):
        parts.append("substr(event_type, 1, ?) = ?")
        values += [len(wanted.event_type) - 1, wanted.event_type[:-1]]
    elif wanted.event_type:
        parts.append("event_type = ?")
        values.append(wanted.event_type)
    if wanted.resource:
        parts.append("(resource_key = ? OR substr(resource_key, ?) = ?)")
        values += [wanted.resource, -len(wanted.resource) - 1, f"/{wanted.resource}"]
    if wanted.since_us is not None:
        parts.append("died_at_us >= ?")
        values.append(wanted.since_us)
    if wanted.until_us is not None:
        parts.append("died_at_us < ?")
        values.append(wanted.until_us)
    return "".join(f" AND {part}" for part in parts), values


def _stored(row: Sequence[Any]) -> StoredLetter:
    number, dedupe_id, event_type, resource_key, letter, traceparent = row
    return StoredLetter(
        number=number,
        dedupe_id=dedupe_id,
        event_type=event_type,
        resource_key=resource_key,
        letter=DEAD_LETTER.decode(letter),
        traceparent=traceparent,
    )
