"""Batches of executions and receptions as bytes, in columns: under 1 µs an event to write.

A message for each event would cost its sender more than all else that it does with the event.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from schemas.codec import PREFIX_BYTES, Codec, load_schemas, schema_prefix
from schemas.errors import Undecodable
from schemas.execution import Attempt, Execution, Reception
from schemas.request_id import SIZE_BYTES

SAMPLED: Final = 1
WAS_PARKED: Final = 2


class Kind(msgspec.Struct, frozen=True):
    """What many events of a batch have in common."""

    environment: str
    tenant: str
    connection: str
    provider: str
    event_type: str
    resource_type: str
    source: str


class Executions(msgspec.Struct, kw_only=True):
    """A batch of one consumer: item i of each column is of event i. See executions.v1.avsc.

    A column of numbers is written fastest as an `array("q")`.
    """

    environment: str
    group: str
    instance: str
    topic: str
    committed_at: int
    commit_ns: int
    kinds: list[dict[str, str]]
    outcomes: list[str]
    request_ids: bytes
    kind: Sequence[int]
    event_ids: list[str]
    resource_ids: list[str]
    partitions: Sequence[int]
    offsets: Sequence[int]
    outcome: Sequence[int]
    occurred_at: Sequence[int]
    received_at: Sequence[int]
    in_kafka_at: Sequence[int]
    polled_at: Sequence[int]
    read_ns: Sequence[int]
    verify_ns: Sequence[int]
    identify_ns: Sequence[int]
    lane_ns: Sequence[int]
    handler_ns: Sequence[int]
    failures: Sequence[int]
    flags: Sequence[int]
    weights: Sequence[int]
    reasons: list[dict[str, Any]]
    attempts: list[dict[str, Any]]

    def rows(self) -> list[Execution]:
        """Each event by itself; Undecodable if the columns do not fit each other."""
        _check(self, len(self.request_ids), _EXECUTION_COLUMNS)
        reasons = {item["index"]: item["reason"] for item in self.reasons}
        attempts: dict[int, list[Attempt]] = {}
        for item in self.attempts:
            attempts.setdefault(item["index"], []).append(
                Attempt(
                    number=item["number"],
                    began_at_us=item["began_at"],
                    duration_ns=item["duration_ns"],
                    outcome=item["outcome"],
                    error_type=item["error_type"],
                )
            )
        try:
            return [
                Execution(
                    **self.kinds[self.kind[i]],
                    group=self.group,
                    instance=self.instance,
                    topic=self.topic,
                    committed_at_us=self.committed_at,
                    commit_ns=self.commit_ns,
                    request_id=self.request_ids[i * SIZE_BYTES : (i + 1) * SIZE_BYTES],
                    event_id=self.event_ids[i],
                    resource_id=self.resource_ids[i],
                    partition=self.partitions[i],
                    offset=self.offsets[i],
                    outcome=self.outcomes[self.outcome[i]],
                    reason=reasons.get(i, ""),
                    occurred_at_us=self.occurred_at[i],
                    received_at_us=self.received_at[i],
                    in_kafka_at_us=self.in_kafka_at[i],
                    polled_at_us=self.polled_at[i],
                    read_ns=self.read_ns[i],
                    verify_ns=self.verify_ns[i],
                    identify_ns=self.identify_ns[i],
                    lane_ns=self.lane_ns[i],
                    handler_ns=self.handler_ns[i],
                    failures=self.failures[i],
                    attempts=tuple(attempts.get(i, ())),
                    was_parked=bool(self.flags[i] & WAS_PARKED),
                    sampled=bool(self.flags[i] & SAMPLED),
                    weight=self.weights[i],
                )
                for i in range(len(self.offsets))
            ]
        except IndexError:
            raise Undecodable("a batch of executions points beyond its own lists") from None


class Receptions(msgspec.Struct, kw_only=True):
    """A batch of one gateway: item i of each column is of request i. See receptions.v1.avsc."""

    environment: str
    instance: str
    connections: list[dict[str, str]]
    outcomes: list[str]
    request_ids: bytes
    connection: Sequence[int]
    outcome: Sequence[int]
    statuses: Sequence[int]
    received_at: Sequence[int]
    read_ns: Sequence[int]
    verify_ns: Sequence[int]
    identify_ns: Sequence[int]
    encode_ns: Sequence[int]
    publish_ns: Sequence[int]
    total_ns: Sequence[int]
    events: Sequence[int]
    partitions: Sequence[int]
    offsets: Sequence[int]
    flags: Sequence[int]
    weights: Sequence[int]

    def rows(self) -> list[Reception]:
        """Each request by itself; Undecodable if the columns do not fit each other."""
        _check(self, len(self.request_ids), _RECEPTION_COLUMNS)
        try:
            return [
                Reception(
                    **self.connections[self.connection[i]],
                    environment=self.environment,
                    instance=self.instance,
                    request_id=self.request_ids[i * SIZE_BYTES : (i + 1) * SIZE_BYTES],
                    outcome=self.outcomes[self.outcome[i]],
                    status=self.statuses[i],
                    received_at_us=self.received_at[i],
                    read_ns=self.read_ns[i],
                    verify_ns=self.verify_ns[i],
                    identify_ns=self.identify_ns[i],
                    encode_ns=self.encode_ns[i],
                    publish_ns=self.publish_ns[i],
                    total_ns=self.total_ns[i],
                    events=self.events[i],
                    partition=self.partitions[i],
                    offset=self.offsets[i],
                    sampled=bool(self.flags[i] & SAMPLED),
                    weight=self.weights[i],
                )
                for i in range(len(self.statuses))
            ]
        except IndexError:
            raise Undecodable("a batch of receptions points beyond its own lists") from None


_EXECUTION_COLUMNS: Final = (
    *("kind", "event_ids", "resource_ids", "partitions", "offsets", "outcome", "occurred_at"),
    *("received_at", "in_kafka_at", "polled_at", "read_ns", "verify_ns", "identify_ns"),
    *("lane_ns", "handler_ns", "failures", "flags", "weights"),
)
_RECEPTION_COLUMNS: Final = (
    *("connection", "outcome", "statuses", "received_at", "read_ns", "verify_ns", "identify_ns"),
    *("encode_ns", "publish_ns", "total_ns", "events", "partitions", "offsets", "flags", "weights"),
)


def _check(batch: object, ids_bytes: int, columns: Iterable[str]) -> None:
    for name in columns:
        if len(getattr(batch, name)) * SIZE_BYTES != ids_bytes:
            raise Undecodable(f"the column {name} has not one item for each request id")


def executions_of(rows: Sequence[Execution]) -> Executions:
    """Rows of one group, instance, topic and commit as a batch; for tests and tools."""
    kinds: dict[Kind, int] = {}
    outcomes: dict[str, int] = {}
    first = rows[0]
    column: dict[str, list[Any]] = {name: [] for name in _EXECUTION_COLUMNS}
    reasons: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        kind = Kind(
            row.environment,
            row.tenant,
            row.connection,
            row.provider,
            row.event_type,
            row.resource_type,
            row.source,
        )
        values = {
            "kind": kinds.setdefault(kind, len(kinds)),
            "event_ids": row.event_id,
            "resource_ids": row.resource_id,
            "partitions": row.partition,
            "offsets": row.offset,
            "outcome": outcomes.setdefault(row.outcome, len(outcomes)),
            "occurred_at": row.occurred_at_us,
            "received_at": row.received_at_us,
            "in_kafka_at": row.in_kafka_at_us,
            "polled_at": row.polled_at_us,
            "read_ns": row.read_ns,
            "verify_ns": row.verify_ns,
            "identify_ns": row.identify_ns,
            "lane_ns": row.lane_ns,
            "handler_ns": row.handler_ns,
            "failures": row.failures,
            "flags": SAMPLED * row.sampled | WAS_PARKED * row.was_parked,
            "weights": row.weight,
        }
        for name, value in values.items():
            column[name].append(value)
        if row.reason:
            reasons.append({"index": index, "reason": row.reason})
        for attempt in row.attempts:
            attempts.append(attempt_item(index, attempt))
    return Executions(
        environment=first.environment,
        group=first.group,
        instance=first.instance,
        topic=first.topic,
        committed_at=first.committed_at_us,
        commit_ns=first.commit_ns,
        kinds=[msgspec.structs.asdict(kind) for kind in kinds],
        outcomes=list(outcomes),
        request_ids=b"".join(row.request_id for row in rows),
        reasons=reasons,
        attempts=attempts,
        **column,
    )


def attempt_item(index: int, attempt: Attempt) -> dict[str, Any]:
    """A failed call of the event at `index` of its batch."""
    return {
        "index": index,
        "number": attempt.number,
        "began_at": attempt.began_at_us,
        "duration_ns": attempt.duration_ns,
        "outcome": attempt.outcome,
        "error_type": attempt.error_type,
    }


def receptions_of(rows: Sequence[Reception]) -> Receptions:
    """Rows of one instance as a batch; for tests and tools."""
    connections: dict[tuple[str, str, str], int] = {}
    outcomes: dict[str, int] = {}
    column: dict[str, list[int]] = {name: [] for name in _RECEPTION_COLUMNS}
    for row in rows:
        key = (row.connection, row.tenant, row.provider)
        values = {
            "connection": connections.setdefault(key, len(connections)),
            "outcome": outcomes.setdefault(row.outcome, len(outcomes)),
            "statuses": row.status,
            "received_at": row.received_at_us,
            "read_ns": row.read_ns,
            "verify_ns": row.verify_ns,
            "identify_ns": row.identify_ns,
            "encode_ns": row.encode_ns,
            "publish_ns": row.publish_ns,
            "total_ns": row.total_ns,
            "events": row.events,
            "partitions": row.partition,
            "offsets": row.offset,
            "flags": SAMPLED * row.sampled,
            "weights": row.weight,
        }
        for name, value in values.items():
            column[name].append(value)
    return Receptions(
        environment=rows[0].environment,
        instance=rows[0].instance,
        connections=[
            {"connection": connection, "tenant": tenant, "provider": provider}
            for connection, tenant, provider in connections
        ],
        outcomes=list(outcomes),
        request_ids=b"".join(row.request_id for row in rows),
        **column,
    )


_TEXTS: Final = ("event_ids", "resource_ids")


def _packed(batch: Executions | Receptions, columns: Iterable[str]) -> dict[str, Any]:
    record = msgspec.structs.asdict(batch)
    for name in columns:
        if name in _TEXTS:
            texts = record[name]
            record[name] = joined = "\0".join(texts)
            if joined.count("\0") >= max(1, len(texts)):
                # An id of somebody's who writes to the topic without us.
                record[name] = "\0".join(text.replace("\0", "\ufffd") for text in texts)
            continue
        numbers = array("q", record[name])
        if sys.byteorder == "big":
            numbers.byteswap()
        record[name] = numbers.tobytes()
    return record


def _unpacked(record: dict[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    for name in columns:
        if name in _TEXTS:
            record[name] = record[name].split("\0") if record["request_ids"] else []
            continue
        numbers = array("q")
        numbers.frombytes(record[name])
        if sys.byteorder == "big":
            numbers.byteswap()
        record[name] = numbers.tolist()
    return record


EXECUTIONS: Final = Codec[Executions](
    load_schemas("executions"),
    lambda batch: _packed(batch, _EXECUTION_COLUMNS),
    lambda record: Executions(**_unpacked(record, _EXECUTION_COLUMNS)),
)
RECEPTIONS: Final = Codec[Receptions](
    load_schemas("receptions"),
    lambda batch: _packed(batch, _RECEPTION_COLUMNS),
    lambda record: Receptions(**_unpacked(record, _RECEPTION_COLUMNS)),
)

_BY_PREFIX: Final[Mapping[bytes, Codec[Executions] | Codec[Receptions]]] = {
    schema_prefix(schema): codec
    for name, codec in (("executions", EXECUTIONS), ("receptions", RECEPTIONS))
    for schema in load_schemas(name).values()
}


def decode_rows(data: bytes) -> list[Execution] | list[Reception]:
    """What one message of the telemetry topic holds; NotSingleObject, Undecodable as `Codec`."""
    codec = _BY_PREFIX.get(data[:PREFIX_BYTES], EXECUTIONS)
    return codec.decode(data).rows()
