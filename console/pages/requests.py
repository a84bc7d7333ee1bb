"""One request id: its way step by step, what it became, and where else it can be found."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from starlette.responses import RedirectResponse, Response

from console import words
from console.charts.waterfall import Waterfall, execution_steps, reception_steps, waterfall
from console.problems import not_found, not_understood
from console.visit import Visit, address
from consumer.monitor.trace_links import trace_link
from schemas.event import HEADER_EVENT_TYPE, HEADER_REQUEST_ID, HEADER_TRACEPARENT, resource_key
from schemas.execution import Attempt, Execution, Reception
from schemas.request_id import parse, send_span_id, unix_ms

_ID: Final = re.compile(r"[0-9a-fA-F]{32}")


class ReceptionView(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway took it."""

    row: Reception
    outcome: words.Outcome
    waterfall: Waterfall


class ExecutionView(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer group made of one of its events."""

    row: Execution
    outcome: words.Outcome
    waterfall: Waterfall
    resource_key: str
    record: str
    headers: list[tuple[str, str]]
    attempts: list[AttemptView]
    #: Failed calls that are not listed.
    left_out: int
    similar: str


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """A failed call of the handler."""

    number: int
    began_at_us: int
    duration: str
    outcome: words.Outcome
    error_type: str


def find(visit: Visit) -> Response:
    """To the page of the id in what somebody has pasted: a log line, a URL, a traceparent."""
    text = visit.asked("id")
    found = _ID.search(text)
    if found is None:
        raise not_understood(
            "There is no request id in this",
            "A request id is 32 hex digits: it is in the answer to the webhook (X-Request-ID), in "
            "log lines and in Kafka's header hookline-request-id.",
        )
    return RedirectResponse(f"/requests/{found[0].lower()}", 303)


def page(visit: Visit, text: str) -> Response:
    """The page of one id."""
    try:
        request_id = parse(text)
    except ValueError:
        raise not_understood(
            f"“{words.shown(text[:64])}” is no request id", "It is 32 hex digits; paste it above."
        ) from None
    story = visit.parts.questions.request(visit.environment, request_id)
    if not (story.receptions or story.executions):
        raise not_found(
            f"Nothing is known of {request_id.hex()} in {visit.environment}",
            f"By its digits it was received {words.utc(unix_ms(request_id) * 1000)}. It may be of "
            "another environment, sampled out, older than what the monitor keeps, or so new that "
            "it is on its way: load this page again in some seconds.",
        )
    return visit.page(
        "request.html",
        "",
        id=request_id.hex(),
        received_us=_received_us(story.receptions, story.executions, request_id),
        receptions=[_reception(row) for row in story.receptions],
        executions=[_execution(row) for row in story.executions],
        trace=trace_link(visit.parts.trace_url, request_id.hex()),
        logs=visit.parts.logs_url.replace("{request_id}", request_id.hex()),
    )


def _received_us(
    receptions: tuple[Reception, ...], executions: tuple[Execution, ...], request_id: bytes
) -> int:
    if receptions:
        return receptions[0].received_at_us
    return executions[0].received_at_us if executions else unix_ms(request_id) * 1000


def _reception(row: Reception) -> ReceptionView:
    return ReceptionView(
        row=row,
        outcome=words.reception(row.outcome, row.status),
        waterfall=waterfall(reception_steps(row), row.total_ns),
    )


def _execution(row: Execution) -> ExecutionView:
    in_log_ns = max(0, row.committed_at_us - row.in_kafka_at_us) * 1000
    return ExecutionView(
        row=row,
        outcome=words.outcome(row.outcome),
        waterfall=waterfall(execution_steps(row), in_log_ns),
        resource_key=resource_key(row.tenant, row.connection, row.resource_type, row.resource_id),
        record=f"{row.topic}[{row.partition}] at offset {row.offset}",
        headers=[
            (HEADER_REQUEST_ID, row.request_id.hex()),
            (HEADER_EVENT_TYPE, row.event_type),
            (
                HEADER_TRACEPARENT,
                f"00-{row.request_id.hex()}-{send_span_id(row.request_id).hex()}-00"
                if not row.sampled
                else f"00-{row.request_id.hex()}-(its sending span)-01",
            ),
        ],
        attempts=[_attempt(one) for one in row.attempts],
        left_out=max(0, row.failures - len(row.attempts)),
        similar=address(
            "/events",
            {
                "connection": row.connection,
                "resource": f"{row.resource_type}/{row.resource_id}",
                "since": "7d",
            },
        ),
    )


def _attempt(one: Attempt) -> AttemptView:
    return AttemptView(
        number=one.number,
        began_at_us=one.began_at_us,
        duration=words.duration(one.duration_ns),
        outcome=words.outcome(one.outcome),
        error_type=one.error_type,
    )
