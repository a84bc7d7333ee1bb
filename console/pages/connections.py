"""Connections: how each does, and one in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from console import words
from console.charts.lines import Series, line_chart
from console.pages import attention
from console.pages.ranges import Chosen, chosen
from console.problems import not_found
from console.visit import ConnectionFacts, SecretFacts, Visit
from consumer.monitor.contract import (
    ConnectionHealth,
    ConnectionTotal,
    Counts,
    Gauge,
    Scope,
)
from consumer.monitor.secret_use import SECRET_VERIFIED

_US: Final = 1_000_000
_TONES: Final = {"bad": 0, "warn": 1, "good": 2, "quiet": 3}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A connection in the list."""

    connection: str
    tenant: str
    provider: str
    health: words.Outcome
    last_us: int
    silence: str
    counts: Counts
    failing: str
    refused: str
    secrets: str


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret as it may be shown."""

    name: str
    state: words.Outcome
    since_us: int
    until_us: int
    verified_us: int


def page(visit: Visit) -> Response:
    """The list."""
    span = chosen({"range": "24h", **visit.query}, visit.now_us, "/connections")
    rows = sorted(_rows(visit, span), key=lambda row: (_TONES[row.health.tone], row.connection))
    return visit.page(
        "connections.html",
        "/connections",
        live=True,
        ranges=span.choices,
        span_text=span.text,
        rows=[row for row in rows if row.connection],
        unknown=next((row for row in rows if not row.connection), None),
    )


def one(visit: Visit, name: str) -> Response:
    """One connection."""
    span = chosen(
        {"range": "24h", **visit.query}, visit.now_us, f"/connections/{quote(name, safe='')}"
    )
    row = next((row for row in _rows(visit, span) if row.connection == name), None)
    if row is None or not name:
        raise not_found(
            f"There is no connection “{words.shown(name)}” in {visit.environment}",
            "The list of connections shows which there are; `hookline connections add` makes one.",
        )
    environment = visit.environment
    found = visit.parts.questions.overview(
        Scope(environment=environment, connection=name), span.range, measures=("end_to_end",)
    )
    facts = _facts(visit).get(name)
    health = next(
        (
            h
            for h in visit.parts.questions.health(environment, visit.now_us)
            if h.connection == name
        ),
        None,
    )
    step_s = found.bucket_s
    minutes = step_s / 60

    def per_minute(value: float | None) -> str:
        return words.NOTHING if value is None else words.number(value)

    def rates(value: Callable[[Counts], int]) -> list[float | None]:
        # A bucket that is not over would look like a fall.
        return [
            value(bucket.counts) / minutes if bucket.at_us + step_s * _US <= visit.now_us else None
            for bucket in found.buckets
        ]

    chart = line_chart(
        id="events",
        title="Events per minute",
        note=f"Each point is {words.span(step_s)}",
        begin_s=found.range.since_us // _US,
        step_s=step_s,
        series=[
            Series(name="handled", style="events", area=True, values=rates(lambda c: c.events)),
            Series(name="failed", style="errors", values=rates(lambda c: c.errors)),
            Series(name="refused", style="refused", values=rates(lambda c: c.refused)),
        ],
        write=per_minute,
    )
    return visit.page(
        "connection.html",
        "/connections",
        live=span.zoomed is None,
        ranges=span.choices,
        span_text=span.text,
        row=row,
        facts=facts,
        health=health,
        silent=health is not None and attention.silent(health),
        latency=found.total.latencies["end_to_end"],
        chart=chart,
        secrets=_secrets(visit, facts),
    )


def _facts(visit: Visit) -> dict[str, ConnectionFacts]:
    found = visit.parts.directory.connections(visit.environment)
    return {one.connection: one for one in found or ()}


def _rows(visit: Visit, span: Chosen) -> list[Row]:
    environment, questions = visit.environment, visit.parts.questions
    facts = _facts(visit)
    health = {one.connection: one for one in questions.health(environment, visit.now_us)}
    totals = {one.connection: one for one in questions.connection_totals(environment, span.range)}
    return [
        _row(name, facts.get(name), health.get(name), totals.get(name), visit.now_us)
        for name in {*facts, *health, *totals}
    ]


def _row(
    name: str,
    facts: ConnectionFacts | None,
    health: ConnectionHealth | None,
    total: ConnectionTotal | None,
    now_us: int,
) -> Row:
    counts = total.counts if total is not None else Counts()
    known = facts or total or health
    last_us = health.last_received_us if health else 0
    return Row(
        connection=name,
        tenant=known.tenant if known else "",
        provider=known.provider if known else "",
        health=_health(facts, health, counts),
        last_us=last_us,
        silence=words.duration((now_us - last_us) * 1000) if last_us else words.NOTHING,
        counts=counts,
        failing=words.share(counts.errors / counts.events if counts.events else None),
        refused=words.share(counts.refused / counts.requests if counts.requests else None),
        secrets=_secrets_in_short(facts),
    )


def _health(
    facts: ConnectionFacts | None, health: ConnectionHealth | None, counts: Counts
) -> words.Outcome:
    """The worst that is to be said of it."""
    if facts is not None and facts.state != "active":
        meaning = "Its webhooks are answered 404."
        return words.Outcome(facts.state.capitalize(), "quiet", meaning)
    if facts is not None and not any(s.state == "active" for s in facts.secrets):
        return words.Outcome("No secret", "bad", "No signing secret of it counts now.")
    if counts.errors >= attention.FEW and counts.errors > counts.events * attention.MUCH:
        return words.Outcome("Failing", "bad", "More than 5 % of its events fail.")
    if health is not None and attention.silent(health):
        return words.Outcome("Silent", "warn", "Silent for longer than ever in its rhythm.")
    refused = counts.refused
    if refused >= attention.FEW and refused > counts.requests * attention.MUCH:
        return words.Outcome("Refused", "warn", "More than 5 % of its requests are refused.")
    if health is None or not health.last_received_us:
        return words.Outcome("Nothing yet", "quiet", "No webhook of it has come.")
    return words.Outcome("Healthy", "good", "")


def _secrets_in_short(facts: ConnectionFacts | None) -> str:
    if facts is None:
        return words.NOTHING
    active = [secret.name for secret in facts.secrets if secret.state == "active"]
    return ", ".join(active) or "none counts"


def _secrets(visit: Visit, facts: ConnectionFacts | None) -> list[SecretRow]:
    if facts is None:
        return []
    used = {
        one.labels.get("secret_name", ""): _moment_us(one)
        for one in visit.parts.questions.latest_gauges(visit.environment, SECRET_VERIFIED)
        if one.labels.get("connection") == facts.connection
    }
    return [
        SecretRow(
            name=secret.name,
            state=_secret_state(secret),
            since_us=int((secret.not_before_s or 0) * 1e6),
            until_us=int((secret.not_after_s or 0) * 1e6),
            verified_us=used.get(secret.name, 0),
        )
        for secret in facts.secrets
    ]


def _moment_us(gauge: Gauge) -> int:
    return int(gauge.value * 1e6)


_STATES: Final[Mapping[str, words.Outcome]] = {
    "active": words.Outcome("Counts", "good", "Webhooks signed with it are taken."),
    "not yet": words.Outcome("Not yet", "quiet", "Its time has not begun."),
    "expired": words.Outcome("Expired", "quiet", "Its time is over."),
    "revoked": words.Outcome("Revoked", "quiet", "It never counts again."),
}


def _secret_state(secret: SecretFacts) -> words.Outcome:
    return _STATES.get(secret.state) or words.Outcome(secret.state, "quiet", "")
