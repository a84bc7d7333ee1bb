"""The SQLite store's open transaction: what a group commit does in it, as statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from consumer.core.staleness import Applied
from consumer.stores.contract import Claim, Letter, ParkedEvent, ParkedKey, Partition
from consumer.stores.transaction import Transaction
from schemas.codec import DEAD_LETTER
from schemas.errors import Fenced, TransactionEnded

DAY_S: Final = 86_400
_IDS_A_QUERY: Final = 500  # SQLite's oldest default bound on variables is 999.


class SqliteCommit:
    """The open transaction; every method runs on the thread that began it."""

    def __init__(self, connection: sqlite3.Connection, group: str) -> None:
        self._run = connection.execute
        self._many = connection.executemany
        self._group = group
        self.handle = Transaction(connection.execute, connection.executemany)

    def owned(self, claims: Sequence[Claim]) -> set[Partition]:
        rows = self._run(
            "SELECT topic, partition, epoch FROM hookline_progress WHERE consumer_group = ?",
            (self._group,),
        )
        epochs = {Partition(topic, number): epoch for topic, number, epoch in rows}
        return {c.partition for c in claims if epochs.get(c.partition) == c.epoch}

    def owner(self, partition: Partition) -> str:
        row = self._run(
            "SELECT owner FROM hookline_progress"
            " WHERE consumer_group = ? AND topic = ? AND partition = ?",
            (self._group, *partition),
        ).fetchone()
        return row[0] if row else ""

    def seen(self, dedupe_ids: Collection[bytes]) -> set[bytes]:
        ids = list(dedupe_ids)
        found: set[bytes] = set()
        if not ids:
            return found
        # Two lone aggregates are two look-ups in the key; together they would read every row.
        first, last = self._run(
            "SELECT (SELECT min(day) FROM hookline_seen), (SELECT max(day) FROM hookline_seen)"
        ).fetchone()
        if first is None:
            return found
        for day in range(last, first - 1, -1):
            for start in range(0, len(ids), _IDS_A_QUERY):
                chunk = ids[start : start + _IDS_A_QUERY]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT id FROM hookline_seen WHERE day = ? AND id IN ({marks})"
                found.update(row[0] for row in self._run(query, (day, *chunk)))
        return found

    def applied(self, resource_ids: Collection[bytes]) -> Mapping[bytes, Applied]:
        ids = list(resource_ids)
        found: dict[bytes, Applied] = {}
        for start in range(0, len(ids), _IDS_A_QUERY):
            chunk = ids[start : start + _IDS_A_QUERY]
            marks = ",".join("?" * len(chunk))
            query = (
                "SELECT id, version, occurred_at_us, deleted FROM hookline_applied"
                f" WHERE id IN ({marks})"
            )
            for resource_id, version, occurred_at_us, deleted in self._run(query, chunk):
                found[resource_id] = Applied(version, occurred_at_us, bool(deleted))
        return found

    def savepoint(self) -> None:
        self._run("SAVEPOINT hookline_event")

    def keep(self) -> None:
        self._end("RELEASE hookline_event")

    def take_back(self) -> None:
        self._end("ROLLBACK TO hookline_event")
        self._end("RELEASE hookline_event")

    def remember(self, dedupe_ids: Collection[bytes], now_s: int) -> None:
        day = now_s // DAY_S
        self._many(
            "INSERT INTO hookline_seen (day, id) VALUES (?, ?)",
            # Sorted: neighbours of the tree then share the pages that are written.
            [(day, dedupe_id) for dedupe_id in sorted(dedupe_ids)],
        )

    def note_applied(self, resources: Mapping[bytes, Applied], now_s: int) -> None:
        day = now_s // DAY_S
        self._many(
            "INSERT OR REPLACE INTO hookline_applied (id, day, version, occurred_at_us, deleted)"
            " VALUES (?, ?, ?, ?, ?)",
            [(i, day, x.version, x.occurred_at_us, x.deleted) for i, x in resources.items()],
        )

    def bury(self, letters: Sequence[Letter]) -> None:
        self._many(
            "INSERT INTO hookline_dead_letters (dedupe_id, connection, event_type, resource_key,"
            " reason, died_at_us, letter, traceparent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    x.dedupe_id,
                    x.letter.connection,
                    x.event_type,
                    x.resource_key,
                    x.letter.reason,
                    x.letter.died_at_us,
                    DEAD_LETTER.encode(x.letter),
                    x.traceparent,
                )
                for x in letters
            ],
        )

    def park(self, events: Sequence[ParkedEvent], retry_at_ms: int) -> None:
        park(self._run, events, retry_at_ms)

    def parked(
        self, partition: Partition, key: bytes, limit: int, max_bytes: int
    ) -> list[ParkedEvent]:
        found: list[ParkedEvent] = []
        rows = self._run(
            "SELECT offset, value, traceparent, request_id, connection, event_type, reason,"
            " parked_at_ms FROM hookline_parked WHERE topic = ? AND partition = ? AND key = ?"
            " ORDER BY offset LIMIT ?",
            (*partition, key, limit),
        )
        for row in rows:
            found.append(parked_event(partition, key, row))
            max_bytes -= len(found[-1].value)
            if max_bytes <= 0:
                break
        rows.close()
        return found

    def unpark(self, events: Collection[tuple[Partition, bytes, int]]) -> None:
        for partition, key, offset in events:
            gone = self._run(
                "DELETE FROM hookline_parked"
                " WHERE topic = ? AND partition = ? AND key = ? AND offset = ?",
                (*partition, key, offset),
            ).rowcount
            self._run(
                "UPDATE hookline_parked_keys SET events = events - ?, attempts = 0"
                " WHERE topic = ? AND partition = ? AND key = ?",
                (gone, *partition, key),
            )
            self._run(
                "DELETE FROM hookline_parked_keys"
                " WHERE topic = ? AND partition = ? AND key = ? AND events <= 0",
                (*partition, key),
            )

    def postpone(self, partition: Partition, key: bytes, attempts: int, retry_at_ms: int) -> None:
        self._run(
            "UPDATE hookline_parked_keys SET attempts = ?, retry_at_ms = ?"
            " WHERE topic = ? AND partition = ? AND key = ?",
            (attempts, retry_at_ms, *partition, key),
        )

    def touched(self, partitions: Collection[Partition], *, every: bool = False) -> list[ParkedKey]:
        found: list[ParkedKey] = []
        which = "" if every else " AND touched = 1"
        for partition in partitions:
            rows = self._run(
                "UPDATE hookline_parked_keys SET touched = 0"
                f" WHERE topic = ? AND partition = ?{which}"
                " RETURNING key, events, attempts, retry_at_ms",
                partition,
            ).fetchall()
            found.extend(parked_key(partition, row) for row in rows)
        return found

    def advance(
        self, claims: Sequence[Claim], positions: Mapping[Partition, int],
        gaps: Mapping[Partition, int], now_s: int,
    ) -> None:  # fmt: skip
        for claim in claims:
            position = positions.get(claim.partition)
            if position is None:
                continue
            changed = self._run(
                "UPDATE hookline_progress SET next_offset = :position,"
                " written_at_s = :now_s, idle_from_s = NULL,"
                " held_from_s = CASE WHEN max(coalesce(done_to, -1), :gap) >= :position"
                " THEN min(coalesce(held_from_s, :now_s), :now_s) END,"
                " done_to = CASE WHEN max(coalesce(done_to, -1), :gap) >= :position"
                " THEN max(coalesce(done_to, -1), :gap) END"
                " WHERE consumer_group = :group AND topic = :topic AND partition = :number"
                " AND epoch = :epoch",
                {
                    "position": position,
                    "now_s": now_s,
                    "gap": gaps.get(claim.partition, -1),
                    "group": self._group,
                    "topic": claim.partition.topic,
                    "number": claim.partition.number,
                    "epoch": claim.epoch,
                },
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


def park(
    run: Callable[..., sqlite3.Cursor], events: Sequence[ParkedEvent], retry_at_ms: int
) -> None:
    """Insert parked events and count them at their keys; one that is there already stays."""
    for event in events:
        added = run(
            "INSERT INTO hookline_parked (topic, partition, key, offset, value, traceparent,"
            " request_id, connection, event_type, reason, parked_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                *event.partition,
                event.key,
                event.offset,
                event.value,
                event.traceparent,
                event.request_id,
                event.connection,
                event.event_type,
                event.reason,
                event.parked_at_ms,
            ),
        ).rowcount
        run(
            "INSERT INTO hookline_parked_keys (topic, partition, key, events, attempts,"
            " retry_at_ms) VALUES (?, ?, ?, ?, 0, ?)"
            " ON CONFLICT DO UPDATE SET events = events + excluded.events",
            (*event.partition, event.key, added, retry_at_ms),
        )


def parked_event(partition: Partition, key: bytes, row: Sequence[object]) -> ParkedEvent:
    """The event of a row (offset, value, traceparent, … as `parked` selects them)."""
    names = ("offset", "value", "traceparent", "request_id", "connection", "event_type",
             "reason", "parked_at_ms")  # fmt: skip
    return ParkedEvent(partition=partition, key=key, **dict(zip(names, row, strict=True)))  # type: ignore[arg-type]


def parked_key(partition: Partition, row: Sequence[object]) -> ParkedKey:
    """The key of a row (key, events, attempts, retry_at_ms)."""
    key, events, attempts, retry_at_ms = row
    return ParkedKey(
        partition=partition,
        key=key,  # type: ignore[arg-type]
        events=events,  # type: ignore[arg-type]
        attempts=attempts,  # type: ignore[arg-type]
        retry_at_ms=retry_at_ms,  # type: ignore[arg-type]
    )
