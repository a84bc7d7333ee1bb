"""The whole trace of an event, made afterwards from its rows: pure, from values to values.

Every id is computed from the row, and every time is the row's own, so that the same row makes the
same spans again: a batch that is read twice doubles nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from consumer.core.disposition import Outcome
from consumer.monitor.contract import FINE
from schemas.event import resource_key
from schemas.execution import Attempt, Execution, Reception
from schemas.request_id import send_span_id, server_span_id

GATEWAY: Final = "hookline-gateway"
CONSUMER: Final = "hookline-consumer"
#: On every span that is made here.
TAIL_SAMPLED: Final = "hookline.tail_sampled"
#: On the gateway's spans where its own row is not known: see `gateway_spans`.
APPROXIMATE: Final = "hookline.approximate"

Attributes = Mapping[str, str | int | bool]

_SERVER_NAME: Final = "POST /webhooks/{connection}"
#: No handler was called for it, or the call that counts is among its attempts.
_NO_LAST_CALL: Final = frozenset(
    {Outcome.DUPLICATE.value, Outcome.STALE.value, Outcome.UNHANDLED.value}
)


class SpanData(msgspec.Struct, frozen=True, kw_only=True):
    """A finished span. Times are Unix nanoseconds; `parent` is None for the root."""

    request_id: bytes
    span_id: bytes
    parent: bytes | None
    name: str
    kind: Literal["server", "producer", "consumer", "client"]
    start_ns: int
    end_ns: int
    service: str
    instance: str
    environment: str
    attributes: Attributes
    #: Span ids in the same trace.
    links: tuple[bytes, ...] = ()
    failed: bool = False


def is_remarkable(row: Execution, slow_ns: int) -> bool:
    """Whether an event has its whole trace whatever the head's ratio: it failed, or was slow."""
    return (
        row.outcome not in FINE
        or row.failures > 0
        or row.was_parked
        or row.end_to_end_ns >= slow_ns
    )


def is_remarkable_request(row: Reception, slow_ns: int) -> bool:
    """The same of a request. What was refused with 4xx is the sender's doing, and may be a flood:
    it has its log line, and no trace."""
    return row.status >= 500 or row.total_ns >= slow_ns


def request_spans(row: Reception, topic: str) -> list[SpanData]:
    """SERVER, and PRODUCER where something was published to `topic`, with the gateway's times."""
    start_ns = row.received_at_us * 1000 - row.read_ns
    end_ns = start_ns + max(row.total_ns, row.read_ns)
    attributes: dict[str, str | int | bool] = {"http.response.status_code": row.status}
    if row.refused:
        attributes["error.type"] = row.outcome
    spans = [
        _server(
            row.request_id,
            row,
            row.instance,
            (start_ns, end_ns),
            attributes,
            failed=row.status >= 500,
        )
    ]
    if row.events and row.publish_ns:
        sent_ns = row.received_at_us * 1000 + row.verify_ns + row.identify_ns + row.encode_ns
        about: dict[str, str | int | bool] = {}
        if row.offset < 0:
            about["hookline.spooled"] = True
        else:
            about["messaging.destination.partition.id"] = str(row.partition)
            about["messaging.kafka.offset"] = row.offset
        if row.events > 1:
            about["messaging.batch.message_count"] = row.events
        spans.append(
            _send(
                row.request_id, row, row.instance, topic, sent_ns, sent_ns + row.publish_ns, about
            )
        )
    return spans


def gateway_spans(row: Execution) -> list[SpanData]:
    """SERVER and PRODUCER of an event whose reception is not known, as near as its row says.

    They end when Kafka had the event, by the broker's clock; the answer was a moment later.
    Nothing for an event that comes back from parking, whose time in Kafka is not known: it had
    its spans when it was parked.
    """
    if row.was_parked or not row.in_kafka_at_us or not row.received_at_us:
        return []
    read_ns = row.received_at_us * 1000
    sent_ns = read_ns + row.verify_ns + row.identify_ns
    end_ns = max(sent_ns, row.in_kafka_at_us * 1000)
    about = _coordinates(row) | {APPROXIMATE: True}
    return [
        _server(row.request_id, row, "", (read_ns - row.read_ns, end_ns), {APPROXIMATE: True}),
        _send(row.request_id, row, "", row.topic, sent_ns, end_ns, about),
    ]


