"""The first page: what needs attention, the figures that matter, and their course."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from starlette.responses import Response

from console import words
from console.charts.lines import Chart, Series, line_chart
from console.charts.waterfall import WHAT
from console.pages import attention
from console.pages.holding import held
from console.pages.lag import lag
from console.pages.ranges import WEEK_S, Chosen, chosen
from console.visit import Visit, address
from consumer.monitor.contract import (
    FINE,
    MEASURES,
    Bucket,
    Latency,
    Overview,
    Questions,
    Range,
    Scope,
)

_US: Final = 1_000_000
#: For what needs attention: recent enough to be now, long enough not to be chance.
_RECENT_S: Final = 3_600
_SPANS: Final = {
    "delivery": "From the provider's own time to here",
    "answered": "Until the provider had its answer",
    "stored": "Until it was on Kafka",
    "end_to_end": "Until its effect was committed",
}
_NAMES: Final = {"end_to_end": "end to end"}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number that stands for the range."""

    name: str
    value: str
    by: str
    tone: str = ""


class StepRow(msgspec.Struct, frozen=True):
    """A measure's percentiles."""

    name: str
    what: str
    cells: list[str]


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """How many ended in one way."""

    outcome: words.Outcome
    of: str
    count: str
    share: str
    link: str


def page(visit: Visit) -> Response:
    """The page."""
    span = chosen(visit.query, visit.now_us)
    found, steps, steps_before = questions_of(visit.parts.questions, visit.environment, span.range)
    wanted, checked = _attention(visit)
    return visit.page(
        "overview.html",
        "/",
        live=span.zoomed is None,
        span_text=span.text,
        ranges=span.choices,
        zoomed=span.zoomed,
        begin_us=span.range.since_us,
        end_us=span.range.until_us,
        attention=wanted,
        checked=checked,
        nothing=_nothing(found),
        figures=_figures(visit, found, span),
        charts=_charts(found, visit.now_us),
        steps=_steps(steps, steps_before),
        outcomes=_outcomes(found, span),
    )


def questions_of(
    questions: Questions, environment: str, range: Range
) -> tuple[Overview, Bucket, Bucket]:
    """What the page asks of a range: its course, its steps, and last week's."""
    scope = Scope(environment=environment)
    return (
        questions.overview(scope, range, measures=("answered", "end_to_end"), last_week=True),
        questions.total(scope, range, measures=MEASURES),
        questions.total(scope, range.earlier(WEEK_S), measures=MEASURES),
    )


def _attention(visit: Visit) -> tuple[list[attention.Attention], str]:
    now_us, questions = visit.now_us, visit.parts.questions
    environment = visit.environment
    recent = Range(now_us - _RECENT_S * _US, now_us)
    facts = visit.parts.directory.connections(environment)
    quiet = frozenset(one.connection for one in facts or () if one.state != "active")
    wanted = attention.sorted_by_need(
        [
            *attention.of_alerts(visit),
            *attention.of_store(held(visit.parts)),
            *attention.of_traffic(
                questions.connection_totals(environment, recent), "in the last hour"
            ),
            *attention.of_silence(questions.health(environment, now_us), quiet),
            *attention.of_secrets(facts or (), now_us / 1e6),
        ]
    )
    checked = (
        "Checked: dead letters, parked keys, errors and refusals of the last hour, silent "
        "connections" + (", secrets about to expire." if facts is not None else ".")
    )
    return wanted, checked


def _nothing(found: Overview) -> bool:
    return not (found.total.counts.events or found.total.counts.requests)


def _figures(visit: Visit, found: Overview, span: Chosen) -> list[Figure]:
    counts = found.total.counts
    week = found.last_week
    # The last bucket is not over: what came so far is of the time so far.
    until_us = min(found.range.until_us, visit.now_us)
    minutes = max(1e-9, (until_us - found.range.since_us) / 60e6)
    week_minutes = (found.range.until_us - found.range.since_us) / 60e6
    rate = counts.events / minutes
    rate_before = week.total.counts.events / week_minutes if week else None
    errors = _share(counts.errors, counts.events)
    errors_before = _share(week.total.counts.errors, week.total.counts.events) if week else None
    refused = _share(counts.refused, counts.requests)
    figures = [
        Figure(
            name="Events handled",
            value=words.rate(rate),
            by=f"{words.count(counts.events)} in all; {words.change(rate, rate_before or None)}",
        ),
        Figure(
            name="Events that failed",
            value=words.share(errors),
            by=f"{words.count(counts.errors)} of {words.count(counts.events)}; "
            + _before(errors_before, words.share),
            tone="bad" if errors and errors > 0.05 else "",
        ),
        Figure(
            name="Requests refused",
            value=words.share(refused),
            by=f"{words.count(counts.refused)} of {words.count(counts.requests)}; "
            f"{words.count(counts.unavailable)} answered 5xx",
            tone="warn" if counts.unavailable else "",
        ),
        _latency("Answered in, p95", "answered", found),
        _latency("End to end, p95", "end_to_end", found),
    ]
    behind = lag(visit.parts.questions, visit.environment, visit.now_us)
    figures.append(Figure(name=behind.name, value=behind.value, by=behind.by, tone=behind.tone))
    return figures


