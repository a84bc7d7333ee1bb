"""What is parked in PostgreSQL: its statements, and its rows as the contract has them.

A Kafka key may be longer than an index takes, so that the tables are keyed by its SHA-256. What is
text in the log may hold what PostgreSQL's text cannot (`text`); the envelope itself is kept whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from consumer.stores.contract import ParkedEvent, ParkedKey, Partition

#: A limit of PARKED that none reaches.
ANY_BYTES: Final = 2**62
PARK: Final = (
    "WITH added AS (INSERT INTO hookline.parked (number, topic, partition, key, log_offset, value,"
    " traceparent, request_id, connection, event_type, reason, parked_at_ms)"
    " SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bytea[], %s::bigint[], %s::bytea[],"
    " %s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::bigint[])"
    " ON CONFLICT DO NOTHING RETURNING topic, partition, key)"
    " INSERT INTO hookline.parked_keys (number, topic, partition, key, events, attempts,"
    " retry_at_ms) SELECT %s, topic, partition, key, count(*), 0, %s FROM added"
    " GROUP BY topic, partition, key"
    " ON CONFLICT (number, topic, partition, key_digest)"
    " DO UPDATE SET events = hookline.parked_keys.events + excluded.events"
)
PARKED: Final = (
    "SELECT log_offset, value, traceparent, request_id, connection, event_type, reason,"
    " parked_at_ms FROM (SELECT *, sum(octet_length(value)) OVER (ORDER BY log_offset)"
    " - octet_length(value) AS bytes_before FROM hookline.parked"
    " WHERE number = %s AND topic = %s AND partition = %s AND key_digest = sha256(%s)"
    " ORDER BY log_offset LIMIT %s) AS first WHERE bytes_before < %s ORDER BY log_offset"
)
UNPARK: Final = (
    "WITH gone AS (DELETE FROM hookline.parked p USING unnest(%s::text[], %s::int[],"
    " %s::bytea[], %s::bigint[]) AS v(topic, partition, key, log_offset)"
    " WHERE p.number = %s AND p.topic = v.topic AND p.partition = v.partition"
    " AND p.key_digest = sha256(v.key) AND p.log_offset = v.log_offset"
    " RETURNING p.topic, p.partition, p.key_digest),"
    " counted AS (SELECT topic, partition, key_digest, count(*) AS events FROM gone"
    " GROUP BY topic, partition, key_digest)"
    " UPDATE hookline.parked_keys k SET events = k.events - c.events, attempts = 0"
    " FROM counted c WHERE k.number = %s AND k.topic = c.topic"
    " AND k.partition = c.partition AND k.key_digest = c.key_digest"
)
#: Keys of which nothing is parked any more.
FREE: Final = (
    "DELETE FROM hookline.parked_keys k USING unnest(%s::text[], %s::int[], %s::bytea[])"
    " AS v(topic, partition, key) WHERE k.number = %s AND k.topic = v.topic"
    " AND k.partition = v.partition AND k.key_digest = sha256(v.key) AND k.events <= 0"
)


def text(value: str) -> str:
    """A text as PostgreSQL takes it: no NUL and no half of a surrogate pair."""
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def park_parameters(group: int, events: Sequence[ParkedEvent], retry_at_ms: int) -> tuple[Any, ...]:
    """The parameters of PARK."""
    return (
        group,
        [e.partition.topic for e in events],
        [e.partition.number for e in events],
        [e.key for e in events],
        [e.offset for e in events],
        [e.value for e in events],
        [text(e.traceparent) for e in events],
        [e.request_id for e in events],
        [text(e.connection) for e in events],
        [text(e.event_type) for e in events],
        [text(e.reason) for e in events],
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