def consumer_spans(row: Execution) -> Iterator[SpanData]:
    """A CONSUMER `process` span for each call of the handler that is known, and the commit.

    Each has a link to the one before. None to its parent: Jaeger shows that in the parent's place.
    """
    before: tuple[bytes, ...] = ()
    for attempt in row.attempts:
        call = _process(
            row,
            attempt.number,
            (attempt.began_at_us * 1000, attempt.began_at_us * 1000 + attempt.duration_ns),
            {"error.type": attempt.error_type or attempt.outcome},
            before,
        )
        before = (call.span_id,)
        yield call
    if row.handler_ns and not _last_call_failed(row) and row.outcome not in _NO_LAST_CALL:
        began_ns = row.polled_at_us * 1000 + row.lane_ns
        times_ns = began_ns, began_ns + row.handler_ns
        call = _process(row, row.failures + 1, times_ns, {}, before)
        before = (call.span_id,)
        yield call
    committed_ns = row.committed_at_us * 1000
    # A row's commit is its whole transaction, in which its handler may have run.
    handled_ns = row.polled_at_us * 1000 + row.lane_ns + row.handler_ns
    about = _about(row, "commit", "settle")
    about["hookline.outcome"] = row.outcome
    if row.reason:
        about["hookline.reason"] = row.reason
    yield SpanData(
        request_id=row.request_id,
        span_id=_span_id("commit", row, row.committed_at_us),
        parent=send_span_id(row.request_id),
        name=f"commit {row.topic}",
        kind="client",
        start_ns=min(committed_ns, max(committed_ns - row.commit_ns, handled_ns)),
        end_ns=committed_ns,
        service=CONSUMER,
        instance=row.instance,
        environment=row.environment,
        attributes=about,
        links=before,
    )


def _last_call_failed(row: Execution) -> bool:
    """Whether the call that `handler_ns` is of is one that failed."""
    last: Attempt | None = row.attempts[-1] if row.attempts else None
    return row.outcome not in FINE and last is not None and last.number == row.failures


def _process(
    row: Execution,
    number: int,
    times_ns: tuple[int, int],
    error: Attributes,
    links: tuple[bytes, ...],
) -> SpanData:
    return SpanData(
        request_id=row.request_id,
        # Not by its number alone: an event that was parked counts anew when it comes back.
        span_id=_span_id("process", row, times_ns[0] // 1000),
        parent=send_span_id(row.request_id),
        name=f"process {row.topic}",
        kind="consumer",
        start_ns=times_ns[0],
        end_ns=times_ns[1],
        service=CONSUMER,
        instance=row.instance,
        environment=row.environment,
        attributes=_about(row, "process", "process") | {"hookline.attempt": number} | dict(error),
        links=links,
        failed=bool(error),
    )


def _server(
    request_id: bytes,
    row: Execution | Reception,
    instance: str,
    times_ns: tuple[int, int],
    attributes: Attributes,
    *,
    failed: bool = False,
) -> SpanData:
    about: dict[str, str | int | bool] = {
        TAIL_SAMPLED: True,
        "http.request.method": "POST",
        "http.route": "/webhooks/{connection}",
        "url.scheme": "http",
    }
    if row.connection:
        about |= {
            "url.path": f"/webhooks/{row.connection}",
            "hookline.connection": row.connection,
            "hookline.tenant": row.tenant,
            "hookline.provider": row.provider,
        }
    return SpanData(
        request_id=request_id,
        span_id=server_span_id(request_id),
        parent=None,
        name=_SERVER_NAME,
        kind="server",
        start_ns=times_ns[0],
        end_ns=times_ns[1],
        service=GATEWAY,
        instance=instance,
        environment=row.environment,
        attributes=about | dict(attributes),
        failed=failed,
    )


def _send(
    request_id: bytes,
    row: Execution | Reception,
    instance: str,
    topic: str,
    start_ns: int,
    end_ns: int,
    attributes: Attributes,
) -> SpanData:
    return SpanData(
        request_id=request_id,
        span_id=send_span_id(request_id),
        parent=server_span_id(request_id),
        name=f"send {topic}",
        kind="producer",
        start_ns=start_ns,
        end_ns=end_ns,
        service=GATEWAY,
        instance=instance,
        environment=row.environment,
        attributes=_messaging(topic, "send", "send", request_id) | dict(attributes),
    )


def _messaging(topic: str, name: str, kind: str, request_id: bytes) -> dict[str, str | int | bool]:
    return {
        TAIL_SAMPLED: True,
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.message.conversation_id": request_id.hex(),
    }


def _coordinates(row: Execution) -> dict[str, str | int | bool]:
    return {
        "messaging.destination.partition.id": str(row.partition),
        "messaging.kafka.offset": row.offset,
        "messaging.kafka.message.key": resource_key(
            row.tenant, row.connection, row.resource_type, row.resource_id
        ),
    }


def _about(row: Execution, name: str, kind: str) -> dict[str, str | int | bool]:
    return (
        _messaging(row.topic, name, kind, row.request_id)
        | _coordinates(row)
        | {
            "messaging.consumer.group.name": row.group,
            "hookline.connection": row.connection,
            "hookline.event_type": row.event_type,
        }
    )


def _span_id(what: str, row: Execution, at_us: int) -> bytes:
    """8 bytes that are the same for the same step of the same event in the same group."""
    place = f"{what}\0{row.group}\0{row.topic}\0{row.partition}\0{row.offset}\0{at_us}"
    digest = hashlib.blake2b(
        place.encode(), key=row.request_id, digest_size=8, person=b"tail span"
    ).digest()
    # W3C Trace Context forbids the id of zeros.
    return digest if any(digest) else b"\0" * 7 + b"\1"
