"""Samples of metrics over time, bounded: what the evaluator looks at.

Only metrics that a rule looks at are kept, for as long as it looks back, and the older a sample
the fewer of its neighbours stay: all for an hour, one a minute for six, one in five minutes beyond.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

Labels = tuple[tuple[str, str], ...]

#: As Prometheus: a sample that is older no longer says what is now.
LOOKBACK_MS: Final = 300_000
MAX_SERIES: Final = 20_000
_KEEP_ALL_MS: Final = 3_600_000
_MINUTES_MS: Final = 6 * 3_600_000
_FIRST_THINNING: Final = 512


class Sample(NamedTuple):
    """One line of a /metrics page; `labels` sorted by name, without empty ones."""

    name: str
    labels: Labels
    value: float


def labels_of(labels: Mapping[str, str]) -> Labels:
    """Labels as series have them."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


class Series:
    """One series. Times are Unix ms and only go forward."""

    __slots__ = ("_grown", "_stale_ms", "_thin_at", "_times", "_values")

    def __init__(self) -> None:
        self._times = array("q")
        self._values = array("d")
        #: The values with every restart of a counter reckoned in, so that a difference of two is
        #: a growth, however many samples are between them.
        self._grown = array("d")
        self._stale_ms = -1
        self._thin_at = _FIRST_THINNING

    def __len__(self) -> int:
        return len(self._times)

    @property
    def last_ms(self) -> int:
        """The time of its last sample; -1 if it has none."""
        return self._times[-1] if self._times else -1

    def append(self, at_ms: int, value: float, horizon_ms: int) -> None:
        """A sample, later than all before; what is older than `horizon_ms` before it may go."""
        if at_ms <= self.last_ms or math.isnan(value):
            return
        if self._values:
            before = self._values[-1]
            grown = self._grown[-1] + (value - before if value >= before else value)
        else:
            grown = value
        self._times.append(at_ms)
        self._values.append(value)
        self._grown.append(grown)
        if len(self._times) >= self._thin_at:
            self._thin(at_ms, horizon_ms)

    def vanish(self, at_ms: int) -> None:
        """It is no longer on its page: what it was last is no longer what is now."""
        self._stale_ms = at_ms

    def now(self, at_ms: int) -> float | None:
        """Its value at a time after all its samples; None if that is not known."""
        if not self._times or self._stale_ms > self._times[-1]:
            return None
        return self._values[-1] if at_ms - self._times[-1] < LOOKBACK_MS else None

    def highest(self, since_ms: int, until_ms: int) -> float | None:
        """The highest value within both, which count; None without a sample."""
        first, last = self._range(since_ms, until_ms)
        return max(self._values[first:last]) if last > first else None

    def lowest(self, since_ms: int, until_ms: int) -> float | None:
        """The lowest value."""
        first, last = self._range(since_ms, until_ms)
        return min(self._values[first:last]) if last > first else None

    def increase(self, since_ms: int, until_ms: int) -> float | None:
        """How much a counter grew, stretched to the whole time; None with less than two samples.

        Prometheus' `increase`: it stretches to where the window begins and ends if a sample is
        near, else by half the usual distance of two, and never below a counter's zero.
        """
        first, end = self._range(since_ms, until_ms)
        count = end - first
        if count < 2:
            return None
        last = end - 1
        growth = self._grown[last] - self._grown[first]
        sampled_s = (self._times[last] - self._times[first]) / 1000
        to_start_s = (self._times[first] - since_ms) / 1000
        to_end_s = (until_ms - self._times[last]) / 1000
        average_s = sampled_s / (count - 1)
        if growth > 0 and self._values[first] >= 0:
            to_start_s = min(to_start_s, sampled_s * (self._values[first] / growth))
        near_s = average_s * 1.1
        stretched_s = sampled_s
        stretched_s += to_start_s if to_start_s < near_s else average_s / 2
        stretched_s += to_end_s if to_end_s < near_s else average_s / 2
        return growth * (stretched_s / sampled_s)

    def _range(self, since_ms: int, until_ms: int) -> tuple[int, int]:
        return bisect_left(self._times, since_ms), bisect_right(self._times, until_ms)

    def _thin(self, now_ms: int, horizon_ms: int) -> None:
        times, values, grown = self._times, self._values, self._grown
        kept = []
        slot = -1
        # From the latest back, so that of each slot the latest stays.
        for n in range(len(times) - 1, -1, -1):
            age_ms = now_ms - times[n]
            if age_ms > horizon_ms:
                break
            if age_ms > _KEEP_ALL_MS:
                length_ms = 60_000 if age_ms <= _MINUTES_MS else 300_000
                this = times[n] // length_ms * length_ms
                if this == slot:
                    continue
                slot = this
            kept.append(n)
        kept.reverse()
        self._times = array("q", (times[n] for n in kept))
        self._values = array("d", (values[n] for n in kept))
        self._grown = array("d", (grown[n] for n in kept))
        self._thin_at = max(_FIRST_THINNING, len(kept) + len(kept) // 4)


class SeriesStore:
    """All series. `horizons_s`: the metrics to keep, and for how long each."""

    def __init__(self, horizons_s: Mapping[str, int], max_series: int = MAX_SERIES) -> None:
        self._horizons_ms = {
            name: 1000 * seconds + LOOKBACK_MS for name, seconds in horizons_s.items()
        }
        self._max_series = max_series
        self._series: dict[str, dict[Labels, Series]] = {name: {} for name in horizons_s}
        #: What each page had the last time, to see what has vanished.
        self._on_page: dict[str, set[tuple[str, Labels]]] = {}
        self.refused = 0

    def __len__(self) -> int:
        return sum(len(series) for series in self._series.values())

    @property
    def metrics(self) -> frozenset[str]:
        """The names of the metrics that are kept."""
        return frozenset(self._series)

    def add(self, page: str, samples: Iterable[Sample], at_ms: int) -> None:
        """What one page had at a time; `page` names it. Series that it no longer has are over."""
        before, now = self._on_page.get(page, set()), set()
        for name, labels, value in samples:
            known = self._series.get(name)
            if known is None:
                continue
            series = known.get(labels)
            if series is None:
                if len(self) >= self._max_series:
                    self.refused += 1
                    continue
                series = known[labels] = Series()
            series.append(at_ms, value, self._horizons_ms[name])
            now.add((name, labels))
        for name, labels in before - now:
            gone = self._series[name].get(labels)
            if gone is not None:
                gone.vanish(at_ms)
        self._on_page[page] = now

    def of(self, name: str) -> Mapping[Labels, Series]:
        """The series of a metric."""
        return self._series.get(name, {})

    def forget_old(self, now_ms: int) -> None:
        """Drop series whose every sample is older than any rule looks back."""
        for name, known in self._series.items():
            horizon_ms = self._horizons_ms[name]
            for labels in [one for one, s in known.items() if now_ms - s.last_ms > horizon_ms]:
                del known[labels]
