"""How often somebody may ask: token buckets by key; pure, bounded, the clock an argument."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

MAX_KEYS: Final = 10_000


class Rate(msgspec.Struct, frozen=True):
    """`burst` at once, then `per_s` each second."""

    burst: float
    per_s: float


class Buckets:
    """One bucket a key; of more than `max_keys`, those not asked for the longest are forgotten."""

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._rate = rate
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now_s: float) -> float:
        """Take one; 0 if there was one, else how many seconds until there is."""
        level, then_s = self._buckets.pop(key, (self._rate.burst, now_s))
        level = min(self._rate.burst, level + max(0.0, now_s - then_s) * self._rate.per_s)
        short = max(0.0, 1.0 - level)
        self._buckets[key] = (level if short else level - 1.0, now_s)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return short / self._rate.per_s

    def left(self, key: str, now_s: float) -> float:
        """How much there is to take, without taking."""
        level, then_s = self._buckets.get(key, (self._rate.burst, now_s))
        return min(self._rate.burst, level + max(0.0, now_s - then_s) * self._rate.per_s)
