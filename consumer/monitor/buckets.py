"""How time is cut: the grains that sums are kept in, and which of them answers a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from consumer.monitor.contract import MAX_BUCKETS, MAX_RANGE_S, Range

US: Final = 1_000_000
WEEK_S: Final = 7 * 86_400
#: What sums are kept of: minutes, ten minutes, hours, six hours.
GRAINS: Final = (60, 600, 3600, 21_600)
#: The lengths that a bucket may have. Each divides a week, so that last week's line up.
_BUCKETS: Final = (60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200)
#: Up to which length of range a sum of all is in whole units of a grain.
_SUMMED: Final = ((2 * 3600, 60), (86_400, 600), (MAX_RANGE_S, 3600))


class Piece(NamedTuple):
    """A stretch of time, and the grain that it is added up from."""

    grain_s: int
    since_s: int
    until_s: int


class Cut(NamedTuple):
    """A range in whole buckets, and the pieces that make it up."""

    since_s: int
    until_s: int
    bucket_s: int
    pieces: tuple[Piece, ...]

    @property
    def range(self) -> Range:
        """The same in µs."""
        return Range(self.since_s * US, self.until_s * US)

    def earlier(self, by_s: int) -> Cut:
        """The same, so much earlier."""
        return Cut(
            self.since_s - by_s,
            self.until_s - by_s,
            self.bucket_s,
            tuple(Piece(g, since_s - by_s, until_s - by_s) for g, since_s, until_s in self.pieces),
        )

    def is_kept(self, kept_from_s: Mapping[int, int]) -> bool:
        """Whether none of its sums is gone."""
        return all(kept_from_s.get(piece.grain_s, 0) <= piece.since_s for piece in self.pieces)


def cut(range: Range, kept_from_s: Mapping[int, int]) -> Cut:
    """The shortest buckets of which a range has no more than MAX_BUCKETS, the first of which may
    be left out if it is only a part.

    `kept_from_s`: since when each grain has its sums; older ones are answered from coarser grains.
    """
    _check(range)
    for bucket_s in _BUCKETS:
        since_s, until_s = _widened(range, bucket_s)
        count = (until_s - since_s) // bucket_s
        if count == MAX_BUCKETS + 1:
            since_s += bucket_s
        elif count > MAX_BUCKETS:
            continue
        grain_s = next(grain_s for grain_s in reversed(GRAINS) if bucket_s % grain_s == 0)
        found = Cut(since_s, until_s, bucket_s, (Piece(grain_s, since_s, until_s),))
        if found.is_kept(kept_from_s):
            break
    return found


def whole(range: Range, kept_from_s: Mapping[int, int]) -> Cut:
    """A range as one bucket, in whole units of a grain that suits its length; what lies within it
    of the next coarser grain is taken from that."""
    _check(range)
    length_s = -(-(range.until_us - range.since_us) // US)
    wanted_s = next(grain_s for most_s, grain_s in _SUMMED if length_s <= most_s)
    for number, grain_s in enumerate(GRAINS):
        since_s, until_s = _widened(range, grain_s)
        found = Cut(since_s, until_s, until_s - since_s, _pieces(number, since_s, until_s))
        if grain_s >= wanted_s and found.is_kept(kept_from_s):
            break
    return found


def _pieces(number: int, since_s: int, until_s: int) -> tuple[Piece, ...]:
    grain_s = GRAINS[number]
    if number + 1 < len(GRAINS):
        coarse_s = GRAINS[number + 1]
        inner_since_s = -(-since_s // coarse_s) * coarse_s
        inner_until_s = until_s // coarse_s * coarse_s
        if inner_since_s < inner_until_s:
            pieces = (
                Piece(grain_s, since_s, inner_since_s),
                Piece(coarse_s, inner_since_s, inner_until_s),
                Piece(grain_s, inner_until_s, until_s),
            )
            return tuple(piece for piece in pieces if piece.since_s < piece.until_s)
    return (Piece(grain_s, since_s, until_s),)


def _check(range: Range) -> None:
    if not 0 < range.until_us - range.since_us <= MAX_RANGE_S * US:
        raise ValueError(f"a range is longer than nothing and at most {MAX_RANGE_S // 86_400} days")


def _widened(range: Range, unit_s: int) -> tuple[int, int]:
    since_s = range.since_us // (unit_s * US) * unit_s
    return since_s, -(-range.until_us // (unit_s * US)) * unit_s
