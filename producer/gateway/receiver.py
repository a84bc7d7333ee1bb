"""A webhook's way through the gateway (docs/architecture.md): verify, identify, publish, answer.

Knows nothing of the HTTP server. Nothing that a sender can put into a request makes it raise.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from producer.gateway import answers
from producer.gateway.answers import Header, Refusal
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.refusal_log import RefusalLog
from producer.gateway.tracing import GatewayTracing, RequestTrace, unsampled_traceparent
from producer.providers.provider import Headers, Identity, Refused, Request, Unreadable
from schemas import request_id as request_ids
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

_IDS_A_REFILL: Final = 256
_MAX_KEPT_CHARS: Final = 1024


class Position(Protocol):
    """Where the log holds an event."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class EventSink(Protocol):
    """Where an event is made safe: Kafka. Raises, or the awaiting of it raises, a PublishError."""

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: list[tuple[str, str | bytes | None]],
    ) -> Awaitable[Position]: ...


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What to send back."""

    status: int
    headers: list[Header]
    body: bytes


class RequestIds:
    """Fresh request ids; randomness is fetched from the system for many at a time."""

    def __init__(self) -> None:
        self._random = b""
        self._at = 0

    def make(self) -> bytes:
        """A request id for now."""
        size = request_ids.RANDOM_BYTES
        if self._at + size > len(self._random):
            self._random, self._at = os.urandom(size * _IDS_A_REFILL), 0
        self._at += size
        return request_ids.make(
            time.time_ns() // 1_000_000, self._random[self._at - size : self._at]
        )


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
        return self._refuse(refusal, self._ids.make(), known, refusal.code, began_ns, None)

    async def receive(
        self, connection_id: str, headers: Headers, body: bytes, began_ns: int
    ) -> Answer:
        """The answer to a webhook. `began_ns`: perf_counter_ns at the request's first byte."""
        read_ns = time.perf_counter_ns()
        request_id = self._ids.make()
        entry = self._connections.find(connection_id)
        if entry is None:
            return self._refuse(answers.NOT_FOUND, request_id, "", "not_found", began_ns, None)
        trace = self._tracing.begin(request_id, headers.get("traceparent"), read_ns - began_ns)
        now_s = self._clock_s()
        request = Request(headers, body)
        verdict = entry.provider.verify(request, entry.keys.active(now_s), now_s)
        if type(verdict) is Refused:
            return self._refuse(
                answers.UNAUTHORIZED,
                request_id,
                connection_id,
                verdict.reason.value,
                began_ns,
                trace,
            )
        self._metrics.verified(connection_id, verdict.secret_name)
        verified_ns = time.perf_counter_ns()
        identity = entry.provider.identify(request)
        identified_ns = time.perf_counter_ns()
        if type(identity) is Unreadable:
            return await self._set_aside(entry, request, request_id, identity, began_ns, trace)
        key, value = self._encode(
            entry,
            request,
            request_id,
            identity,
            verdict.secret_name,
            (
                int(now_s * 1e6),
                read_ns - began_ns,
                verified_ns - read_ns,
                identified_ns - verified_ns,
            ),
        )
        encoded_ns = time.perf_counter_ns()
        text_id = request_id.hex()
        traceparent = (
            unsampled_traceparent(text_id)
            if trace is None
            else trace.send(self._events, key, text_id, len(value))
        )
        try:
            position = await self._sink.publish(
                self._events,
                key.encode(),
                value,
                [
                    (HEADER_REQUEST_ID, text_id),
                    (HEADER_EVENT_TYPE, identity.event_type),
                    (HEADER_TRACEPARENT, traceparent),
                ],
            )
        except PublishError as error:
            return self._not_safe(error, request_id, connection_id, began_ns, trace)
        # Here the event is in Kafka. A crash before the answer is out: the sender sends again,
        # and the consumer knows the event id.
        ended_ns = time.perf_counter_ns()
        self._metrics.answered(connection_id, "accepted", ended_ns - began_ns)
        if trace is not None:
            trace.sent(position.partition, position.offset)
            trace.end(200, self._about(entry, identity.event_type))
        steps = {
            "read_ms": (read_ns - began_ns) / 1e6,
            "verify_ms": (verified_ns - read_ns) / 1e6,
            "identify_ms": (identified_ns - verified_ns) / 1e6,
            "encode_ms": (encoded_ns - identified_ns) / 1e6,
            "publish_ms": (ended_ns - encoded_ns) / 1e6,
            "total_ms": (ended_ns - began_ns) / 1e6,
        }
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "accepted",
                extra={
                    "data": {
                        "request_id": text_id,
                        "connection": connection_id,
                        "event_id": identity.event_id,
                        "event_type": identity.event_type,
                        "resource_key": key,
                        "secret_name": verdict.secret_name,
                        "partition": position.partition,
                        "offset": position.offset,
                        "steps": {name: round(ms, 3) for name, ms in steps.items()},
                    }
                },
            )
        timing = (
            f"verify;dur={steps['verify_ms']:.3f}, encode;dur={steps['encode_ms']:.3f}, "
            f"publish;dur={steps['publish_ms']:.3f}, total;dur={steps['total_ms']:.3f}"
        )
        return Answer(200, *answers.accepted(text_id, timing))

    def _encode(
        self,
        entry: Entry,
        request: Request,
        request_id: bytes,
        identity: Identity,
        secret_name: str,
        times: tuple[int, int, int, int],
    ) -> tuple[str, bytes]:
        connection = entry.connection
        received_at_us, read_ns, verify_ns, identify_ns = times
        key = resource_key(
            connection.tenant, connection.id, identity.resource_type, identity.resource_id
        )
        event = Event(
            request_id=request_id,
            environment=self._environment,
            tenant=connection.tenant,
            connection=connection.id,
            provider=connection.provider,
            event_id=identity.event_id,
            event_type=identity.event_type,
            resource_type=identity.resource_type,
            resource_id=identity.resource_id,
            resource_version=identity.resource_version,
            occurred_at_us=identity.occurred_at_us,
            received_at_us=received_at_us,
            secret_name=secret_name,
            content_type=_kept(request.headers, "content-type") or "",
            headers=_kept_headers(entry, request.headers),
            payload=request.body,
            read_ns=read_ns,
            verify_ns=verify_ns,
            identify_ns=identify_ns,
        )
        return key, EVENT.encode(event)

    async def _set_aside(
        self,
        entry: Entry,
        request: Request,
        request_id: bytes,
        why: Unreadable,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        """Authentic, so 200 (a provider disables a hook that fails); kept whole for a person."""
        connection_id = entry.connection.id
        letter = DeadLetter(
            stage="GATEWAY",
            reason=why.reason,
            detail=why.detail,
            request_id=request_id,
            connection=connection_id,
            died_at_us=int(self._clock_s() * 1e6),
            value=request.body,
            headers=_kept_headers(entry, request.headers),
        )
        text_id = request_id.hex()
        try:
            await self._sink.publish(
                self._quarantine,
                connection_id.encode(),
                DEAD_LETTER.encode(letter),
                [(HEADER_REQUEST_ID, text_id)],
            )
        except PublishError as error:
            return self._not_safe(error, request_id, connection_id, began_ns, trace)
        duration_ns = time.perf_counter_ns() - began_ns
        self._metrics.quarantined(connection_id, why.reason)
        self._metrics.answered(connection_id, "quarantined", duration_ns)
        log.warning(
            "quarantined: authentic, but the provider's rules cannot read it",
            extra={
                "data": {
                    "request_id": text_id,
                    "connection": connection_id,
                    "reason": why.reason,
                    "detail": why.detail,
                }
            },
        )
        if trace is not None:
            trace.end(200, self._about(entry, "") | {"hookline.quarantine.reason": why.reason})
        return Answer(200, *answers.accepted(text_id, f"total;dur={duration_ns / 1e6:.3f}"))

    def _not_safe(
        self,
        error: PublishError,
        request_id: bytes,
        connection_id: str,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        refusal = answers.OVERLOADED if isinstance(error, Overloaded) else answers.UNAVAILABLE
        return self._refuse(refusal, request_id, connection_id, refusal.code, began_ns, trace)

    def _refuse(
        self,
        refusal: Refusal,
        request_id: bytes,
        connection_id: str,
        reason: str,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        text_id = request_id.hex()
        self._metrics.answered(connection_id, reason, time.perf_counter_ns() - began_ns)
        self._refusals.refused(
            {
                "request_id": text_id,
                "connection": connection_id or None,
                "status": refusal.status,
                "reason": reason,
            }
        )
        if trace is not None:
            trace.end(refusal.status, {"hookline.connection": connection_id, "error.type": reason})
        return Answer(refusal.status, refusal.all_headers(text_id), refusal.body(text_id))

    def _about(self, entry: Entry, event_type: str) -> dict[str, str]:
        return {
            "hookline.connection": entry.connection.id,
            "hookline.tenant": entry.connection.tenant,
            "hookline.provider": entry.connection.provider,
            "hookline.event_type": event_type,
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