def _latency(name: str, measure: str, found: Overview) -> Figure:
    now = found.total.latencies[measure]
    before = found.last_week.total.latencies[measure] if found.last_week else Latency()
    if not now.count:
        return Figure(name=name, value=words.NOTHING, by="nothing in this range")
    return Figure(
        name=name,
        value=words.duration(now.p95_ns),
        by=f"p50 {words.duration(now.p50_ns)}, p99 {words.duration(now.p99_ns)}; "
        + _before(before.p95_ns if before.count else None, words.duration),
    )


def _before(value: float | None, write: Callable[[float | None], str]) -> str:
    return "no figure of last week" if value is None else f"last week {write(value)}"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _charts(found: Overview, now_us: int) -> list[Chart]:
    step_s, begin_s = found.bucket_s, found.range.since_us // _US
    minutes = step_s / 60
    week = found.last_week
    bucket = f"Each point is {words.span(step_s)}"

    def whole(one: Bucket) -> bool:
        # A bucket that is not over would look like a fall.
        return one.at_us + step_s * _US <= now_us

    def rates(buckets: Sequence[Bucket], value: Callable[[Bucket], int]) -> list[float | None]:
        return [value(one) / minutes if whole(one) else None for one in buckets]

    def latencies(measure: str, percentile: str) -> list[float | None]:
        return [
            getattr(one.latencies[measure], percentile)
            if one.latencies[measure].count and whole(one)
            else None
            for one in found.buckets
        ]

    def events(one: Bucket) -> int:
        return one.counts.events

    throughput = [
        Series(name="now", style="events", values=rates(found.buckets, events), area=True)
    ]
    # A week of which nothing is known is no week without events.
    if week is not None and week.total.counts.events:
        throughput.append(
            Series(name="last week", style="before", values=rates(week.buckets, events))
        )
    draw = partial(line_chart, begin_s=begin_s, step_s=step_s)
    return [
        draw(
            id="throughput", title="Events per minute", note=bucket, series=throughput,
            write=_per_minute
        ),
        draw(
            id="errors", title="Failed and refused per minute", note=bucket,
            series=[
                Series(name="failed", style="errors", area=True,
                       values=rates(found.buckets, lambda one: one.counts.errors)),
                Series(name="refused", style="refused",
                       values=rates(found.buckets, lambda one: one.counts.refused)),
            ],
            write=_per_minute
        ),
        *(
            draw(
                id=measure, title=title, note=f"{bucket}, within 1 %",
                series=[
                    Series(name=name, style=name, values=latencies(measure, f"{name}_ns"))
                    for name in ("p50", "p95", "p99")
                ],
                write=words.duration
            )
            for measure, title in (
                ("end_to_end", "End to end: received to committed"),
                ("answered", "Answered: received to answered"),
            )
        ),
    ]  # fmt: skip


def _per_minute(value: float | None) -> str:
    return words.NOTHING if value is None else words.number(value)


def _steps(now: Bucket, before: Bucket) -> list[StepRow]:
    rows = []
    for measure in MEASURES:
        one, week = now.latencies[measure], before.latencies[measure]
        rows.append(
            StepRow(
                _NAMES.get(measure, measure),
                WHAT.get(measure) or _SPANS.get(measure, ""),
                [
                    words.duration(value if latency.count else None)
                    for latency, value in (
                        (one, one.p50_ns), (one, one.p95_ns), (one, one.p99_ns),
                        (week, week.p95_ns),
                    )
                ],
            )
        )  # fmt: skip
    return rows


def _outcomes(found: Overview, span: Chosen) -> list[OutcomeRow]:
    counts = found.total.counts
    since, until = str(span.range.since_us // _US), str(-(-span.range.until_us // _US))
    rows = [
        OutcomeRow(
            outcome=words.outcome(code),
            of="event",
            count=words.count(number),
            share=words.share(_share(number, counts.events)),
            link=address("/events", {"outcome": code, "from": since, "to": until}),
        )
        for code, number in sorted(
            counts.events_by_outcome.items(), key=lambda item: (item[0] in FINE, -item[1])
        )
    ]
    return rows + [
        OutcomeRow(
            outcome=words.reception(code, 400),
            of="request",
            count=words.count(number),
            share=words.share(_share(number, counts.requests)),
            link=address("/requests", {"outcome": code, "from": since, "to": until}),
        )
        for code, number in sorted(counts.requests_by_outcome.items(), key=lambda item: -item[1])
    ]
