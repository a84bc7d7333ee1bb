"""Evaluates conditions over series at a time. Pure: the clock and the series are arguments.

Each function does what the PromQL of `promql` does, so that both tell the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from consumer.monitor.alerts.expressions import (
    Age,
    All,
    Any_,
    Comparison,
    Condition,
    Gauge,
    Increase,
    Left,
    Match,
    Quantile,
    Ratio,
    Times,
    Vector,
    matches,
)
from consumer.monitor.alerts.series import Labels, Series, SeriesStore

#: A value for each group; the key has the groups' labels, without empty ones.
Values = dict[Labels, float]

_LE: Final = "le"
_TAKE: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "max": max,
    "min": min,
    "sum": math.fsum,
}


class Evaluator:
    """Conditions of rules grouped by the labels `by`, at one time."""

    def __init__(self, store: SeriesStore, by: tuple[str, ...], at_ms: int) -> None:
        self._store = store
        self._by = frozenset(by)
        self._at_ms = at_ms

    def met(self, condition: Condition) -> Values:
        """The groups that meet a condition, with their values."""
        if isinstance(condition, All):
            first, *others = (self.met(part) for part in condition.all)
            return {k: v for k, v in first.items() if all(k in other for other in others)}
        if isinstance(condition, Any_):
            found: Values = {}
            for part in condition.any:
                found = self.met(part) | found
            return found
        return self._compared(condition)

    def values(self, vector: Vector) -> Values:
        """What a vector gives."""
        match vector:
            case Increase():
                return self._summed(
                    (labels, grown)
                    for labels, series in self._selected(vector.increase, vector.where)
                    if (grown := series.increase(*self._window(vector))) is not None
                )
            case Gauge():
                return self._gauge(vector)
            case Quantile():
                return self._quantile(vector)
            case Age():
                latest = self._gauge(Gauge(gauge=vector.age, where=vector.where, over=vector.over))
                return {group: self._at_ms / 1000 - value for group, value in latest.items()}
            case Left():
                first = self._gauge(Gauge(gauge=vector.left, where=vector.where, take="min"))
                return {group: value - self._at_ms / 1000 for group, value in first.items()}
            case Ratio():
                part, whole = self.values(vector.part), self.values(vector.whole)
                ratios = {
                    group: _divided(part[group], whole[group]) for group in part if group in whole
                }
                return {g: 1 - r for g, r in ratios.items()} if vector.missing else ratios

    def _compared(self, comparison: Comparison) -> Values:
        values = self.values(comparison.value)
        bound = comparison.bound
        if isinstance(bound, Times):
            factor = bound.times
            bounds = {group: factor * value for group, value in self.values(bound.of).items()}
        else:
            bounds = dict.fromkeys(values, bound)
        above = comparison.above is not None
        # A value that is no number meets nothing, as every comparison with it is false.
        return {
            group: value
            for group, value in values.items()
            if group in bounds and (value > bounds[group] if above else value < bounds[group])
        }

    def _gauge(self, gauge: Gauge) -> Values:
        since_ms = self._at_ms - 1000 * gauge.over
        found: dict[Labels, list[float]] = defaultdict(list)
        for labels, series in self._selected(gauge.gauge, gauge.where):
            if not gauge.over:
                value = series.now(self._at_ms)
            elif gauge.take == "min":
                value = series.lowest(since_ms, self._at_ms)
            else:
                value = series.highest(since_ms, self._at_ms)
            if value is not None:
                found[self._group(labels)].append(value)
        take = _TAKE[gauge.take]
        return {group: take(values) for group, values in found.items()}

    def _quantile(self, quantile: Quantile) -> Values:
        buckets: dict[Labels, dict[float, float]] = defaultdict(lambda: defaultdict(float))
        for labels, series in self._selected(f"{quantile.of}_bucket", quantile.where):
            grown = series.increase(*self._window(quantile))
            bound = dict(labels).get(_LE)
            if grown is not None and bound is not None:
                buckets[self._group(labels)][float(bound)] += grown
        return {group: _quantile_of(quantile.quantile, b) for group, b in buckets.items()}

    def _summed(self, grown: Iterable[tuple[Labels, float]]) -> Values:
        sums: Values = {}
        for labels, value in grown:
            group = self._group(labels)
            sums[group] = sums.get(group, 0.0) + value
        return sums

    def _window(self, vector: Increase | Quantile) -> tuple[int, int]:
        until_ms = self._at_ms - 1000 * vector.before
        return until_ms - 1000 * vector.over, until_ms

    def _selected(self, metric: str, where: dict[str, Match]) -> Iterable[tuple[Labels, Series]]:
        for labels, series in self._store.of(metric).items():
            if where:
                have = dict(labels)
                if not all(matches(want, have.get(name, "")) for name, want in where.items()):
                    continue
            yield labels, series

    def _group(self, labels: Labels) -> Labels:
        return tuple(label for label in labels if label[0] in self._by)


def _divided(part: float, whole: float) -> float:
    if whole:
        return part / whole
    return math.nan if not part or math.isnan(part) else math.copysign(math.inf, part)


def _quantile_of(wanted: float, buckets: dict[float, float]) -> float:
    """Prometheus' `histogram_quantile`; buckets are cumulative, by their upper bounds."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts: list[float] = []
    for bound in bounds:
        # Buckets are read one after another, so a lower one may seem to have more.
        counts.append(max(buckets[bound], counts[-1] if counts else 0.0))
    if counts[-1] == 0:
        return math.nan
    rank = wanted * counts[-1]
    at = next((n for n, count in enumerate(counts[:-1]) if count >= rank), len(counts) - 1)
    if at == len(bounds) - 1:
        return bounds[-2]
    start = bounds[at - 1] if at else 0.0
    below = counts[at - 1] if at else 0.0
    return start + (bounds[at] - start) * ((rank - below) / (counts[at] - below))
