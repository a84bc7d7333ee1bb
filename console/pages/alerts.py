"""Alerts: what fires now, since when, what has fired, and what nobody is told of for a while."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.responses import RedirectResponse, Response

from console import words
from console.problems import not_found, not_understood
from console.visit import Visit
from consumer.monitor.alerts.silences import Silence, silenced
from consumer.monitor.alerts.states import Alert, State
from schemas.api_token import Scope

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
_HOURS: Final = ("1", "4", "24", "168")
_TONES: Final = {"page": "bad", "warning": "warn", "info": "quiet"}
_MAX_CHARS: Final = 300


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it is shown."""

    alert: Alert
    state: words.Outcome
    silenced: bool
    labels: list[tuple[str, str]]
    since_us: int
    resolved_us: int
    lasted: str
    #: What a silence of just this one is made of.
    names: list[str]


class SilenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A silence that counts."""

    number: int
    matchers: str
    until_us: int
    by: str
    comment: str


def page(visit: Visit) -> Response:
    """The page."""
    if visit.parts.alerts is None:
        return visit.page("alerts.html", "/alerts", evaluated=False)
    now_ms = visit.now_us // 1000
    with visit.parts.alerts() as store:
        found = store.alerts(now_ms - _DAY_MS)
        silences = store.silences(now_ms)
    rows = [_row(alert, silences, now_ms) for alert in found]
    return visit.page(
        "alerts.html",
        "/alerts",
        live=True,
        evaluated=True,
        firing=[row for row in rows if row.alert.state is State.FIRING],
        pending=[row for row in rows if row.alert.state is State.PENDING],
        resolved=[row for row in rows if row.alert.state is State.RESOLVED],
        silences=[_silence_row(one) for one in silences],
        may_change=visit.may(Scope.ALERTS_WRITE),
        hours=_HOURS,
    )


def firing(visit: Visit) -> list[Alert]:
    """Those that fire and are not silenced; for the overview."""
    if visit.parts.alerts is None:
        return []
    now_ms = visit.now_us // 1000
    with visit.parts.alerts() as store:
        silences = store.silences(now_ms)
        return [
            alert
            for alert in store.alerts()
            if alert.state is State.FIRING and not silenced(alert, silences, now_ms)
        ]


def wanted_silence(visit: Visit) -> Silence:
    """The silence that a form asks for."""
    hours = visit.sent("hours")
    if hours not in _HOURS:
        raise not_understood("For how long is not clear", f"Choose {', '.join(_HOURS)} hours.")
    matchers: dict[str, str] = {}
    for pair in visit.sent_all("label")[:30]:
        name, equals, value = pair.partition("=")
        if not (name and equals and value) or len(pair) > _MAX_CHARS:
            raise not_understood("This is no label of an alert", "Use the buttons of the list.")
        matchers[name] = value
    if not matchers:
        raise not_understood("A silence without labels would cover all", "Use the list's buttons.")
    now_ms = visit.now_us // 1000
    return Silence(
        matchers=matchers,
        from_ms=now_ms,
        until_ms=now_ms + int(hours) * _HOUR_MS,
        by=f"{visit.visitor.admission.name} ({visit.visitor.admission.token_id})",
        comment=visit.sent("comment")[:_MAX_CHARS],
    )


def silence(visit: Visit, wanted: Silence) -> Silence:
    """Keep it; with its number."""
    if visit.parts.alerts is None:
        raise not_found("No alerts are evaluated here", "See docs/alerts.md.")
    with visit.parts.alerts() as store:
        return store.silence(wanted)


def wanted_number(visit: Visit) -> int:
    """Of the silence that a form wants ended."""
    text = visit.sent("number")
    if not text.isdecimal() or len(text) > 15:
        raise not_understood("This is no number of a silence", "The list shows them.")
    return int(text)


def end_silence(visit: Visit, number: int) -> None:
    """End it now."""
    if visit.parts.alerts is None:
        raise not_found("No alerts are evaluated here", "See docs/alerts.md.")
    with visit.parts.alerts() as store:
        if not store.end_silence(number, visit.now_us // 1000):
            raise not_found(f"There is no silence {number} (any more)", "It may have ended.")


def after_change() -> Response:
    """Back to the list."""
    return RedirectResponse("/alerts", 303)


def _row(alert: Alert, silences: list[Silence], now_ms: int) -> Row:
    labels = list(alert.labels)
    until_ms = alert.resolved_ms or now_ms
    names = {"page": "Page", "warning": "Warning", "info": "Note"}
    return Row(
        alert=alert,
        state=words.Outcome(
            names.get(alert.severity, alert.severity), _TONES.get(alert.severity, "quiet"), ""
        ),
        silenced=silenced(alert, silences, now_ms),
        labels=labels,
        since_us=alert.since_ms * 1000,
        resolved_us=alert.resolved_ms * 1000,
        lasted=words.span(max(0, until_ms - alert.since_ms) // 1000),
        names=[f"alertname={alert.rule}", *(f"{name}={value}" for name, value in labels)],
    )


def _silence_row(one: Silence) -> SilenceRow:
    return SilenceRow(
        number=one.number,
        matchers=", ".join(f"{name}={value}" for name, value in one.matchers.items()),
        until_us=one.until_ms * 1000,
        by=one.by,
        comment=one.comment,
    )
