"""Webhooks that are on their way to Kafka, and count as their connection's until it has spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from producer.gateway.answers import Answer
from producer.gateway.envelopes import Arrival
from producer.gateway.limits import Usage
from producer.gateway.outbox import Position, Record
from producer.gateway.tracing import RequestTrace
from producer.providers.provider import Identity, Part


class Taken(Protocol):
    """A webhook on its way: when `future` is done, `answer` gives the answer, once."""

    @property
    def future(self) -> asyncio.Future[Any]: ...
    def answer(self) -> Answer: ...


class Answerer(Protocol):
    """Who knows what to answer."""

    def safe(self, taken: TakenEvent) -> Answer:
        """The answer, when its future is done."""


class TakenEvent:
    """A request of one event, nearly all of them: no task, and no coroutine."""

    __slots__ = (
        *("arrival", "future", "identity", "marks", "record", "text_id", "trace"),
        *("_answerer", "_usage"),
    )

    def __init__(
        self,
        answerer: Answerer,
        future: asyncio.Future[Position],
        arrival: Arrival,
        identity: Identity,
        record: Record,
        text_id: str,
        marks: tuple[int, ...],
        trace: RequestTrace | None,
        usage: Usage | None,
    ) -> None:
        self._answerer = answerer
        self.future = future
        self.arrival = arrival
        self.identity = identity
        self.record = record
        self.text_id = text_id
        self.marks = marks
        self.trace = trace
        self._usage = usage
        if usage is not None:
            usage.events += 1
            usage.size_bytes += len(record.value)

    def answer(self) -> Answer:
        usage = self._usage
        if usage is not None:
            usage.events -= 1
            usage.size_bytes -= len(self.record.value)
        return self._answerer.safe(self)


class TakenParts:
    """A request of several events, or of one that cannot be read."""

    __slots__ = ("_events", "_size_bytes", "_usage", "future")

    def __init__(
        self, receiving: Coroutine[Any, Any, Answer], parts: Sequence[Part], usage: Usage | None
    ) -> None:
        self.future: asyncio.Future[Any] = asyncio.ensure_future(receiving)
        self._usage = usage
        if usage is not None:
            self._events = len(parts)
            self._size_bytes = sum(len(part.payload) for part in parts)
            usage.events += self._events
            usage.size_bytes += self._size_bytes

    def answer(self) -> Answer:
        usage = self._usage
        if usage is not None:
            usage.events -= self._events
            usage.size_bytes -= self._size_bytes
        answer: Answer = self.future.result()
        return answer
