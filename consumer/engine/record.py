"""One message on its way through the consumer, from poll to commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from opentelemetry.trace import SpanContext

from consumer.core.lanes import Work
from consumer.handlers.registration import Handler, Handlers
from consumer.stores.contract import Partition
from schemas.codec import EVENT
from schemas.dead_letter import DeadLetter
from schemas.errors import CodecError, Undecodable
from schemas.event import Event


class Message(Protocol):
    """What of confluent_kafka.Message the consumer reads."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes]] | None: ...
    def timestamp(self) -> tuple[int, int]: ...


class Record(msgspec.Struct, eq=False, kw_only=True):
    """A delivered message and what has been decided of it so far. Times `_ns` are monotonic."""

    partition: Partition
    offset: int
    key: bytes
    size_bytes: int
    polled_ns: int
    #: Waiting time in Kafka, from the wall clocks of the gateway and this machine.
    queue_ms: float
    work: Work = Work.TRANSACTION
    event: Event | None = None
    dedupe_id: bytes = b""
    handler: Handler | None = None
    parent: SpanContext | None = None
    #: Why it cannot be decoded, and its value as it came.
    problem: CodecError | None = None
    value: bytes | None = None
    attempts: int = 0
    first_failure_s: float = 0.0
    #: Set once it is given up on: the next group commit keeps it instead of handling it.
    letter: DeadLetter | None = None
    started_ns: int = 0
    handled_ns: int = 0


def read(
    message: Message,
    handlers: Handlers,
    polled_ns: int,
    now_ms: float,
    parent_of: Callable[[Message], SpanContext | None] | None = None,
) -> Record:
    """The record of a message; what cannot be decoded carries its problem instead of an event."""
    value = message.value()
    record = Record(
        partition=Partition(message.topic(), message.partition()),
        offset=message.offset(),
        key=message.key() or b"",
        size_bytes=len(value) if value else 0,
        polled_ns=polled_ns,
        queue_ms=max(0.0, now_ms - message.timestamp()[1]),
    )
    try:
        if value is None:
            raise Undecodable("the record has no value: another program writes to this topic")
        record.event = event = EVENT.decode(value)
    except CodecError as error:
        record.problem = error
        record.value = value
        return record
    record.dedupe_id = event.dedupe_id
    record.handler = handler = handlers.find(event.event_type)
    if handler is not None and not handler.takes_transaction:
        record.work = Work.EXTERNAL
    if parent_of is not None:
        record.parent = parent_of(message)
    return record


def steps_ms(record: Record, committed_ns: int, commit_began_ns: int) -> dict[str, float]:
    """How long each step of a committed record took, in ms."""
    started_ns = record.started_ns or commit_began_ns
    handled_ns = record.handled_ns or started_ns
    return {
        "queue_ms": round(record.queue_ms, 3),
        "lane_wait_ms": round((started_ns - record.polled_ns) / 1e6, 3),
        "handler_ms": round((handled_ns - started_ns) / 1e6, 3),
        "commit_ms": round((committed_ns - handled_ns) / 1e6, 3),
    }


def monotonic_ns() -> int:
    """The clock of every `_ns` here."""
    return time.monotonic_ns()
