"""The PostgreSQL store's open transaction: what a group commit does in it, as statements.

Statements are sent without waiting for each (pipeline mode) unless the transaction is careful;
only what gives a value back is waited for, so a batch costs a few round trips, whatever its size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from consumer.core.staleness import Applied
from consumer.stores.contract import Claim, Letter, ParkedEvent, ParkedKey, Partition
from consumer.stores.postgres_effects import PostgresEffects
from consumer.stores.postgres_parked import (
    FREE,
    PARK,
    PARKED,
    UNPARK,
    park_parameters,
    parked_event,
    parked_key,
    text,
)
from consumer.stores.postgres_schema import day_table
from consumer.stores.postgres_sender import Sender
from consumer.stores.transaction import Parameters, Transaction
from schemas.codec import DEAD_LETTER

DAY_S: Final = 86_400


class PostgresCommit:
    """The open transaction; every method runs on the thread that began it."""

    def __init__(self, sender: Sender, group: int, need_day: Callable[[int], None]) -> None:
        self._sender = sender
        self._effects = PostgresEffects(sender)
        self._group = group
        self._need_day = need_day
        #: The claims that `advance` has asked for.
        self.moved: list[Claim] = []
        self.handle = Transaction(self._effects.execute, self._effects.executemany)
        self.savepoint = self._effects.savepoint
        self.keep = self._effects.keep
        self.take_back = self._effects.take_back

    def finish(self) -> None:
        """Send all that is held; raises what has failed before, whoever has swallowed that."""
        self._effects.flush()
        self._sender.check()

    def owned(self, claims: Sequence[Claim]) -> set[Partition]:
        rows = self._rows(
            "SELECT topic, partition, epoch FROM hookline.progress WHERE number = %s",
            (self._group,),
        )
        epochs = {Partition(topic, number): epoch for topic, number, epoch in rows}
        return {c.partition for c in claims if epochs.get(c.partition) == c.epoch}

    def owner(self, partition: Partition) -> str:
        rows = self._rows(
            "SELECT owner FROM hookline.progress"
            " WHERE number = %s AND topic = %s AND partition = %s",
            (self._group, *partition),
        )
        return rows[0][0] if rows else ""

    def seen(self, dedupe_ids: Collection[bytes]) -> set[bytes]:
        if not dedupe_ids:
            return set()
        self._effects.flush()
        # Told how many ids there are, PostgreSQL prefers to read the whole of young days' tables
        # (up to 0.5 s); the plan for any number of ids looks each up in the index.
        if not self._sender.careful:
            self._sender.run("SET LOCAL plan_cache_mode = force_generic_plan", prepare=False)
        found = self._sender.run(
            f"SELECT id::text FROM hookline.seen_{self._group} WHERE id = ANY(%s::uuid[])",
            (uuids(dedupe_ids),),
            prepare=True,
        )
        if not self._sender.careful:
            self._sender.run("SET LOCAL plan_cache_mode TO DEFAULT", prepare=False)
        rows = self._sender.guarded(found.fetchall)
        return {bytes.fromhex(row[0].replace("-", "")) for row in rows}

    def applied(self, resource_ids: Collection[bytes]) -> Mapping[bytes, Applied]:
        if not resource_ids:
            return {}
        rows = self._rows(
            "SELECT id::text, version, occurred_at_us, deleted FROM hookline.applied"
            " WHERE number = %s AND id = ANY(%s::uuid[])",
            (self._group, uuids(resource_ids)),
        )
        return {
            bytes.fromhex(row[0].replace("-", "")): Applied(row[1], row[2], row[3]) for row in rows
        }

    def remember(self, dedupe_ids: Collection[bytes], now_s: int) -> None:
        if not dedupe_ids:
            return
        day = now_s // DAY_S
        self._need_day(day)
        # Straight into the day's table: no routing of each row.
        self._run(
            f"INSERT INTO {day_table(self._group, day)} (day, id) SELECT %s, unnest(%s::uuid[])",
            (day, uuids(sorted(dedupe_ids))),
        )

    def note_applied(self, resources: Mapping[bytes, Applied], now_s: int) -> None:
        applied = list(resources.values())
        self._run(
            "INSERT INTO hookline.applied (number, day, id, version, occurred_at_us, deleted)"
            " SELECT %s, %s, * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::boolean[])"
            " ON CONFLICT (number, id) DO UPDATE SET day = excluded.day,"
            " version = excluded.version, occurred_at_us = excluded.occurred_at_us,"
            " deleted = excluded.deleted",
            (
                self._group,
                now_s // DAY_S,
                uuids(resources),
                [x.version for x in applied],
                [x.occurred_at_us for x in applied],
                [x.deleted for x in applied],
            ),
        )

    def bury(self, letters: Sequence[Letter]) -> None:
        self._run(
            "INSERT INTO hookline.dead_letters (number, topic, partition, log_offset, dedupe_id,"
            " connection, event_type, resource_key, reason, died_at_us, letter, traceparent, place)"
            " SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bytea[],"
            " %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bytea[],"
            " %s::text[], %s::bytea[]) ON CONFLICT (number, place) DO NOTHING",
            (
                self._group,
                [text(x.letter.topic) for x in letters],
                [x.letter.partition for x in letters],
                [x.letter.offset for x in letters],
                [x.dedupe_id for x in letters],
                [text(x.letter.connection) for x in letters],
                [text(x.event_type) for x in letters],
                [text(x.resource_key) for x in letters],
                [text(x.letter.reason) for x in letters],
                [x.letter.died_at_us for x in letters],
                [DEAD_LETTER.encode(x.letter) for x in letters],
                [text(x.traceparent) for x in letters],
                [_place(x) for x in letters],
            ),
        )

    def park(self, events: Sequence[ParkedEvent], retry_at_ms: int) -> None:
        self._run(PARK, park_parameters(self._group, events, retry_at_ms))

    def parked(
        self, partition: Partition, key: bytes, limit: int, max_bytes: int
    ) -> list[ParkedEvent]:
        rows = self._rows(PARKED, (self._group, *partition, key, limit, max_bytes))
        return [parked_event(partition, key, row) for row in rows]

    def unpark(self, events: Collection[tuple[Partition, bytes, int]]) -> None:
        gone = list(events)
        places = ([p.topic for p, _, _ in gone], [p.number for p, _, _ in gone])
        keys = [key for _, key, _ in gone]
        self._run(
            UNPARK,
            (*places, keys, [offset for _, _, offset in gone], self._group, self._group),
        )
        self._run(
            FREE,
            (*places, keys, self._group),
        )

    def postpone(self, partition: Partition, key: bytes, attempts: int, retry_at_ms: int) -> None:
        self._run(
            "UPDATE hookline.parked_keys SET attempts = %s, retry_at_ms = %s"
            " WHERE number = %s AND topic = %s AND partition = %s AND key_digest = sha256(%s)",
            (attempts, retry_at_ms, self._group, *partition, key),
        )

    def touched(self, partitions: Collection[Partition], *, every: bool = False) -> list[ParkedKey]:
        which = "" if every else " AND k.touched"
        rows = self._rows(
            "UPDATE hookline.parked_keys k SET touched = false"
            " FROM unnest(%s::text[], %s::int[]) AS v(topic, partition)"
            f" WHERE k.number = %s{which} AND k.topic = v.topic"
            " AND k.partition = v.partition"
            " RETURNING k.topic, k.partition, k.key, k.events, k.attempts, k.retry_at_ms",
            ([p.topic for p in partitions], [p.number for p in partitions], self._group),
        )
        return [parked_key(row) for row in rows]

    def advance(
        self, claims: Sequence[Claim], positions: Mapping[Partition, int],
        gaps: Mapping[Partition, int], now_s: int,
    ) -> None:  # fmt: skip
        moved = self.moved = [claim for claim in claims if claim.partition in positions]
        # This is the fence. It holds the rows only until the commit that follows at once; a claim
        # that came between makes it match no row, and then everything is rolled back.
        self._run(
            "WITH moved AS (UPDATE hookline.progress p SET next_offset = v.next_offset,"
            " written_at_s = %s, idle_from_s = NULL,"
            " held_from_s = CASE WHEN greatest(p.done_to, v.gap) >= v.next_offset"
            " THEN least(p.held_from_s, %s) END,"
            " done_to = CASE WHEN greatest(p.done_to, v.gap) >= v.next_offset"
            " THEN greatest(p.done_to, v.gap) END"
            " FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[])"
            " AS v(topic, partition, epoch, next_offset, gap)"
            " WHERE p.number = %s AND p.topic = v.topic AND p.partition = v.partition"
            " AND p.epoch = v.epoch RETURNING 1)"
            " SELECT hookline.fence(count(*) = %s) FROM moved",
            (
                now_s,
                now_s,
                [claim.partition.topic for claim in moved],
                [claim.partition.number for claim in moved],
                [claim.epoch for claim in moved],
                [positions[claim.partition] for claim in moved],
                [gaps.get(claim.partition) for claim in moved],
                self._group,
                len(moved),
            ),
        )

    def _run(self, sql: str, parameters: Parameters) -> None:
        self._effects.flush()
        self._sender.run(sql, parameters)

    def _rows(self, sql: str, parameters: Parameters) -> list[Any]:
        self._effects.flush()
        return self._sender.rows(sql, parameters)


def uuids(ids: Iterable[bytes]) -> str:
    """16-byte ids as the text of a uuid[]: far cheaper than a list of UUID objects."""
    return "{" + ",".join(map(bytes.hex, ids)) + "}"


def _place(letter: Letter) -> bytes | None:
    """What tells that a letter without a dedupe id is buried already; None with one.

    After a commit whose answer was lost it comes again, at another time but of the same failure.
    """
    if letter.dedupe_id:
        return None
    dead = letter.letter
    parts = (dead.topic.encode(), b"%d/%d" % (dead.partition, dead.offset), dead.reason.encode())
    return hashlib.sha256(b"\0".join((*parts, dead.value or b""))).digest()
