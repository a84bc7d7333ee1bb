"""The operator's side of the PostgreSQL store: a connection of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from consumer.stores.contract import ParkedEvent, ParkedKey, Partition
from consumer.stores.operations import Filter, StoredLetter, as_parked
from consumer.stores.postgres_commit import uuids
from consumer.stores.postgres_link import Link
from consumer.stores.postgres_parked import (
    ANY_BYTES,
    PARK,
    PARKED,
    park_parameters,
    parked_event,
    parked_key,
    text,
)
from consumer.stores.postgres_schema import STEPS
from schemas.codec import DEAD_LETTER
from schemas.errors import StoreUnavailable

_LETTER = (
    "SELECT letter_number, dedupe_id, event_type, resource_key, letter, traceparent"
    " FROM hookline.dead_letters WHERE number = %s"
)
#: A whole key may be too long for an index, so that its beginning is what serves the paging.
_PREFIX = "substring(key FROM 1 FOR 512)"


class PostgresOperations:
    """`Operations` on the tables of one group."""

    def __init__(self, url: str, group: str) -> None:
        self._link = Link(url)
        with self._link.using() as connection:
            row = connection.execute("SELECT to_regclass('hookline.store') IS NOT NULL").fetchone()
            version = number = None
            if row is not None and row[0]:
                version = connection.execute("SELECT version FROM hookline.store").fetchone()
                number = connection.execute(
                    "SELECT number FROM hookline.groups WHERE consumer_group = %s", (group,)
                ).fetchone()
        if version != (len(STEPS),) or number is None:
            self._link.close()
            raise StoreUnavailable(
                f"PostgreSQL store {self._link.place} has no tables of this version for group "
                f"{group!r}: start this version's consumer of that group once"
            )
        self._group: int = number[0]

    def letters(self, wanted: Filter, after: int, limit: int) -> list[StoredLetter]:
        where, values = _where(wanted)
        with self._link.using() as connection:
            rows = connection.execute(
                f"{_LETTER} AND letter_number > %s{where} ORDER BY letter_number LIMIT %s",
                (self._group, after, *values, limit),
            ).fetchall()
        return [_stored(row) for row in rows]

    def count(self, wanted: Filter) -> int:
        where, values = _where(wanted)
        with self._link.using() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM hookline.dead_letters WHERE number = %s{where}",
                (self._group, *values),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def letter(self, number: int) -> StoredLetter | None:
        with self._link.using() as connection:
            row = connection.execute(
                f"{_LETTER} AND letter_number = %s", (self._group, number)
            ).fetchone()
        return _stored(row) if row else None

    def redrive(self, numbers: Sequence[int], now_ms: int) -> int:
        moved = 0
        for number in numbers:
            with self._link.using() as connection, connection.transaction():
                row = connection.execute(
                    f"{_LETTER} AND letter_number = %s FOR UPDATE", (self._group, number)
                ).fetchone()
                if row is None:
                    continue
                stored = _stored(row)
                event = as_parked(stored, now_ms)
                if stored.dedupe_id:
                    connection.execute(
                        f"DELETE FROM hookline.seen_{self._group} WHERE id = ANY(%s::uuid[])",
                        (uuids([stored.dedupe_id]),),
                    )
                connection.execute(PARK, park_parameters(self._group, [event], now_ms))
                connection.execute(
                    "UPDATE hookline.parked_keys SET touched = true, retry_at_ms = %s"
                    " WHERE number = %s AND topic = %s AND partition = %s"
                    " AND key_digest = sha256(%s)",
                    (now_ms, self._group, *event.partition, event.key),
                )
                connection.execute(
                    "DELETE FROM hookline.dead_letters WHERE letter_number = %s", (number,)
                )
                moved += 1
        return moved

    def discard(self, numbers: Sequence[int]) -> int:
        with self._link.using() as connection:
            return connection.execute(
                "DELETE FROM hookline.dead_letters WHERE number = %s AND letter_number = ANY(%s)",
                (self._group, list(numbers)),
            ).rowcount

    def parked_keys(
        self, connection: str, after: tuple[Partition, bytes] | None, limit: int
    ) -> list[ParkedKey]:
        start: tuple[Any, ...] = (
            (*after[0], after[1][:512], after[1]) if after else ("", -1, b"", b"")
        )
        with self._link.using() as link:
            rows = link.execute(
                "SELECT topic, partition, key, events, attempts, retry_at_ms"
                " FROM hookline.parked_keys k WHERE number = %s"
                f" AND (topic, partition, {_PREFIX}, key) > (%s, %s, %s, %s)"
                " AND (%s = '' OR EXISTS (SELECT 1 FROM hookline.parked p"
                " WHERE p.number = k.number AND p.topic = k.topic AND p.partition = k.partition"
                " AND p.key_digest = k.key_digest AND p.connection = %s))"
                f" ORDER BY topic, partition, {_PREFIX}, key LIMIT %s",
                (self._group, *start, text(connection), text(connection), limit),
            ).fetchall()
        return [parked_key(row) for row in rows]

    def parked_events(self, partition: Partition, key: bytes, limit: int) -> list[ParkedEvent]:
        with self._link.using() as connection:
            rows = connection.execute(
                PARKED, (self._group, *partition, key, limit, ANY_BYTES)
            ).fetchall()
        return [parked_event(partition, key, row) for row in rows]

    def retry(self, keys: Collection[tuple[Partition, bytes]], now_ms: int) -> int:
        wanted = list(keys)
        with self._link.using() as connection:
            return connection.execute(
                "UPDATE hookline.parked_keys k SET touched = true, retry_at_ms = %s"
                " FROM unnest(%s::text[], %s::int[], %s::bytea[]) AS v(topic, partition, key)"
                " WHERE k.number = %s AND k.topic = v.topic AND k.partition = v.partition"
                " AND k.key_digest = sha256(v.key)",
                (
                    now_ms,
                    [p.topic for p, _ in wanted],
                    [p.number for p, _ in wanted],
                    [key for _, key in wanted],
                    self._group,
                ),
            ).rowcount

    def close(self) -> None:
        self._link.close()


def _where(wanted: Filter) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    for column, value in (("connection", wanted.connection), ("reason", wanted.reason)):
        if value:
            parts.append(f"{column} = %s")
            values.append(text(value))
    if wanted.event_type.endswith(".*"):
        parts.append("starts_with(event_type, %s)")
        values.append(text(wanted.event_type[:-1]))
    elif wanted.event_type:
        parts.append("event_type = %s")
        values.append(text(wanted.event_type))
    if wanted.resource:
        parts.append("(resource_key = %s OR right(resource_key, %s) = %s)")
        resource = text(wanted.resource)
        values += [resource, len(resource) + 1, f"/{resource}"]
    if wanted.since_us is not None:
        parts.append("died_at_us >= %s")
        values.append(wanted.since_us)
    if wanted.until_us is not None:
        parts.append("died_at_us < %s")
        values.append(wanted.until_us)
    return "".join(f" AND {part}" for part in parts), values


def _stored(row: Sequence[Any]) -> StoredLetter:
    number, dedupe_id, event_type, resource_key, letter, traceparent = row
    return StoredLetter(
        number=number,
        dedupe_id=bytes(dedupe_id),
        event_type=event_type,
        resource_key=resource_key,
        letter=DEAD_LETTER.decode(bytes(letter)),
        traceparent=traceparent,
    )
