"""Gauges: samples kept as the lowest, highest and last value of each minute and hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from consumer.monitor.buckets import US, cut
from consumer.monitor.contract import Gauge, GaugePoint, GaugeSeries, Range
from consumer.monitor.expiring import kept_from
from consumer.monitor.numbers import Run

#: Beyond, new sets of labels are left out.
MAX_GAUGES: Final = 20_000
#: Minutes and hours.
_GRAINS: Final = (60, 3600)
_labels: Final = msgspec.json.Decoder(dict[str, str])


def _text(labels: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(labels), order="sorted").decode()


def record(run: Run, at: str, gauges: Sequence[Gauge]) -> None:
    """See `Questions.record`; in an open transaction. In one order, so that two never wait for
    each other in a circle."""
    ((there,),) = run(f"SELECT count(*) FROM {at}gauges", ())
    keyed = {(one.environment, one.name, _text(one.labels), one.at_us): one for one in gauges}
    for (environment, name, labels, at_us), gauge in sorted(
        keyed.items(), key=lambda item: item[0]
    ):
        known = run(
            f"SELECT no FROM {at}gauges WHERE environment = ? AND name = ? AND labels = ?",
            (environment, name, labels),
        )
        if not known and there >= MAX_GAUGES:
            continue
        there += not known
        run(
            f"INSERT INTO {at}gauges AS g (environment, name, labels, at_us, value)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (environment, name, labels) DO UPDATE"
            " SET at_us = excluded.at_us, value = excluded.value WHERE excluded.at_us >= g.at_us",
            (environment, name, labels, at_us, gauge.value),
        )
        for grain_s in _GRAINS:
            run(
                f"INSERT INTO {at}samples AS s (grain_s, gauge, at_s, low, high, last, last_us)"
                f" SELECT ?, no, ?, ?, ?, ?, ? FROM {at}gauges"
                " WHERE environment = ? AND name = ? AND labels = ?"
                " ON CONFLICT (grain_s, gauge, at_s) DO UPDATE SET"
                " low = CASE WHEN excluded.low < s.low THEN excluded.low ELSE s.low END,"
                " high = CASE WHEN excluded.high > s.high THEN excluded.high ELSE s.high END,"
                " last = CASE WHEN excluded.last_us >= s.last_us THEN excluded.last"
                " ELSE s.last END,"
                " last_us = CASE WHEN excluded.last_us >= s.last_us THEN excluded.last_us"
                " ELSE s.last_us END",
                (
                    *(grain_s, at_us // (grain_s * US) * grain_s),
                    *(gauge.value, gauge.value, gauge.value, at_us),
                    *(environment, name, labels),
                ),
            )


def gauges(run: Run, at: str, environment: str, name: str, asked: Range) -> list[GaugeSeries]:
    """See `Questions.gauges`."""
    one = cut(asked, kept_from(run, at))
    grain_s = next(grain_s for grain_s in reversed(_GRAINS) if one.bucket_s % grain_s == 0)
    rows = run(
        f"SELECT g.labels, s.at_s, s.low, s.high, s.last FROM {at}gauges g"
        f" JOIN {at}samples s ON s.grain_s = ? AND s.gauge = g.no AND s.at_s >= ? AND s.at_s < ?"
        " WHERE g.environment = ? AND g.name = ? ORDER BY g.labels, s.at_s",
        (grain_s, one.since_s, one.until_s, environment, name),
    )
    found: dict[str, dict[int, GaugePoint]] = {}
    for labels, at_s, low, high, last in rows:
        points = found.setdefault(labels, {})
        place = (at_s - (at_s - one.since_s) % one.bucket_s) * US
        before = points.get(place)
        if before is not None:
            low, high = min(low, before.low), max(high, before.high)
        points[place] = GaugePoint(place, low, high, last)
    return [
        GaugeSeries(
            name=name,
            labels=_labels.decode(labels),
            bucket_s=one.bucket_s,
            points=tuple(points.values()),
        )
        for labels, points in found.items()
    ]


def latest(run: Run, at: str, environment: str, name: str) -> list[Gauge]:
    """See `Questions.latest_gauges`."""
    where, values = "environment = ?", [environment]
    if name:
        where += " AND name = ?"
        values.append(name)
    rows: list[tuple[Any, ...]] = run(
        f"SELECT name, labels, at_us, value FROM {at}gauges WHERE {where} ORDER BY name, labels",
        values,
    )
    return [
        Gauge(
            environment=environment,
            name=found,
            labels=_labels.decode(labels),
            at_us=at_us,
            value=value,
        )
        for found, labels, at_us, value in rows
    ]
