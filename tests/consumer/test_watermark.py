"""The watermark against a model that keeps every offset."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.watermark import Watermark

EXAMPLES = int(os.environ.get("HOOKLINE_SCHEDULES", "10000"))


class Model:
    """The same by brute force: a set of all done offsets."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.high = start
        self.done: set[int] = set()

    def deliver(self, offset: int) -> None:
        self.done.update(range(self.high, offset))
        self.high = offset + 1

    @property
    def position(self) -> int:
        at = self.start
        while at in self.done:
            at += 1
        return at


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, list[tuple[str, int]]]:
    """A start, then deliveries (with the gaps of a compacted log) and completions, mixed."""
    start = draw(st.integers(0, 5))
    steps: list[tuple[str, int]] = []
    high = start
    waiting: list[int] = []
    for _ in range(draw(st.integers(0, 40))):
        if not waiting or draw(st.booleans()):
            high += draw(st.sampled_from([0, 0, 0, 0, 1, 3]))
            steps.append(("deliver", high))
            waiting.append(high)
            high += 1
        else:
            at = draw(st.integers(0, len(waiting) - 1))
            steps.append(("complete", waiting.pop(at)))
    return start, steps


@settings(max_examples=EXAMPLES, deadline=None)
@given(schedules())
def test_the_position_never_passes_an_unfinished_offset_and_never_lags_behind(
    schedule: tuple[int, list[tuple[str, int]]],
) -> None:
    """Invariants: position = the model's; it never goes back; every delivered offset below it
    is done; outstanding = delivered and not done; ranges are sorted, apart and above it."""
    start, steps = schedule
    watermark, model = Watermark(start), Model(start)
    unfinished: set[int] = set()
    for step, offset in steps:
        before = watermark.position
        if step == "deliver":
            assert watermark.deliver(offset)
            model.deliver(offset)
            unfinished.add(offset)
        else:
            twin = watermark.copy()
            assert twin.complete_all([offset]) >= before
            watermark.complete(offset)
            assert twin.ranges == watermark.ranges
            model.done.add(offset)
            unfinished.discard(offset)
        assert watermark.position == model.position >= before
        assert watermark.outstanding == len(unfinished)
        assert all(offset >= watermark.position for offset in unfinished)
        edges = [edge for pair in watermark.ranges for edge in pair]
        assert edges == sorted(set(edges))
        assert not edges or edges[0] > watermark.position
        assert len(watermark.ranges) <= len(unfinished)


def test_an_offset_delivered_before_is_told_apart() -> None:
    watermark = Watermark(7)
    assert watermark.deliver(7)
    assert not watermark.deliver(7)
    assert not watermark.deliver(3)


def test_completing_twice_is_the_same_as_once() -> None:
    watermark = Watermark(0)
    for offset in range(4):
        watermark.deliver(offset)
    for offset in (2, 2, 0, 0):
        watermark.complete(offset)
    assert watermark.position == 1
    assert watermark.ranges == ((2, 3),)


def test_an_offset_that_was_never_delivered_cannot_be_done() -> None:
    with pytest.raises(ValueError, match="never delivered"):
        Watermark(5).complete(5)


def test_a_copy_does_not_change_its_original() -> None:
    watermark = Watermark(0)
    for offset in range(3):
        watermark.deliver(offset)
    assert watermark.copy().complete_all([0, 1, 2]) == 3
    assert watermark.position == 0
