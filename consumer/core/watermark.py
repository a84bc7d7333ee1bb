"""Which offsets of one partition are done, and so what may be committed.

The watermark is the offset below which all is done. Offsets done above it are kept as ranges,
so memory follows the number of gaps (events in flight), not the number of events.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class Watermark:
    """The done offsets of one partition. Offsets that the log never had count as done."""

    __slots__ = ("_ends", "_high", "_low", "_starts")

    def __init__(self, start: int) -> None:
        """`start` is the first offset that is not known to be done."""
        self._low = start
        self._high = start
        # Done ranges [start, end) above the watermark: sorted, apart, never touching it.
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def position(self) -> int:
        """The watermark: everything below it is done; a restart begins here."""
        return self._low

    @property
    def high(self) -> int:
        """One past the highest offset delivered so far."""
        return self._high

    @property
    def outstanding(self) -> int:
        """How many delivered offsets are not done."""
        done = sum(self._ends) - sum(self._starts)
        return self._high - self._low - done

    @property
    def last_done(self) -> int | None:
        """The highest done offset above the watermark; None if there is none."""
        return self._ends[-1] - 1 if self._ends else None

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The done ranges [start, end) above the watermark."""
        return tuple(zip(self._starts, self._ends, strict=True))

    def deliver(self, offset: int) -> bool:
        """Note an offset that the log gave; False if it was delivered before.

        The log skips offsets (compaction, transaction markers): nothing will ever come for
        those, so they are done.
        """
        if offset < self._high:
            return False
        if offset > self._high:
            self._mark(self._high, offset)
        self._high = offset + 1
        return True

    def complete(self, offset: int) -> None:
        """Note that a delivered offset is done; twice is the same as once."""
        if offset >= self._high:
            raise ValueError(f"offset {offset} was never delivered (high is {self._high})")
        if offset >= self._low:
            self._mark(offset, offset + 1)

    def complete_all(self, offsets: Sequence[int]) -> int:
        """Complete delivered offsets, given in ascending order; the new position."""
        if not offsets:
            return self._low
        if offsets[-1] >= self._high:
            raise ValueError(f"offset {offsets[-1]} was never delivered (high is {self._high})")
        start = end = offsets[0]
        for offset in offsets:
            # Neighbours are marked together: a batch is a few ranges, whatever its size.
            if offset == end:
                end += 1
            elif offset > end:
                self._mark(start, end)
                start, end = offset, offset + 1
        self._mark(start, end)
        return self._low

    def copy(self) -> Watermark:
        """An independent copy, to learn what the position would be after more completions."""
        twin = Watermark(self._low)
        twin._high = self._high
        twin._starts = self._starts.copy()
        twin._ends = self._ends.copy()
        return twin

    def _mark(self, start: int, end: int) -> None:
        """Note [start, end) as done, whatever of it was done before."""
        starts, ends = self._starts, self._ends
        if start <= self._low:
            self._low = max(self._low, end)
            # Ranges never touch, so the last of those that it reaches ends where it now is.
            reached = bisect_right(starts, self._low)
            if reached:
                self._low = max(self._low, ends[reached - 1])
                del starts[:reached], ends[:reached]
            return
        # All ranges that overlap or touch it become one with it.
        first = bisect_left(ends, start)
        last = bisect_right(starts, end)
        if first < last:
            start, end = min(start, starts[first]), max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]
