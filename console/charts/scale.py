"""Axes: round marks from 0 up, and times where people expect a mark."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

#: Spans between two marks of a time axis, in seconds.
_STEPS_S: Final = (
    *(60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200),
    *(86_400, 172_800, 432_000, 604_800),
)
_MAX_TIME_MARKS: Final = 6


class Mark(NamedTuple):
    """Where on an axis, from 0 to 1, and what is written there."""

    at: float
    label: str


def value_axis(
    highest: float, write: Callable[[float], str], *, wanted: int = 4, whole: bool = False
) -> tuple[float, list[Mark]]:
    """The axis' end and its marks, from 0 to at least `highest`; `whole`: no parts of one."""
    if highest <= 0 or not math.isfinite(highest):
        highest = 1.0
    step = _round_step(highest / wanted)
    if whole:
        step = max(1.0, step)
    marks = math.ceil(highest / step - 1e-9)
    top = marks * step
    return top, [Mark(n * step / top, write(n * step)) for n in range(marks + 1)]


def _round_step(least: float) -> float:
    size: float = 10.0 ** math.floor(math.log10(least))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0):
        if factor * size >= least * (1 - 1e-9):
            return factor * size
    return 10.0 * size


def time_axis(begin_s: int, end_s: int) -> list[Mark]:
    """Marks at round times in UTC between two moments."""
    length = max(1, end_s - begin_s)
    step = next((s for s in _STEPS_S if length / s <= _MAX_TIME_MARKS), _STEPS_S[-1])
    first = -(-begin_s // step) * step
    return [
        Mark((at - begin_s) / length, _time_label(at, step)) for at in range(first, end_s + 1, step)
    ]


def _time_label(at_s: int, step_s: int) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    if step_s >= 86_400 or (moment.hour == 0 and moment.minute == 0):
        return f"{moment.day} {moment:%b}"
    return f"{moment:%H:%M}"
