"""A histogram that costs a microsecond a value: plain counts, read when somebody asks.

OpenTelemetry's own takes five: one in sixteen of all that the gateway does with a webhook.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec


class Exemplar(msgspec.Struct, frozen=True, gc=False):
    """One value of a bucket, and the trace that it came from."""

    trace_id: str
    value: float
    unix_s: float


class Histogram:
    """Counts by upper bound, the last one infinite. One thread adds; any may read."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        #: The last one of each bucket that has any.
        self.exemplars: list[Exemplar | None] = [None] * (len(self.bounds) + 1)

    def add(self, value: float) -> int:
        """Count a value; the number of its bucket, for `exemplars`."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        return bucket
