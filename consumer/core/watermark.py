"""Which offsets of one partition are done, and so what may be committed.

The watermark is the offset below which all is done. Offsets done above it are kept as ranges,
so memory follows the number of gaps (events in flight), not the number of events.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


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

    def complete_all(self, offsets: Iterable[int]) -> int:
        """Complete each, in ascending order where most extend the watermark; the new position."""
        for offset in sorted(offsets):
            self.complete(offset)
        return self._low

    def copy(self) -> Watermark:
        """An independent copy, to learn what the position would be after more completions."""
        twin = Watermark(self._low)
        twin._high = self._high
        twin._starts = self._starts.copy()
        twin._ends = self._ends.copy()
        return twin

    def _mark(self, start: int, end: int) -> None:
        starts, ends = self._starts, self._ends
        if start == self._low:
            self._low = end
            if starts and starts[0] == end:
                self._low = ends[0]
                del starts[0], ends[0]
            return
        at = bisect_right(starts, start)
        if at and ends[at - 1] >= end:
            return
        joins_left = at > 0 and ends[at - 1] == start
        joins_right = at < len(starts) and starts[at] == end
        if joins_left and joins_right:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_left:
            ends[at - 1] = end
        elif joins_right:
            starts[at] = start
        else:
            starts.insert(at, start)
            ends.insert(at, end)
