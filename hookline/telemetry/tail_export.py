"""Takes spans that were made from the execution log to where all other spans go.

They carry the resource of the process whose work they tell of, not that of the monitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from consumer.monitor.tail_spans import SpanData
from schemas.request_id import trace_id

_KINDS: Final[Mapping[str, SpanKind]] = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}
_SCOPE: Final = InstrumentationScope("hookline.monitor.tail")
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)


class TailExport:
    """Hands spans to a process's batch processor, which bounds them and sends on its own thread."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor

    def __call__(self, spans: Sequence[SpanData]) -> None:
        """Queue spans; never waits, and never raises for what the collector does."""
        for span in spans:
            self._processor.on_end(readable(span))


def readable(span: SpanData) -> ReadableSpan:
    """A span as the SDK's exporters take it."""
    return ReadableSpan(
        name=span.name,
        context=_context(span.request_id, span.span_id),
        parent=None if span.parent is None else _context(span.request_id, span.parent),
        resource=_resource(span.service, span.instance, span.environment),
        attributes=dict(span.attributes),
        links=[Link(_context(span.request_id, link)) for link in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR) if span.failed else Status(),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(request_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(trace_id(request_id), int.from_bytes(span_id, "big"), True, _FLAGS)


# One object for each process, as exporters group spans by it.
@lru_cache(maxsize=1024)
def _resource(service: str, instance: str, environment: str) -> Resource:
    attributes = {"service.name": service}
    if instance:
        attributes["service.instance.id"] = instance
    if environment:
        attributes["deployment.environment.name"] = environment
    return Resource(attributes)
