"""One message on its way through the consumer, from poll to commit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from opentelemetry.trace import SpanContext

from consumer.core.lanes import Work
from consumer.core.staleness import Applied
from consumer.handlers.registration import Handler, Handlers
from consumer.stores.contract import ParkedEvent, Partition
from schemas.codec import EVENT
from schemas.dead_letter import DeadLetter
from schemas.errors import CodecError, Undecodable
from schemas.event import HEADER_REQUEST_ID, Event
from schemas.execution import MAX_ATTEMPTS, Attempt
from schemas.request_id import SIZE_BYTES, parse

#: Why an event is parked that has not failed itself.
BEHIND: Final = "behind"


class Message(Protocol):
    """What of confluent_kafka.Message the consumer reads."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes]] | None: ...
    def timestamp(self) -> tuple[int, int]: ...


class Record(msgspec.Struct, eq=False, gc=False):
    """A delivered message and what has been decided of it so far. Times `_ns` are monotonic.

    Without garbage collection's bookkeeping (gc=False): it is part of no cycle, and there are
    tens of thousands.
    """

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
    #: 16 bytes that stand for its resource, where its handler looks at versions.
    resource_id: bytes = b""
    #: Milliseconds since 1970 of Kafka's record.
    timestamp_ms: int = 0
    #: Why it cannot be decoded, and its value as it came.
    problem: CodecError | None = None
    value: bytes | None = None
    #: The request id of what cannot be decoded, if the message's header tells it.
    request_id: bytes = b""
    attempts: int = 0
    #: The first and the last calls that failed, for the execution log.
    failed: list[Attempt] | None = None
    first_failure_s: float = 0.0
    #: Set once it is given up on: the next group commit keeps it instead of handling it.
    letter: DeadLetter | None = None
    #: Set once it is to be parked: the next group commit does that instead of handling it.
    park_reason: str = ""
    #: Since when (Unix ms) it has been parked, if it comes from there and not from the log.
    parked_at_ms: int = 0
    #: It is stale, and its handler wants the present state fetched instead.
    refetch: bool = False
    started_ns: int = 0
    handled_ns: int = 0

    @property
    def function(self) -> Callable[..., Any]:
        """What is to be called with the event."""
        handler = self.handler
        assert handler is not None
        if self.refetch and handler.refetch is not None:
            return handler.refetch
        return handler.function

    def note_failure(self, attempt: Attempt) -> None:
        """Keep a call that failed; in place of one from the middle if there are too many."""
        if self.failed is None:
            self.failed = []
        if len(self.failed) == MAX_ATTEMPTS:
            del self.failed[MAX_ATTEMPTS // 2]
        self.failed.append(attempt)

    @property
    def version(self) -> Applied:
        """What is applied to the resource once this event has been."""
        event = self.event
        assert event is not None
        assert self.handler is not None
        return Applied(event.resource_version, event.occurred_at_us, self.handler.deletes)


def read(
    message: Message,
    partition: Partition,
    offset: int,
    handlers: Handlers,
    polled_ns: int,
    now_ms: float,
    parent_of: Callable[[Message], SpanContext | None] | None = None,
) -> Record:
    """The record of a message from a partition and offset.

    What cannot be decoded carries its problem instead of an event.
    """
    value = message.value()
    timestamp_ms = message.timestamp()[1]
    record = Record(
        partition,
        offset,
        message.key() or b"",
        len(value) if value else 0,
        polled_ns,
        max(0.0, now_ms - timestamp_ms),
    )
    record.timestamp_ms = timestamp_ms
    _fill(record, value, handlers)
    if record.event is None:
        record.request_id = _told_request_id(message)
    elif parent_of is not None:
        record.parent = parent_of(message)
    return record


def read_parked(
    parked: ParkedEvent,
    handlers: Handlers,
    polled_ns: int,
    parent_of: Callable[[bytes], SpanContext | None] | None = None,
) -> Record:
    """The record of a parked event, to be handled again."""
    record = Record(
        partition=parked.partition,
        offset=parked.offset,
        key=parked.key,
        size_bytes=len(parked.value),
        polled_ns=polled_ns,
        queue_ms=0.0,
        timestamp_ms=parked.parked_at_ms,
        # Never 0, which says that it comes from the log.
        parked_at_ms=max(1, parked.parked_at_ms),
    )
    _fill(record, parked.value, handlers)
    record.request_id = parked.request_id
    if parent_of is not None and parked.traceparent:
        record.parent = parent_of(parked.traceparent.encode())
    return record


def traceparent_of(record: Record) -> str:
    """Its producer's span as a W3C traceparent; empty if that was not sampled."""
    parent = record.parent
    if parent is None:
        return ""
    return f"00-{parent.trace_id:032x}-{parent.span_id:016x}-{parent.trace_flags:02x}"


def parked_event(record: Record, now_ms: int) -> ParkedEvent:
    """A record as it is parked."""
    event = record.event
    assert event is not None
    return ParkedEvent(
        partition=record.partition,
        key=record.key,
        offset=record.offset,
        value=EVENT.encode(event),
        traceparent=traceparent_of(record),
        request_id=event.request_id,
        connection=event.connection,
        event_type=event.event_type,
        reason=record.park_reason,
        parked_at_ms=now_ms,
    )


def _fill(record: Record, value: bytes | None, handlers: Handlers) -> None:
    try:
        if value is None:
            raise Undecodable("the record has no value: another program writes to this topic")
        record.event = event = EVENT.decode(value)
    except CodecError as error:
        record.problem = error
        record.value = value
        record.dedupe_id = _undecodable_id(record, value)
        return
    record.dedupe_id = event.dedupe_id
    record.handler = handler = handlers.find(event.event_type)
    if handler is not None:
        if not handler.takes_transaction:
            record.work = Work.EXTERNAL if handler.is_async else Work.THREAD
        if handler.tracks_versions:
            record.resource_id = event.resource_digest


def _told_request_id(message: Message) -> bytes:
    for name, value in message.headers() or ():
        if name == HEADER_REQUEST_ID:
            try:
                found = parse((value or b"").decode("ascii"))
            except ValueError:
                break
            return found if len(found) == SIZE_BYTES else b""
    return b""


def _undecodable_id(record: Record, value: bytes | None) -> bytes:
    """16 bytes for this value at this place: a commit whose answer was lost is tried again."""
    place = f"{record.partition.topic}\0{record.partition.number}\0{record.offset}\0"
    data = place.encode() + (value or b"")
    return hashlib.blake2b(data, digest_size=16, person=b"undecodable").digest()


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
