"""Executions and receptions as a store keeps them: columns to search by, and the rest packed."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from schemas.execution import Attempt, Execution, Reception


class Kind(NamedTuple):
    """What many rows have in common; a store numbers these. A request's later fields are empty."""

    environment: str
    tenant: str
    connection: str
    provider: str
    event_type: str
    resource_type: str
    source: str
    consumer_group: str
    topic: str


#: The kind's fields that a sender has a say in, in place of too many of them.
OTHER: Final = "(other)"


class _Event(msgspec.Struct, frozen=True, array_like=True):
    instance: str
    partition: int
    offset: int
    reason: str
    occurred_at_us: int
    received_at_us: int
    in_kafka_at_us: int
    polled_at_us: int
    read_ns: int
    verify_ns: int
    identify_ns: int
    lane_ns: int
    handler_ns: int
    commit_ns: int
    failures: int
    attempts: list[tuple[int, int, int, str, str]]
    was_parked: bool
    sampled: bool
    weight: int
    #: Where the kind only says `OTHER`.
    event_type: str = ""
    resource_type: str = ""


class _Request(msgspec.Struct, frozen=True, array_like=True):
    instance: str
    status: int
    read_ns: int
    verify_ns: int
    identify_ns: int
    encode_ns: int
    publish_ns: int
    total_ns: int
    events: int
    partition: int
    offset: int
    sampled: bool
    weight: int


_encode: Final = msgspec.msgpack.Encoder().encode
_event: Final = msgspec.msgpack.Decoder(_Event)
_request: Final = msgspec.msgpack.Decoder(_Request)


def kind_of(row: Execution | Reception) -> tuple[str, ...]:
    """What a row has in common with many others: the fields of a Kind, which is equal to it."""
    if isinstance(row, Execution):
        return (
            row.environment,
            row.tenant,
            row.connection,
            row.provider,
            row.event_type,
            row.resource_type,
            row.source,
            row.group,
            row.topic,
        )
    return (row.environment, row.tenant, row.connection, row.provider, "", "", "", "", "")


def pack_event(row: Execution, kind: Kind) -> bytes:
    """What the columns and the kind do not hold of an execution."""
    named = (row.event_type, row.resource_type)
    return _encode(
        (
            row.instance,
            row.partition,
            row.offset,
            row.reason,
            row.occurred_at_us,
            row.received_at_us,
            row.in_kafka_at_us,
            row.polled_at_us,
            row.read_ns,
            row.verify_ns,
            row.identify_ns,
            row.lane_ns,
            row.handler_ns,
            row.commit_ns,
            row.failures,
            [
                (one.number, one.began_at_us, one.duration_ns, one.outcome, one.error_type)
                for one in row.attempts
            ],
            row.was_parked,
            row.sampled,
            row.weight,
            *(named if kind.event_type == OTHER else ()),
        )
    )


def unpack_event(
    kind: Kind, request_id: bytes, outcome: str, at_us: int, resource_id: str, event_id: str,
    packed: bytes,
) -> Execution:  # fmt: skip
    """The execution again."""
    rest: dict[str, Any] = msgspec.structs.asdict(_event.decode(packed))
    named: dict[str, Any] = {
        "event_type": rest.pop("event_type") or kind.event_type,
        "resource_type": rest.pop("resource_type") or kind.resource_type,
    }
    attempts = tuple(
        Attempt(number=number, began_at_us=at, duration_ns=ns, outcome=what, error_type=error)
        for number, at, ns, what, error in rest.pop("attempts")
    )
    return Execution(
        request_id=request_id,
        environment=kind.environment,
        tenant=kind.tenant,
        connection=kind.connection,
        provider=kind.provider,
        source=kind.source,
        group=kind.consumer_group,
        topic=kind.topic,
        outcome=outcome,
        committed_at_us=at_us,
        resource_id=resource_id,
        event_id=event_id,
        attempts=attempts,
        **named,
        **rest,
    )


def pack_request(row: Reception) -> bytes:
    """What the columns and the kind do not hold of a reception."""
    return _encode(
        (
            row.instance,
            row.status,
            row.read_ns,
            row.verify_ns,
            row.identify_ns,
            row.encode_ns,
            row.publish_ns,
            row.total_ns,
            row.events,
            row.partition,
            row.offset,
            row.sampled,
            row.weight,
        )
    )


def unpack_request(
    kind: Kind, request_id: bytes, outcome: str, at_us: int, packed: bytes
) -> Reception:
    """The reception again."""
    return Reception(
        request_id=request_id,
        environment=kind.environment,
        tenant=kind.tenant,
        connection=kind.connection,
        provider=kind.provider,
        outcome=outcome,
        received_at_us=at_us,
        **msgspec.structs.asdict(_request.decode(packed)),
    )
