"""The PostgreSQL store's open transaction: what a group commit does in it, as statements.

Statements are sent without waiting for each (pipeline mode) unless the transaction is careful;
only what gives a value back is waited for, so a batch costs a few round trips, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from consumer.core.staleness import Applied
from consumer.stores.contract import Claim, Letter, ParkedEvent, ParkedKey, Partition
from consumer.stores.postgres_link import Connection, Link
from consumer.stores.postgres_schema import day_table
from consumer.stores.transaction import Parameters, Transaction
from schemas.codec import DEAD_LETTER
from schemas.errors import HandlerError, StatementFailed, StoreError, TransactionEnded

DAY_S: Final = 86_400
_PASSING: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)

PARK: Final = (
    "WITH added AS (INSERT INTO hookline.parked (number, topic, partition, key, log_offset, value,"
    " traceparent, request_id, connection, event_type, reason, parked_at_ms)"
    " SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bytea[], %s::bigint[], %s::bytea[],"
    " %s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::bigint[])"
    " ON CONFLICT DO NOTHING RETURNING topic, partition, key)"
    " INSERT INTO hookline.parked_keys (number, topic, partition, key, events, attempts,"
    " retry_at_ms) SELECT %s, topic, partition, key, count(*), 0, %s FROM added"
    " GROUP BY topic, partition, key"
    " ON CONFLICT (number, topic, partition, key)"
    " DO UPDATE SET events = hookline.parked_keys.events + excluded.events"
)
PARKED: Final = (
    "SELECT log_offset, value, traceparent, request_id, connection, event_type, reason,"
    " parked_at_ms FROM hookline.parked"
    " WHERE number = %s AND topic = %s AND partition = %s AND key = %s"
    " ORDER BY log_offset LIMIT %s"
)


class _Cursor:
    """What a handler's statement gives: waited for only when it is looked at."""

    def __init__(self, commit: PostgresCommit, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
        self._commit = commit
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        self._commit.wait()
        return self._cursor.rowcount

    def fetchone(self) -> Any:
        """The next row or None."""
        return self._commit.guarded(self._cursor.fetchone)

    def fetchall(self) -> list[Any]:
        """All rows left."""
        rows: list[Any] = self._commit.guarded(self._cursor.fetchall)
        return rows


class PostgresCommit:
    """The open transaction; every method runs on the thread that began it."""

    def __init__(
        self,
        connection: Connection,
        pipeline: psycopg.Pipeline | None,
        link: Link,
        group: int,
        need_day: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self._link = link
        self._group = group
        self._need_day = need_day
        #: The claims that `advance` has asked for.
        self.moved: list[Claim] = []
        self.handle = Transaction(self._handler_execute, self._handler_executemany)

    def guarded(self, run: Callable[..., Any], *arguments: Any) -> Any:
        """Call psycopg; its errors come out as ours, but a careful statement's as it is."""
        try:
            return run(*arguments)
        except _PASSING as error:
            if isinstance(error, psycopg.errors.InFailedSqlTransaction):
                raise
            raise self._link.unavailable(error) from None
        except psycopg.Error as error:
            if self._pipeline is None:
                raise
            raise StatementFailed(
                f"a statement of the batch failed ({type(error).__name__})"
            ) from None

    def wait(self) -> None:
        """Wait until all that was sent has been answered."""
        if self._pipeline is not None:
            self.guarded(self._pipeline.sync)

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
        rows = self._rows(
            f"SELECT id::text FROM hookline.seen_{self._group} WHERE id = ANY(%s::uuid[])",
            (uuids(dedupe_ids),),
        )
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

    def savepoint(self) -> None:
        self._run("SAVEPOINT hookline_event")

    def keep(self) -> None:
        try:
            self._run("RELEASE hookline_event")
        except psycopg.errors.InFailedSqlTransaction:
            raise HandlerError(
                "a statement failed and the handler went on as if it had not: PostgreSQL takes "
                "nothing more until the effect is taken back"
            ) from None
        except psycopg.Error as error:
            raise self._ended(error) from None

    def take_back(self) -> None:
        try:
            self._run("ROLLBACK TO hookline_event")
            self._run("RELEASE hookline_event")
        except psycopg.Error as error:
            raise self._ended(error) from None

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
            " connection, event_type, resource_key, reason, died_at_us, letter)"
            " SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bytea[],"
            " %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bytea[])",
            (
                self._group,
                [x.letter.topic for x in letters],
                [x.letter.partition for x in letters],
                [x.letter.offset for x in letters],
                [x.dedupe_id for x in letters],
                [x.letter.connection for x in letters],
                [x.event_type for x in letters],
                [x.resource_key for x in letters],
                [x.letter.reason for x in letters],
                [x.letter.died_at_us for x in letters],
                [DEAD_LETTER.encode(x.letter) for x in letters],
            ),
        )

    def park(self, events: Sequence[ParkedEvent], retry_at_ms: int) -> None:
        self._run(PARK, park_parameters(self._group, events, retry_at_ms))

    def parked(self, partition: Partition, key: bytes, limit: int) -> list[ParkedEvent]:
        rows = self._rows(PARKED, (self._group, *partition, key, limit))
        return [parked_event(partition, key, row) for row in rows]

    def unpark(self, events: Collection[tuple[Partition, bytes, int]]) -> None:
        gone = list(events)
        places = ([p.topic for p, _, _ in gone], [p.number for p, _, _ in gone])
        keys = [key for _, key, _ in gone]
        self._run(
            "WITH gone AS (DELETE FROM hookline.parked p USING unnest(%s::text[], %s::int[],"
            " %s::bytea[], %s::bigint[]) AS v(topic, partition, key, log_offset)"
            " WHERE p.number = %s AND p.topic = v.topic AND p.partition = v.partition"
            " AND p.key = v.key AND p.log_offset = v.log_offset"
            " RETURNING p.topic, p.partition, p.key),"
            " counted AS (SELECT topic, partition, key, count(*) AS events FROM gone"
            " GROUP BY topic, partition, key)"
            " UPDATE hookline.parked_keys k SET events = k.events - c.events, attempts = 0"
            " FROM counted c WHERE k.number = %s AND k.topic = c.topic"
            " AND k.partition = c.partition AND k.key = c.key",
            (*places, keys, [offset for _, _, offset in gone], self._group, self._group),
        )
        self._run(
            "DELETE FROM hookline.parked_keys k USING unnest(%s::text[], %s::int[], %s::bytea[])"
            " AS v(topic, partition, key) WHERE k.number = %s AND k.topic = v.topic"
            " AND k.partition = v.partition AND k.key = v.key AND k.events <= 0",
            (*places, keys, self._group),
        )

    def postpone(self, partition: Partition, key: bytes, attempts: int, retry_at_ms: int) -> None:
        self._run(
            "UPDATE hookline.parked_keys SET attempts = %s, retry_at_ms = %s"
            " WHERE number = %s AND topic = %s AND partition = %s AND key = %s",
            (attempts, retry_at_ms, self._group, *partition, key),
        )

    def touched(self, partitions: Collection[Partition]) -> list[ParkedKey]:
        rows = self._rows(
            "UPDATE hookline.parked_keys k SET touched = false"
            " FROM unnest(%s::text[], %s::int[]) AS v(topic, partition)"
            " WHERE k.number = %s AND k.touched AND k.topic = v.topic"
            " AND k.partition = v.partition"
            " RETURNING k.topic, k.partition, k.key, k.events, k.attempts, k.retry_at_ms",
            ([p.topic for p in partitions], [p.number for p in partitions], self._group),
        )
        return [parked_key(row) for row in rows]

    def advance(
        self, claims: Sequence[Claim], positions: Mapping[Partition, int],
        gaps: Collection[Partition], now_s: int,
    ) -> None:  # fmt: skip
        moved = self.moved = [claim for claim in claims if claim.partition in positions]
        # This is the fence. It holds the rows only until the commit that follows at once; a claim
        # that came between makes it match no row, and then everything is rolled back.
        self._run(
            "WITH moved AS (UPDATE hookline.progress p SET next_offset = v.next_offset,"
            " held_from_s = CASE WHEN v.gap THEN coalesce(p.held_from_s, %s) END"
            " FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::boolean[])"
            " AS v(topic, partition, epoch, next_offset, gap)"
            " WHERE p.number = %s AND p.topic = v.topic AND p.partition = v.partition"
            " AND p.epoch = v.epoch RETURNING 1)"
            " SELECT hookline.fence(count(*) = %s) FROM moved",
            (
                now_s,
                [claim.partition.topic for claim in moved],
                [claim.partition.number for claim in moved],
                [claim.epoch for claim in moved],
                [positions[claim.partition] for claim in moved],
                [claim.partition in gaps for claim in moved],
                self._group,
                len(moved),
            ),
        )

    def _run(self, sql: str, parameters: Parameters = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        found: psycopg.Cursor[tuple[Any, ...]] = self.guarded(
            self._connection.execute, sql, parameters
        )
        return found

    def _rows(self, sql: str, parameters: Parameters) -> list[Any]:
        rows: list[Any] = self.guarded(self._run(sql, parameters).fetchall)
        return rows

    def _handler_execute(self, sql: str, parameters: Parameters) -> _Cursor:
        # No parameters at all: then a literal % needs no doubling.
        return _Cursor(self, self._run(sql, parameters or None))  # type: ignore[arg-type]

    def _handler_executemany(self, sql: str, rows: Iterable[Parameters]) -> _Cursor:
        cursor = self._connection.cursor()
        self.guarded(cursor.executemany, sql, rows)
        return _Cursor(self, cursor)

    def _ended(self, error: psycopg.Error) -> StoreError | HandlerError:
        return TransactionEnded(
            "the handler ended the consumer's transaction; the whole batch is rolled back and "
            f"tried again ({error.diag.message_primary})"
        )


def uuids(ids: Iterable[bytes]) -> str:
    """16-byte ids as the text of a uuid[]: far cheaper than a list of UUID objects."""
    return "{" + ",".join(map(bytes.hex, ids)) + "}"


def park_parameters(group: int, events: Sequence[ParkedEvent], retry_at_ms: int) -> tuple[Any, ...]:
    """The parameters of PARK."""
    return (
        group,
        [e.partition.topic for e in events],
        [e.partition.number for e in events],
        [e.key for e in events],
        [e.offset for e in events],
        [e.value for e in events],
        [e.traceparent for e in events],
        [e.request_id for e in events],
        [e.connection for e in events],
        [e.event_type for e in events],
        [e.reason for e in events],
        [e.parked_at_ms for e in events],
        group,
        retry_at_ms,
    )


def parked_event(partition: Partition, key: bytes, row: Sequence[Any]) -> ParkedEvent:
    """The event of a row of PARKED."""
    offset, value, traceparent, request_id, connection, event_type, reason, parked_at_ms = row
    return ParkedEvent(
        partition=partition,
        key=key,
        offset=offset,
        value=bytes(value),
        traceparent=traceparent,
        request_id=bytes(request_id),
        connection=connection,
        event_type=event_type,
        reason=reason,
        parked_at_ms=parked_at_ms,
    )


def parked_key(row: Sequence[Any]) -> ParkedKey:
    """The key of a row (topic, partition, key, events, attempts, retry_at_ms)."""
    topic, number, key, events, attempts, retry_at_ms = row
    return ParkedKey(
        partition=Partition(topic, number),
        key=bytes(key),
        events=events,
        attempts=attempts,
        retry_at_ms=retry_at_ms,
    )
