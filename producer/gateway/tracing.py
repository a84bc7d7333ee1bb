"""The gateway's two spans: SERVER `POST /webhooks/{connection}` and PRODUCER `send {topic}`.

A request that is sampled out costs no span at all, only the traceparent that the log carries.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from producer.providers.provider import Headers
from schemas import request_id as request_ids

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ROUTE: Final = "/webhooks/{connection}"
#: What a burst may have at once, in seconds of the rate.
_BURST_S: Final = 5.0


class RequestTrace:
    """The spans of one sampled request."""

    __slots__ = ("_send", "_server", "_tracer")

    def __init__(self, tracer: trace.Tracer, server: Span) -> None:
        self._tracer = tracer
        self._server = server
        self._send: Span | None = None

    def send(self, topic: str, key: str, request_id: str, size_bytes: int, count: int = 1) -> str:
        """Begin the PRODUCER span of so many events; its traceparent, for the records' headers."""
        self._send = self._tracer.start_span(
            f"send {topic}",
            context=trace.set_span_in_context(self._server),
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": "kafka",
                "messaging.destination.name": topic,
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.message.conversation_id": request_id,
                "messaging.message.body.size": size_bytes,
                "messaging.kafka.message.key": key,
            },
        )
        if count > 1:
            self._send.set_attribute("messaging.batch.message_count", count)
        context = self._send.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def sent(self, partition: int, offset: int) -> None:
        """End the PRODUCER span: the log has the event, or, at offset -1, the spool."""
        if self._send is not None:
            if offset < 0:
                self._send.set_attribute("hookline.spooled", True)
            else:
                self._send.set_attribute("messaging.destination.partition.id", str(partition))
                self._send.set_attribute("messaging.kafka.offset", offset)
            self._send.end()
            self._send = None

    def end(self, status: int, attributes: dict[str, Any]) -> None:
        """End the SERVER span with the answer's status."""
        if self._send is not None:
            self._send.set_status(Status(StatusCode.ERROR))
            self._send.set_attribute("error.type", attributes.get("error.type", "_OTHER"))
            self._send.end()
        self._server.set_attribute("http.response.status_code", status)
        self._server.set_attributes(attributes)
        if status >= 500:
            self._server.set_status(Status(StatusCode.ERROR))
        self._server.end()


class GatewayTracing:
    """Begins the traces of sampled requests, so many a second at most.

    A trace's two spans cost more than all else that is done with a webhook: their number must not
    grow with the load. What fails or is slow has its trace made afterwards, of the execution log.
    """

    def __init__(
        self,
        bound: int,
        max_per_s: float = math.inf,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`bound` is the sampling ratio * 2**64; 0 when nothing is exported."""
        self._bound = bound
        self._max_per_s = max_per_s
        self._clock_s = clock_s
        self._most = max_per_s * _BURST_S
        self._left = self._most
        self._filled_s = clock_s()
        self._tracer = trace.get_tracer("hookline.gateway")

    def begin(
        self,
        request_id: bytes,
        connection_id: str,
        headers: Headers,
        elapsed_ns: int,
        method: str = "POST",
    ) -> RequestTrace | None:
        """The trace of a request that began so long ago, or None if it is sampled out."""
        if not self._bound or not request_ids.sampled(request_id, self._bound):
            return None
        if not self._has_room():
            return None
        token = request_ids.current_request_id.set(request_id)
        try:
            # An explicit empty context: this is a root, whatever runs around it.
            server = self._tracer.start_span(
                f"{method} {_ROUTE}",
                context=trace.set_span_in_context(trace.INVALID_SPAN),
                kind=SpanKind.SERVER,
                links=_links(headers.get("traceparent")),
                start_time=time.time_ns() - elapsed_ns,
                attributes={
                    "http.request.method": method,
                    "http.route": _ROUTE,
                    "url.scheme": "http",
                    "url.path": f"/webhooks/{connection_id}",
                },
            )
        finally:
            request_ids.current_request_id.reset(token)
        return RequestTrace(self._tracer, server)

    def _has_room(self) -> bool:
        if self._max_per_s == math.inf:
            return True
        now_s = self._clock_s()
        gained = (now_s - self._filled_s) * self._max_per_s
        self._left = min(self._most, self._left + gained)
        self._filled_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def _links(inbound: str | None) -> list[Link]:
    # Anybody can send one: it may be pointed at, never continued.
    if inbound is None or (match := _TRACEPARENT.fullmatch(inbound)) is None:
        return []
    context = SpanContext(
        int(match[1], 16), int(match[2], 16), True, TraceFlags(int(match[3], 16) & 1)
    )
    return [Link(context)] if context.is_valid else []
