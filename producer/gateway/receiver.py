"""A webhook's way through the gateway: verify, identify, publish, answer.

Knows nothing of the HTTP server. Nothing that a sender can put into a request makes it raise.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from producer.gateway import accounts, answers
from producer.gateway.answers import Answer, Refusal
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.envelopes import Arrival, dead_letter, envelope, kept
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.http.content_encoding import inflated
from producer.gateway.limits import ConnectionLimits
from producer.gateway.outbox import EventSink, Outbox, Record
from producer.gateway.receptions import ReceptionLog, as_taken, nothing_came
from producer.gateway.refusal_log import RefusalLog
from producer.gateway.request_ids import RequestIds
from producer.gateway.taken import Taken, TakenEvent, TakenParts
from producer.gateway.tracing import GatewayTracing, RequestTrace
from producer.providers.provider import (
    Batch,
    Headers,
    Identity,
    Part,
    Refused,
    Reply,
    Request,
    Unreadable,
)
from schemas.errors import Overloaded, PublishError
from schemas.event import resource_key

log = logging.getLogger("hookline.gateway")

_now_ns = time.perf_counter_ns


class Memory(Protocol):
    """What all bodies share."""

    def hold(self, more_bytes: int) -> bool:
        """Count so much in until the request is answered; False if there is no room."""


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
        limits: ConnectionLimits | None = None,
        receptions: ReceptionLog | None = None,
        max_body_bytes: int = 1_048_576,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """`max_body_bytes` bounds what a compressed body may become."""
        self._environment = environment
        self._connections = connections
        self._events = events_topic
        self._quarantine = quarantine_topic
        self._tracing = tracing
        self._metrics = metrics
        self._limits = limits
        self._receptions = receptions
        self._max_body_bytes = max_body_bytes
        self._clock_s = clock_s
        self._ids = RequestIds()
        self._outbox = Outbox(sink, self._ids)
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

    def handshake(
        self, connection_id: str, method: str, headers: Headers, query: str, began_ns: int
    ) -> Answer:
        """The answer to a request that is no POST: a handshake of the connection's, or 405."""
        request_id = self._ids.make()
        entry = self._connections.find(connection_id)
        if entry is None or method not in entry.provider.handshake_methods:
            return self._refuse(answers.METHOD, answers.METHOD.code, request_id, "", began_ns, None)
        request = Request(headers, b"", query, request_id, method)
        trace = self._tracing.begin(request_id, connection_id, headers, 0, method)
        return self._shake_hands(entry, request, self._clock_s(), began_ns, trace) or self._refuse(
            answers.METHOD, answers.METHOD.code, request_id, connection_id, began_ns, trace
        )

    def receive(
        self,
        connection_id: str,
        headers: Headers,
        body: bytes,
        began_ns: int,
        query: str = "",
        memory: Memory | None = None,
    ) -> Answer | Taken:
        """The answer to a webhook, or what will be it. `began_ns`: perf_counter_ns at its start.

        `memory` has the body's bytes already; what it becomes, if compressed, is asked of it.
        """
        read_ns = _now_ns()
        request_id = self._ids.make()
        entry = self._connections.find(connection_id)
        if entry is None:
            # A provider disables a hook that is answered 404: only where it is certain.
            refusal = answers.NOT_FOUND
            if self._connections.unsettled(connection_id):
                refusal = answers.NOT_SERVED
            return self._refuse(refusal, refusal.code, request_id, "", began_ns, None)
        trace = self._tracing.begin(request_id, connection_id, headers, read_ns - began_ns)
        now_s = self._clock_s()
        provider = entry.provider
        request = Request(headers, body, query, request_id)
        if "POST" in provider.handshake_methods:
            shaken = self._shake_hands(entry, request, now_s, began_ns, trace)
            if shaken is not None:
                return shaken
        verdict = provider.verify(request, entry.keys.active(now_s), now_s)
        if type(verdict) is Refused:
            return self._refuse_unproven(verdict, entry, request_id, now_s, began_ns, trace)
        self._metrics.verified(connection_id, verdict.secret_name)
        verified_ns = _now_ns()
        usage = None
        if self._limits is not None:
            # Not before it is believed: a forger would use up what the connection may.
            usage = self._limits.usage(connection_id)
            over = usage.over(verified_ns)
            if over is not None:
                return self._refuse(over, over.code, request_id, connection_id, began_ns, trace)
        plain: bytes | Unreadable = body
        if headers.get("content-encoding"):
            plain = inflated(headers, body, self._max_body_bytes)
            if type(plain) is bytes and plain is not body:
                if memory is not None and not memory.hold(len(plain)):
                    return self._not_safe(
                        Overloaded("bodies"), request_id, connection_id, began_ns, trace
                    )
                body = plain
                request = Request(headers, body, query, request_id)
        identity = plain if type(plain) is Unreadable else provider.identify(request)
        identified_ns = _now_ns()
        arrival = Arrival(
            entry,
            request,
            verdict.secret_name,
            now_s,
            read_ns - began_ns,
            verified_ns - read_ns,
            identified_ns - verified_ns,
        )
        marks: tuple[int, ...] = (began_ns, read_ns, verified_ns, identified_ns)
        if type(identity) is not Identity:
            # An unreadable request is a batch of one: kept whole for a person, and answered 200,
            # since a provider disables a hook that fails.
            parts = (
                identity.parts
                if type(identity) is Batch
                else (Part(identity, body, kept(headers, "content-type") or ""),)
            )
            return TakenParts(self._receive_parts(arrival, parts, marks, trace), parts, usage)
        connection = entry.connection
        record = Record(
            self._events,
            resource_key(
                connection.tenant, connection_id, identity.resource_type, identity.resource_id
            ),
            envelope(
                arrival, self._environment, identity, body, kept(headers, "content-type") or ""
            ),
            identity.event_type,
        )
        encoded_ns = _now_ns()
        text_id = request_id.hex()
        try:
            future = self._outbox.publish(record, text_id, trace)
        except PublishError as error:
            return self._not_safe(error, request_id, connection_id, began_ns, trace)
        return TakenEvent(
            self, future, arrival, identity, record, text_id, (*marks, encoded_ns), trace, usage
        )

    def safe(self, taken: TakenEvent) -> Answer:
        """The answer to a request of one event, once Kafka has spoken."""
        arrival, marks, trace = taken.arrival, taken.marks, taken.trace
        entry = arrival.entry
        connection_id, began_ns = entry.connection.id, marks[0]
        try:
            position = taken.future.result()
        except PublishError as error:
            return self._not_safe(error, arrival.request.request_id, connection_id, began_ns, trace)
        # Here the event is in Kafka. A crash before the answer is out: the sender sends again,
        # and the consumer knows the event id.
        ended_ns = _now_ns()
        trace_id = "" if trace is None else taken.text_id
        self._metrics.answered(connection_id, "accepted", ended_ns - began_ns, trace_id)
        if self._receptions is not None:
            self._receptions.note(
                as_taken(arrival, "accepted", (*marks, ended_ns), 1, position, trace is not None)
            )
        if trace is not None:
            trace.sent(position.partition, position.offset)
            event_type = taken.identity.event_type
            trace.end(200, accounts.about(entry) | {"hookline.event_type": event_type})
        marks = (*marks, ended_ns)
        if log.isEnabledFor(logging.DEBUG):
            accounts.accepted(taken.record.key, taken.identity, arrival, position, marks)
        return answers.accepted(
            taken.text_id, accounts.server_timing(marks), entry.provider.accepted
        )

    async def _receive_parts(
        self,
        arrival: Arrival,
        parts: Sequence[Part],
        marks: tuple[int, ...],
        trace: RequestTrace | None,
    ) -> Answer:
        """All events of a request: 200 when every one is safe, else it is sent again as a whole.

        A crash or a failure in the middle leaves some in Kafka; sent again they have the same
        event ids, and the consumer knows them.
        """
        entry, request_id = arrival.entry, arrival.request.request_id
        connection_id, text_id, began_ns = entry.connection.id, request_id.hex(), marks[0]
        records = [self._record(arrival, part) for part in parts]
        encoded_ns = _now_ns()
        try:
            positions = await self._outbox.publish_all(records, text_id, trace)
        except PublishError as error:
            return self._not_safe(error, request_id, connection_id, began_ns, trace)
        ended_ns = _now_ns()
        marks = (*marks, encoded_ns, ended_ns)
        unreadable = 0
        for part, record, position in zip(parts, records, positions, strict=True):
            if isinstance(part.identity, Unreadable):
                unreadable += 1
                self._metrics.quarantined(connection_id, part.identity.reason)
                accounts.quarantined(part.identity, arrival, position)
            elif log.isEnabledFor(logging.DEBUG):
                accounts.accepted(record.key, part.identity, arrival, position, marks)
        outcome_name = "quarantined" if unreadable and unreadable == len(parts) else "accepted"
        self._metrics.answered(connection_id, outcome_name, ended_ns - began_ns)
        if self._receptions is not None:
            last = positions[-1] if positions else None
            self._receptions.note(
                as_taken(arrival, outcome_name, marks, len(parts), last, trace is not None)
            )
        if trace is not None:
            if positions:
                trace.sent(positions[-1].partition, positions[-1].offset)
            trace.end(200, accounts.about(entry) | accounts.about_parts(parts))
        return answers.accepted(text_id, accounts.server_timing(marks), entry.provider.accepted)

    def _record(self, arrival: Arrival, part: Part) -> Record:
        identity, connection = part.identity, arrival.entry.connection
        if isinstance(identity, Unreadable):
            return Record(self._quarantine, connection.id, dead_letter(arrival, part, identity), "")
        return Record(
            self._events,
            resource_key(
                connection.tenant, connection.id, identity.resource_type, identity.resource_id
            ),
            envelope(arrival, self._environment, identity, part.payload, part.content_type),
            identity.event_type,
        )

    def _shake_hands(
        self,
        entry: Entry,
        request: Request,
        now_s: float,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer | None:
        """The answer if the provider takes it for a handshake; nothing is published."""
        reply: Reply | Refused | None = entry.provider.handshake(
            request, entry.keys.active(now_s), now_s
        )
        if reply is None:
            return None
        connection_id = entry.connection.id
        if isinstance(reply, Refused):
            return self._refuse_unproven(reply, entry, request.request_id, now_s, began_ns, trace)
        text_id = request.request_id.hex()
        total_ns = _now_ns() - began_ns
        self._metrics.answered(connection_id, "handshake", total_ns)
        if self._receptions is not None:
            self._receptions.note(
                nothing_came(request.request_id, entry, "handshake", 200, now_s, total_ns, trace)
            )
        log.info(
            "handshake answered",
            extra={"request_id": text_id, "data": {"connection": connection_id}},
        )
        if trace is not None:
            trace.end(200, accounts.about(entry))
        return answers.replied(text_id, reply)

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

    def _refuse_unproven(
        self,
        refused: Refused,
        entry: Entry,
        request_id: bytes,
        now_s: float,
        began_ns: int,
        trace: RequestTrace | None,
    ) -> Answer:
        refusal, reason = answers.UNAUTHORIZED[refused.reason], refused.reason.value
        if refused.reason in answers.FOR_LACK_OF_A_KEY and entry.unsure(now_s):
            # A backend's silence must not call an authentic webhook forged: it is to come again.
            refusal, reason = answers.NOT_SERVED, answers.NOT_SERVED.code
        return self._refuse(refusal, reason, request_id, entry.connection.id, began_ns, trace)

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
        total_ns = _now_ns() - began_ns
        self._metrics.answered(connection_id, reason, total_ns)
        if self._receptions is not None:
            entry = self._connections.find(connection_id) if connection_id else None
            status, now_s = refusal.status, self._clock_s()
            self._receptions.note(
                nothing_came(request_id, entry, reason, status, now_s, total_ns, trace)
            )
        data: dict[str, Any] = {"status": refusal.status, "reason": reason}
        if connection_id:
            data["connection"] = connection_id
        self._refusals.refused(text_id, data)
        if trace is not None:
            trace.end(refusal.status, {"hookline.connection": connection_id, "error.type": reason})
        return refusal.answer(text_id)
