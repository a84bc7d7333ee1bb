"""A request's way as bars on a linear scale that is written beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from console.charts.scale import Mark, value_axis
from console.words import duration
from schemas.execution import Execution, Reception

#: The bars' own units.
WIDTH: Final = 1000
_LEAST: Final = 3.0

WHAT: Final = {
    "read": "Reading the body",
    "verify": "Checking the signature",
    "identify": "Event id, type and resource",
    "encode": "Writing the envelope",
    "publish": "Until Kafka or the spool had it",
    "queue": "Waiting in Kafka",
    "lane": "Waiting for its turn, retries included",
    "handler": "Your handler, its last call",
    "commit": "The transaction it was committed in",
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One timed part: when it began, since the group's beginning, and how long it took."""

    name: str
    begin_ns: int
    duration_ns: int
    style: str = ""


class Bar(msgspec.Struct, frozen=True):
    """A step drawn. `tiny`: it is too short for the scale and drawn as wide as can be seen."""

    name: str
    what: str
    x: float
    width: float
    style: str
    duration: str
    begin: str
    tiny: bool


class Waterfall(msgspec.Struct, frozen=True):
    """Steps of one process or way, on one scale."""

    bars: list[Bar]
    marks: list[Mark]
    total: str
    any_tiny: bool


def waterfall(steps: Sequence[Step], total_ns: int) -> Waterfall:
    """The bars of some steps; the scale ends at the total or the last step's end."""
    end_ns = max([total_ns, *(step.begin_ns + step.duration_ns for step in steps)], default=0)
    top, marks = value_axis(float(end_ns), duration)
    bars = []
    for step in steps:
        width = step.duration_ns / top * WIDTH
        x = min(step.begin_ns / top * WIDTH, WIDTH - _LEAST)
        bars.append(
            Bar(
                step.name,
                WHAT.get(step.name) or ("A call that failed" if step.style == "failed" else ""),
                round(x, 1),
                round(max(width, _LEAST), 1),
                step.style or step.name,
                duration(step.duration_ns),
                duration(step.begin_ns),
                width < _LEAST,
            )
        )
    return Waterfall(bars, marks, duration(total_ns), any(bar.tiny for bar in bars))


def reception_steps(row: Reception) -> list[Step]:
    """The gateway's steps, one after the other as it does them."""
    steps, at_ns = [], 0
    for name in ("read", "verify", "identify", "encode", "publish"):
        took_ns: int = getattr(row, f"{name}_ns")
        steps.append(Step(name=name, begin_ns=at_ns, duration_ns=took_ns))
        at_ns += took_ns
    return steps


def execution_steps(row: Execution) -> list[Step]:
    """From Kafka to the commit, beginning when Kafka had it.

    The handler's call ends where the commit begins, and the commit ends at `committed_at_us`.
    Failed calls are drawn inside the wait in the lane, where they happened.
    """
    polled_ns = max(0, row.polled_at_us - row.in_kafka_at_us) * 1_000
    steps = [
        Step(name="queue", begin_ns=0, duration_ns=row.queue_ns),
        Step(name="lane", begin_ns=polled_ns, duration_ns=row.lane_ns),
    ]
    for attempt in row.attempts:
        begin_ns = max(0, attempt.began_at_us - row.in_kafka_at_us) * 1_000
        steps.append(
            Step(
                name=f"attempt {attempt.number}",
                begin_ns=begin_ns,
                duration_ns=attempt.duration_ns,
                style="failed",
            )
        )
    if row.handler_ns:
        steps.append(
            Step(name="handler", begin_ns=polled_ns + row.lane_ns, duration_ns=row.handler_ns)
        )
    committed_ns = max(0, row.committed_at_us - row.in_kafka_at_us) * 1_000
    if row.commit_ns:
        steps.append(
            Step(
                name="commit",
                begin_ns=max(0, committed_ns - row.commit_ns),
                duration_ns=row.commit_ns,
            )
        )
    return steps
