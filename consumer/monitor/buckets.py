"""How time is cut: the grains that sums are kept in, and which of them answers a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from consumer.monitor.contract import MAX_BUCKETS, MAX_RANGE_S, Range

US: Final = 1_000_000
WEEK_S: Final = 7 * 86_400
#: What sums are kept of: minutes, ten minutes, hours.
GRAINS: Final = (60, 600, 3600)
#: The lengths that a bucket may have. Each divides a week, so that last week's line up.
_BUCKETS: Final = (60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 28_800)
#: Up to which length of range a grain is used for one sum of all.
_SUMMED: Final = ((2 * 3600, 60), (86_400, 600))


class Cut(NamedTuple):
    """A range in whole buckets, and the grain that they are added up from."""

    since_s: int
    until_s: int
    bucket_s: int
    grain_s: int

    @property
    def range(self) -> Range:
        """The same in µs."""
        return Range(self.since_s * US, self.until_s * US)

    def earlier(self, by_s: int) -> Cut:
        """The same, so much earlier."""
        return self._replace(since_s=self.since_s - by_s, until_s=self.until_s - by_s)


def cut(range: Range, kept_from_s: Mapping[int, int]) -> Cut:
    """The shortest buckets of which a range has no more than MAX_BUCKETS.

    `kept_from_s`: since when each grain has its sums; older ones are answered from coarser grains.
    """
    _check(range)
    for bucket_s in _BUCKETS:
        whole = _whole(range, bucket_s)
        if (whole.until_s - whole.since_s) // bucket_s > MAX_BUCKETS:
            continue
        for grain_s in reversed(GRAINS):
            if bucket_s % grain_s == 0:
                if kept_from_s.get(grain_s, 0) <= whole.since_s or grain_s == GRAINS[-1]:
                    return whole._replace(grain_s=grain_s)
                break
    return _whole(range, _BUCKETS[-1])._replace(grain_s=GRAINS[-1])


def whole(range: Range, kept_from_s: Mapping[int, int]) -> Cut:
    """A range as one bucket, in whole units of a grain that suits its length."""
    _check(range)
    length_s = (range.until_us - range.since_us) / US
    wanted = next((grain for most_s, grain in _SUMMED if length_s <= most_s), GRAINS[-1])
    for grain_s in GRAINS:
        found = _whole(range, grain_s)
        if grain_s >= wanted and kept_from_s.get(grain_s, 0) <= found.since_s:
            break
    return found._replace(bucket_s=found.until_s - found.since_s)


def _check(range: Range) -> None:
    if not 0 < range.until_us - range.since_us <= MAX_RANGE_S * US:
        raise ValueError(f"a range is longer than nothing and at most {MAX_RANGE_S // 86_400} days")


def _whole(range: Range, unit_s: int) -> Cut:
    since_s = range.since_us // (unit_s * US) * unit_s
    until_s = -(-range.until_us // (unit_s * US)) * unit_s
    return Cut(since_s, until_s, unit_s, unit_s)
