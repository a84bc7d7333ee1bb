"""Hands records over to Kafka, each with the request's id and its place in the trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from producer.gateway.request_ids import RequestIds
from producer.gateway.tracing import RequestTrace
from schemas.errors import PublishError
from schemas.event import HEADER_EVENT_TYPE, HEADER_REQUEST_ID, HEADER_TRACEPARENT


class Position(Protocol):
    """Where the log holds an event."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class EventSink(Protocol):
    """Where an event is made safe: Kafka. Raises, or its future raises, a PublishError."""

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: list[tuple[str, str | bytes | None]],
    ) -> asyncio.Future[Any]: ...


class Record(msgspec.Struct, frozen=True, gc=False):
    """What is to be written; the event type is empty for what could not be read."""

    topic: str
    key: str
    value: bytes
    event_type: str


class Outbox:
    """The way into the sink."""

    def __init__(self, sink: EventSink, ids: RequestIds) -> None:
        self._sink = sink
        self._ids = ids

    def publish(
        self, record: Record, text_id: str, trace: RequestTrace | None
    ) -> asyncio.Future[Any]:
        """One record; PublishError now or from the future, else a Position."""
        traceparent = (
            self._ids.unsampled_traceparent(text_id)
            if trace is None
            else trace.send(record.topic, record.key, text_id, len(record.value))
        )
        # As in `_hand_over`, whose call would cost each webhook.
        return self._sink.publish(
            record.topic,
            record.key.encode(),
            record.value,
            [
                (HEADER_REQUEST_ID, text_id),
                (HEADER_EVENT_TYPE, record.event_type),
                (HEADER_TRACEPARENT, traceparent),
            ],
        )

    async def publish_all(
        self, records: Sequence[Record], text_id: str, trace: RequestTrace | None
    ) -> list[Position]:
        """All of them in their order, when every one is safe; else PublishError.

        After a PublishError some may be in the log: whoever sends them again sends the same ids.
        """
        if not records:
            return []
        traceparent = (
            self._ids.unsampled_traceparent(text_id)
            if trace is None
            # One span for all: a thousand events of a request are one step of its way.
            else trace.send(
                records[0].topic,
                records[0].key,
                text_id,
                sum(len(record.value) for record in records),
                len(records),
            )
        )
        failed: PublishError | None = None
        sent: list[asyncio.Future[Any]] = []
        for record in records:
            try:
                sent.append(self._hand_over(record, text_id, traceparent))
            except PublishError as error:
                failed = error
                break
        positions: list[Position] = []
        # Also after a failure: an outcome that nobody looks at is reported as lost.
        for outcome in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(outcome, PublishError):
                failed = failed or outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                positions.append(outcome)
        if failed is not None:
            raise failed
        return positions

    def _hand_over(self, record: Record, text_id: str, traceparent: str) -> asyncio.Future[Any]:
        return self._sink.publish(
            record.topic,
            record.key.encode(),
            record.value,
            [
                (HEADER_REQUEST_ID, text_id),
                (HEADER_EVENT_TYPE, record.event_type),
                (HEADER_TRACEPARENT, traceparent),
            ],
        )
