"""The consumer's spans (OpenTelemetry messaging conventions): poll, process, commit.

An event is traced only where its producer's traceparent says sampled; the others cost one
look at a header, and nothing when no exporter is set up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from consumer.engine.record import Message, Record
from schemas.event import HEADER_TRACEPARENT

_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class ConsumerTracing:
    """Makes the spans of one consumer group; `enabled=False` makes every call free."""

    def __init__(self, group: str, *, enabled: bool) -> None:
        self.enabled = enabled
        self._tracer = trace.get_tracer("hookline.consumer")
        self._group = group
        self._poll: SpanContext | None = None

    def polled(self, topic: str, count: int, began_ns: int) -> None:
        """A poll gave messages; later `process` spans link to it. `began_ns`: Unix time."""
        if not self.enabled:
            return
        span = self._tracer.start_span(
            f"poll {topic}",
            kind=SpanKind.CLIENT,
            start_time=began_ns,
            attributes=self._attributes(topic, "poll", "receive")
            | {"messaging.batch.message_count": count},
        )
        span.end()
        self._poll = span.get_span_context()

    def parent_of(self, message: Message) -> SpanContext | None:
        """The producer's span, if the message carries a sampled one."""
        for name, value in message.headers() or ():
            if name == HEADER_TRACEPARENT:
                return self.context_of(value)
        return None

    def context_of(self, traceparent: bytes) -> SpanContext | None:
        """The span of a traceparent, if it is sampled."""
        return _sampled_context(traceparent)

    def process_all(self, records: Sequence[Record]) -> AbstractContextManager[Any]:
        """The CONSUMER spans of all events of one call, each in its own trace."""
        if not self.enabled:
            return _NOTHING
        stack = ExitStack()
        for record in records:
            if record.parent is not None:
                stack.enter_context(self._process(record, record.parent))
        return stack

    def process(self, record: Record) -> AbstractContextManager[None]:
        """The CONSUMER span around a handler, current while it runs."""
        if not self.enabled or record.parent is None:
            return _NOTHING
        return self._process(record, record.parent)

    @contextmanager
    def _process(self, record: Record, parent: SpanContext) -> Iterator[None]:
        links = [Link(self._poll)] if self._poll is not None and self._poll.is_valid else []
        with self._tracer.start_as_current_span(
            f"process {record.partition.topic}",
            context=trace.set_span_in_context(trace.NonRecordingSpan(parent)),
            kind=SpanKind.CONSUMER,
            links=links,
            attributes=self._event_attributes(record, "process", "process")
            | {"hookline.attempt": record.attempts + 1},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                # The type only: a handler's message may quote the payload.
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def committed(self, records: Sequence[Record], began_ns: int, ended_ns: int) -> None:
        """A group commit ended: a span in the trace of each of its sampled events (monotonic)."""
        if not self.enabled:
            return
        shift_ns = time.time_ns() - time.monotonic_ns()
        for record in records:
            if record.parent is None:
                continue
            self._tracer.start_span(
                f"commit {record.partition.topic}",
                context=trace.set_span_in_context(trace.NonRecordingSpan(record.parent)),
                kind=SpanKind.CLIENT,
                start_time=began_ns + shift_ns,
                attributes=self._event_attributes(record, "commit", "settle")
                | {"messaging.batch.message_count": len(records)},
            ).end(ended_ns + shift_ns)

    def _attributes(self, topic: str, name: str, kind: str) -> dict[str, Any]:
        return {
            "messaging.system": "kafka",
            "messaging.destination.name": topic,
            "messaging.operation.name": name,
            "messaging.operation.type": kind,
            "messaging.consumer.group.name": self._group,
        }

    def _event_attributes(self, record: Record, name: str, kind: str) -> dict[str, Any]:
        attributes = self._attributes(record.partition.topic, name, kind)
        attributes["messaging.destination.partition.id"] = str(record.partition.number)
        attributes["messaging.kafka.offset"] = record.offset
        if record.event is not None:
            attributes["messaging.message.conversation_id"] = record.event.request_id.hex()
            attributes["messaging.kafka.message.key"] = record.event.resource_key
            attributes["hookline.event_type"] = record.event.event_type
        return attributes


def _sampled_context(traceparent: bytes) -> SpanContext | None:
    # 00-<32 hex>-<16 hex>-<2 hex>: W3C Trace Context, section 3.2.
    if len(traceparent) != 55 or traceparent[:3] != b"00-":
        return None
    try:
        trace_id, span_id = int(traceparent[3:35], 16), int(traceparent[36:52], 16)
        flags = int(traceparent[53:55], 16)
    except ValueError:
        return None
    if not flags & TraceFlags.SAMPLED:
        return None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None
