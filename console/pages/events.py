"""Searching events and requests, the latest first, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from starlette.responses import Response

from console import words
from console.pages.ranges import moment
from console.problems import not_understood
from console.rendering import Option, options
from console.visit import Visit, address
from consumer.monitor.contract import FINE, EventFilter, Range, RequestFilter

T = TypeVar("T")

PAGE: Final = 50
_US: Final = 1_000_000
#: In the menu of outcomes: several of them.
_ERRORS: Final = "errors"
_RETRIED: Final = "retried"
_FIELDS: Final = (
    *("connection", "resource", "type", "outcome", "group", "event", "since", "until"),
    *("from", "to", "refused"),
)
#: In place of the empty name of requests to no known connection.
UNKNOWN: Final = "-"


def page(visit: Visit) -> Response:
    """Events."""
    outcome = visit.asked("outcome")
    resource_type, _, resource_id = visit.asked("resource").partition("/")
    wanted = EventFilter(
        environment=visit.environment,
        connection=visit.asked("connection"),
        event_type=visit.asked("type"),
        resource_type=resource_type,
        resource_id=resource_id,
        event_id=visit.asked("event"),
        group=visit.asked("group"),
        outcomes=_outcomes(outcome),
        retried=outcome == _RETRIED,
        range=_range(visit),
    )
    found = _asked(visit, lambda after: visit.parts.questions.events(
        wanted, after=after, limit=PAGE))  # fmt: skip
    known = visit.parts.questions.known(visit.environment)
    return visit.page(
        "events.html",
        "/events",
        rows=[(row, words.outcome(row.outcome)) for row in found.rows],
        paging=_paging(visit, "/events", found.next, len(found.rows)),
        connections=options(((name, name) for name in known.connections if name),
                            visit.asked("connection")),
        types=options(((name, name) for name in known.event_types), visit.asked("type")),
        groups=options(((name, name) for name in known.groups), visit.asked("group")),
        outcomes=options(
            [
                (_ERRORS, "All that failed"),
                (_RETRIED, "Retried at least once"),
                *((code, one.name) for code, one in words.OUTCOMES.items() if code in _FINAL),
            ],
            outcome,
        ),
        asked={name: visit.asked(name) for name in _FIELDS},
    )  # fmt: skip


def requests(visit: Visit) -> Response:
    """Requests at the gateways, also those that were refused."""
    connection = visit.asked("connection")
    outcome = visit.asked("outcome")
    wanted = RequestFilter(
        environment=visit.environment,
        connection=None if not connection else "" if connection == UNKNOWN else connection,
        outcomes=(outcome,) if outcome else (),
        refused=visit.asked("refused") == "1",
        range=_range(visit),
    )
    found = _asked(visit, lambda after: visit.parts.questions.requests(
        wanted, after=after, limit=PAGE))  # fmt: skip
    known = visit.parts.questions.known(visit.environment)
    return visit.page(
        "requests.html",
        "/events",
        rows=[(row, words.reception(row.outcome, row.status)) for row in found.rows],
        paging=_paging(visit, "/requests", found.next, len(found.rows)),
        connections=options(
            [*((name, name) for name in known.connections if name), (UNKNOWN, "(no known one)")],
            connection,
        ),
        outcomes=options(((code, one.name) for code, one in words.RECEPTIONS.items()), outcome),
        refusal=[Option("1", "Only refused ones", visit.asked("refused") == "1")],
        asked={name: visit.asked(name) for name in _FIELDS},
    )


#: What an execution ends with, rather than one call of a handler.
_FINAL: Final = FINE | {"parked", "dead_lettered", "parked_transient", "parked_exhausted", "poison"}


def _outcomes(asked: str) -> tuple[str, ...]:
    if asked == _ERRORS:
        return tuple(code for code in words.OUTCOMES if code not in FINE)
    return (asked,) if asked and asked != _RETRIED else ()


def _range(visit: Visit) -> Range | None:
    since_us = moment(visit.asked("since"), visit.now_us, "From")
    until_us = moment(visit.asked("until"), visit.now_us, "Until")
    # Links from charts and figures write seconds.
    if since_us is None and visit.asked("from").isdecimal():
        since_us = int(visit.asked("from")[:12]) * _US
    if until_us is None and visit.asked("to").isdecimal():
        until_us = int(visit.asked("to")[:12]) * _US
    if since_us is None and until_us is None:
        return None
    found = Range(max(0, since_us or 0), visit.now_us + _US if until_us is None else until_us)
    if found.until_us <= found.since_us:
        raise not_understood(
            "This stretch of time ends before it begins", "Exchange “from” and “until”."
        )
    return found


def _asked(visit: Visit, ask: Callable[[str], T]) -> T:
    try:
        return ask(visit.query.get("after", ""))
    except ValueError:
        raise not_understood(
            "This page of the list is not there any more", "Begin at the first page."
        ) from None


def _paging(visit: Visit, path: str, following: str, count: int) -> dict[str, str]:
    fields = {name: visit.asked(name) for name in _FIELDS}
    after = visit.query.get("after", "")
    return {
        "first": address(path, fields) if after else "",
        "following": address(path, fields | {"after": following}) if following else "",
        "count": f"{count} on this page",
    }
