"""Line charts over time. A bucket without data is a gap, never a line across it, never a 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from console.charts.scale import Mark, time_axis, value_axis

#: The plot's own units: stretched over whatever width there is.
WIDTH: Final = 1000
HEIGHT: Final = 160

Values = Sequence[float | None]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `style` is a CSS class; an `area` is filled down to 0."""

    name: str
    style: str
    values: Values
    area: bool = False


class Line(msgspec.Struct, frozen=True):
    """A series as SVG path data."""

    name: str
    style: str
    path: str
    area: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """All that a template needs; `rows` is the table behind it, one row a bucket."""

    id: str
    title: str
    #: What is on the axis, and how long a bucket is.
    note: str
    summary: str
    lines: list[Line]
    y_marks: list[Mark]
    x_marks: list[Mark]
    header: list[str]
    rows: list[Row]
    begin_s: int
    end_s: int
    empty: bool


class Row(msgspec.Struct, frozen=True):
    """A bucket of the table: when it begins, and its values as written."""

    at_s: int
    cells: list[str]


def line_chart(
    *,
    id: str,
    title: str,
    note: str,
    begin_s: int,
    step_s: int,
    series: Sequence[Series],
    write: Callable[[float | None], str],
    axis: Callable[[float], str] | None = None,
    whole: bool = False,
) -> Chart:
    """The chart of some series of equal length whose bucket i begins at `begin_s + i * step_s`."""
    buckets = max((len(one.values) for one in series), default=0)
    known = [value for one in series for value in one.values if value is not None]
    top, y_marks = value_axis(max(known, default=0.0), axis or write, whole=whole)
    end_s = begin_s + buckets * step_s
    return Chart(
        id=id,
        title=title,
        note=note,
        summary=_summary(title, series, write),
        lines=[_line(one, top) for one in series],
        y_marks=y_marks,
        x_marks=time_axis(begin_s, end_s),
        header=[one.name for one in series],
        rows=[
            Row(begin_s + i * step_s, [write(one.values[i]) for one in series])
            for i in range(buckets)
        ],
        begin_s=begin_s,
        end_s=end_s,
        empty=not known,
    )


def _line(series: Series, top: float) -> Line:
    count = len(series.values)
    path: list[str] = []
    area: list[str] = []
    run: list[tuple[float, float]] = []
    for i, value in enumerate([*series.values, None]):
        if value is not None:
            # A value stands for its whole bucket, so it is drawn in its middle.
            run.append(((i + 0.5) / count * WIDTH, HEIGHT - value / top * HEIGHT))
            continue
        if run:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            # One bucket between two gaps is a short dash: a line of no length would not show.
            path.append(f"M{points}" if len(run) > 1 else f"M{points}h0.01")
            if series.area and len(run) > 1:
                area.append(f"M{run[0][0]:.1f},{HEIGHT} {points} {run[-1][0]:.1f},{HEIGHT}Z")
            run = []
    return Line(series.name, series.style, "".join(path), "".join(area))


def _summary(title: str, series: Sequence[Series], write: Callable[[float | None], str]) -> str:
    """What somebody who does not see it is told first; the table has the rest."""
    parts = []
    for one in series:
        known = [value for value in one.values if value is not None]
        if known:
            parts.append(
                f"{one.name}: last {write(known[-1])}, highest {write(max(known))}, "
                f"lowest {write(min(known))}"
            )
        else:
            parts.append(f"{one.name}: no data")
    return f"{title}. " + ". ".join(parts) + "."


def bucket_label(at_s: int) -> str:
    """When a bucket begins, in UTC."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment.day} {moment:%b %H:%M}"
