"""Pages of metrics over the last seconds, and what they say of increases; pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
#: Every sample of a page by its name and labels.
Page = Mapping[tuple[str, Labels], float]

#: Rates are over so long: less, and a quiet process shows nothing but noise.
WINDOW_S: Final = 10.0


def parse(text: str) -> Page:
    """The samples of a page in Prometheus' text format; ValueError if it is none."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Window:
    """The pages of one process: the latest, and one from about `WINDOW_S` before."""

    def __init__(self) -> None:
        self._pages: deque[tuple[float, Page]] = deque()

    def add(self, at_s: float, page: Page) -> None:
        """The page of a time (monotonic)."""
        self._pages.append((at_s, page))
        while len(self._pages) > 2 and self._pages[1][0] <= at_s - WINDOW_S:
            self._pages.popleft()

    def away(self) -> None:
        """It did not answer: what was before says nothing of what comes."""
        self._pages.clear()

    def values(self, name: str) -> Iterator[tuple[Labels, float]]:
        """The latest samples of a name."""
        if self._pages:
            for (sample, labels), value in self._pages[-1][1].items():
                if sample == name:
                    yield labels, value

    def increases(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Of a counter: how much more a second; none until there are two pages."""
        if len(self._pages) < 2:
            return
        (first_s, first), (last_s, _) = self._pages[0], self._pages[-1]
        for labels, value in self.values(name):
            before = first.get((name, labels), 0.0)
            # A smaller one began anew.
            gained = value - before if value >= before else value
            yield labels, gained / (last_s - first_s)


class Windows(list[Window]):
    """Those of several processes together: a sum for each set of some labels."""

    def total(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """The latest values, summed."""
        return _summed((item for window in self for item in window.values(name)), by)

    def rate(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """Increases a second, summed."""
        return _summed((item for window in self for item in window.increases(name)), by)

    def largest(self, name: str) -> float:
        """The largest of the latest values; 0 if there is none."""
        return max((value for window in self for _, value in window.values(name)), default=0.0)

    def quantile(self, name: str, share: float) -> float | None:
        """Of a histogram over the window, as Prometheus' histogram_quantile; None: nothing was.

        `name` is without `_bucket`; what lies in the last bucket counts as its lower bound.
        """
        buckets = self.rate(f"{name}_bucket", "le")
        bounds = sorted((float(bound), gained) for (bound,), gained in buckets.items())
        if not bounds or bounds[-1][1] <= 0:
            return None
        wanted = share * bounds[-1][1]
        below, lower = 0.0, 0.0
        for bound, gained in bounds:
            if gained >= wanted:
                if bound == float("inf"):
                    return lower
                inside = gained - below
                return lower + (bound - lower) * ((wanted - below) / inside if inside else 1.0)
            below, lower = gained, bound
        return lower


def _summed(
    items: Iterator[tuple[Labels, float]], by: tuple[str, ...]
) -> dict[tuple[str, ...], float]:
    sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for labels, value in items:
        named = dict(labels)
        sums[tuple(named.get(label, "") for label in by)] += value
    return dict(sums)
