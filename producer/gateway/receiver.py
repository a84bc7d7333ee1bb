"""A webhook's way through the gateway: verify, identify, publish, answer.

Knows nothing of the HTTP server. Nothing that a sender can put into a request makes it raise.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

from producer.gateway import answers
from producer.gateway.answers import Answer, Refusal
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.refusal_log import RefusalLog
from producer.gateway.request_ids import RequestIds
from producer.gateway.tracing import GatewayTracing, RequestTrace
from producer.providers.provider import Headers, Identity, Refused, Request, Unreadable
from schemas.codec import DEAD_LETTER, EVENT
from schemas.dead_letter import DeadLetter
from schemas.errors import Overloaded, PublishError
from schemas.event import (
    HEADER_EVENT_TYPE,
    HEADER_REQUEST_ID,
    HEADER_TRACEPARENT,
    Event,
    resource_key,
)

log = logging.getLogger("hookline.gateway")

_MAX_KEPT_CHARS: Final = 1024
_now_ns = time.perf_counter_ns


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
    ) -> Awaitable[Position]: ...


class Receiver:
    """Turns what a request holds into an answer, after the event is safe."""

    def __init__(
        self,
        *,
        environment: str,
        connections: ConnectionTable,
        sink: EventSink,
        events_topic: str,
        quarantine_topic: str,
        tracing: GatewayTracing,
        metrics: GatewayMetrics,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._environment = environment
        self._connections = connections
        self._sink = sink
        self._events = events_topic
        self._quarantine = quarantine_topic
        self._tracing = tracing
        self._metrics = metrics
        self._clock_s = clock_s
        self._ids = RequestIds()
        self._refusals = RefusalLog(log)

    def refuse(self, refusal: Refusal, began_ns: int, connection_id: str = "") -> Answer:
        """The answer to a request that was refused before or instead of its verification."""
        known = connection_id if self._connections.find(connection_id) else ""
        return self._refuse(refusal, refusal.code, self._ids.make(), known, began_ns, None)

    def failed(self, error: Exception, began_ns: int) -> Answer:
        """The answer to a request that met a fault of ours."""
        request_id = self._ids.make()
        frames = traceback.extract_tb(error.__traceback__)
        # Not the error's text, which may quote what was sent.
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]]
        log.error(
            "a request failed",
            extra={
                "request_id": request_id.hex(),
                "data": {"error": type(error).__name__, "where": where},
            },
        )
        return self._refuse(answers.FAILED, "internal", request_id, "", began_ns, None)

    async def receive(
        self, connection_id: str, headers: Headers, body: bytes, began_ns: int
    ) -> Answer:
        """The answer to a webhook. `began_ns`: perf_counter_ns when its headers were there."""
        read_ns = _now_ns()
        request_id = self._ids.make()
        entry = self._connections.find(connection_id)
        if entry is None:
            return self._refuse(answers.NOT_FOUND, "not_found", request_id, "", began_ns, None)
        trace = self._tracing.begin(request_id, connection_id, headers, read_ns - began_ns)
        now_s = self._clock_s()
        request = Request(headers, body)
        verdict = entry.provider.verify(request, entry.keys.active(now_s), now_s)
        if type(verdict) is Refused:
            refusal = answers.UNAUTHORIZED[verdict.reason]
            return self._refuse(
                refusal, verdict.reason.value, request_id, connection_id, began_ns, trace
            )
        self._metrics.verified(connection_id, verdict.secret_name)
        verified_ns = _now_ns()
        identity = entry.provider.identify(request)
        identified_ns = _now_ns()
        if type(identity) is Unreadable:
            return await self._set_aside(
                entry, request, request_id, identity, now_s, began_ns, trace
            )
        connection = entry.connection
        key = resource_key(
            connection.tenant, connection_id, identity.resource_type, identity.resource_id
        )
        value = EVENT.encode(
            Event(
                request_id=request_id,
                environment=self._environment,
                tenant=connection.tenant,
                connection=connection_id,
                provider=connection.provider,
                event_id=identity.event_id,
                event_type=identity.event_type,
                resource_type=identity.resource_type,
                resource_id=identity.resource_id,
                resource_version=identity.resource_version,
                occurred_at_us=identity.occurred_at_us,
                received_at_us=int(now_s * 1e6),
                secret_name=verdict.secret_name,
                content_type=_kept(headers, "content-type") or "",
                headers=_kept_headers(entry, headers),
                payload=body,
                read_ns=read_ns - began_ns,
                verify_ns=verified_ns - read_ns,
                identify_ns=identified_ns - verified_ns,
            )
        )
        encoded_ns = _now_ns()
        text_id = request_id.hex()
        try:
            position = await self._publish(
                self._events, key, value, text_id, identity.event_type, trace
            )
        except PublishError as error:
            return self._not_safe(error, request_id, connection_id, began_ns, trace)
        # Here the event is in Kafka. A crash before the answer is out: the sender sends again,
        # and the consumer knows the event id.
        ended_ns = _now_ns()
        self._metrics.answered(connection_id, "accepted", ended_ns - began_ns)
        if trace is not None:
            trace.sent(position.partition, position.offset)
            trace.end(200, _about(entry) | {"hookline.event_type": identity.event_type})
        marks = (began_ns, read_ns, verified_ns, identified_ns, encoded_ns, ended_ns)
        if log.isEnabledFor(logging.DEBUG):
            _log_accepted(
                text_id, key, identity, connection_id, verdict.secret_name, position, marks
            )
        return answers.accepted(
            text_id,
            f"verify;dur={(verified_ns - read_ns) / 1e6:.3f}, "
            f"encode;dur={(encoded_ns - identified_ns) / 1e6:.3f}, "
            f"publish;dur={(ended_ns - encoded_ns) / 1e6:.3f}, "
            f"total;dur={(ended_ns - began_ns) / 1e6:.3f}",
        )

    def _publish(
        self,
        topic: str,
        key: str,
        value: bytes,
        text_id: str,
        event_type: str,
        trace: RequestTrace | None,
    ) -> Awaitable[Position]:
        traceparent = (
            self._ids.unsampled_traceparent(text_id)
            if trace is None
            else trace.send(topic, key, text_id, len(value))
        )
        return self._sink.publish(
            topic,
            key.encode(),
            value,
            [
                (HEADER_REQUEST_ID, text_id),
                (HEADER_EVENT_TYPE, event_type),
                (HEADER_TRACEPARENT, traceparent),
            ],
        )

    async def _set_aside(
        self,
        entry: Entry,
        request: Request,
        request_id: bytes,
        why: Unreadable,
        now_s: float,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        """Authentic, so 200 (a provider disables a hook that fails); kept whole for a person."""
        connection_id = entry.connection.id
        verified_ns = _now_ns()
        letter = DeadLetter(
            stage="GATEWAY",
            reason=why.reason,
            detail=why.detail,
            request_id=request_id,
            connection=connection_id,
            died_at_us=int(now_s * 1e6),
            value=request.body,
            headers=_kept_headers(entry, request.headers),
        )
        value = DEAD_LETTER.encode(letter)
        encoded_ns = _now_ns()
        text_id = request_id.hex()
        try:
            position = await self._publish(
                self._quarantine, connection_id, value, text_id, "", trace
            )
        except PublishError as error:
            return self._not_safe(error, request_id, connection_id, began_ns, trace)
        ended_ns = _now_ns()
        self._metrics.quarantined(connection_id, why.reason)
        self._metrics.answered(connection_id, "quarantined", ended_ns - began_ns)
        log.warning(
            "quarantined: authentic, but the provider's rules cannot read it",
            extra={
                "request_id": text_id,
                "data": {
                    "connection": connection_id,
                    "reason": why.reason,
                    "detail": why.detail,
                    "partition": position.partition,
                    "offset": position.offset,
                },
            },
        )
        if trace is not None:
            trace.sent(position.partition, position.offset)
            trace.end(200, _about(entry) | {"hookline.quarantine.reason": why.reason})
        return answers.accepted(
            text_id,
            f"encode;dur={(encoded_ns - verified_ns) / 1e6:.3f}, "
            f"publish;dur={(ended_ns - encoded_ns) / 1e6:.3f}, "
            f"total;dur={(ended_ns - began_ns) / 1e6:.3f}",
        )

    def _not_safe(
        self,
        error: PublishError,
        request_id: bytes,
        connection_id: str,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        refusal = answers.OVERLOADED if isinstance(error, Overloaded) else answers.UNAVAILABLE
        return self._refuse(refusal, refusal.code, request_id, connection_id, began_ns, trace)

    def _refuse(
        self,
        refusal: Refusal,
        reason: str,
        request_id: bytes,
        connection_id: str,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        text_id = request_id.hex()
        self._metrics.answered(connection_id, reason, _now_ns() - began_ns)
        data: dict[str, Any] = {"status": refusal.status, "reason": reason}
        if connection_id:
            data["connection"] = connection_id
        self._refusals.refused(text_id, data)
        if trace is not None:
            trace.end(refusal.status, {"hookline.connection": connection_id, "error.type": reason})
        return refusal.answer(text_id)


def _log_accepted(
    text_id: str,
    key: str,
    identity: Identity,
    connection_id: str,
    secret_name: str,
    position: Position,
    marks: tuple[int, ...],
) -> None:
    steps = zip(("read", "verify", "identify", "encode", "publish"), marks, marks[1:], strict=False)
    log.debug(
        "accepted",
        extra={
            "request_id": text_id,
            "data": {
                "connection": connection_id,
                "event_id": identity.event_id,
                "event_type": identity.event_type,
                "resource_key": key,
                "secret_name": secret_name,
                "partition": position.partition,
                "offset": position.offset,
                "steps": {f"{step}_ms": round((to - of) / 1e6, 3) for step, of, to in steps}
                | {"total_ms": round((marks[-1] - marks[0]) / 1e6, 3)},
            },
        },
    )


def _about(entry: Entry) -> dict[str, str]:
    connection = entry.connection
    return {
        "hookline.connection": connection.id,
        "hookline.tenant": connection.tenant,
        "hookline.provider": connection.provider,
    }


def _kept_headers(entry: Entry, headers: Headers) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name in entry.provider.kept_headers:
        value = _kept(headers, name)
        if value is not None:
            kept[name] = value
    return kept


def _kept(headers: Headers, name: str) -> str | None:
    value: str | None = headers.get(name)
    if value is None:
        return None
    # A lone surrogate cannot be written as UTF-8; such a header proves nothing worth keeping.
    return value[:_MAX_KEPT_CHARS] if value.isascii() else None
