"""How ranges are cut: few buckets, whole ones, and nothing counted twice or left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.monitor.buckets import GRAINS, US, WEEK_S, cut, whole
from consumer.monitor.contract import MAX_BUCKETS, MAX_RANGE_S, Range

_ranges = st.builds(
    lambda since_us, length_us: Range(since_us, since_us + length_us),
    st.integers(10**15, 2 * 10**15),
    st.integers(1, MAX_RANGE_S * US),
)
_kept = st.fixed_dictionaries({}, optional={g: st.integers(0, 2 * 10**9) for g in GRAINS})


@given(_ranges, _kept)
def test_a_range_has_few_buckets_and_ends_in_the_last(asked: Range, kept: dict[int, int]) -> None:
    found = cut(asked, kept)
    assert (found.until_s - found.since_s) % found.bucket_s == 0
    assert 1 <= (found.until_s - found.since_s) // found.bucket_s <= MAX_BUCKETS
    assert 0 <= found.until_s * US - asked.until_us < found.bucket_s * US
    assert abs(found.since_s * US - asked.since_us) < found.bucket_s * US
    assert WEEK_S % found.bucket_s == 0
    (piece,) = found.pieces
    assert found.bucket_s % piece.grain_s == 0
    assert piece.since_s % piece.grain_s == 0


@given(_ranges, _kept)
def test_the_pieces_of_a_whole_are_its_range_without_gaps(
    asked: Range, kept: dict[int, int]
) -> None:
    found = whole(asked, kept)
    assert found.since_s * US <= asked.since_us < asked.until_us <= found.until_s * US
    place = found.since_s
    for piece in found.pieces:
        assert piece.since_s == place < piece.until_s
        assert piece.since_s % piece.grain_s == piece.until_s % piece.grain_s == 0
        place = piece.until_s
    assert place == found.until_s


@pytest.mark.parametrize(
    ("minutes", "bucket_s", "count"),
    [(15, 60, 15), (60, 60, 60), (120, 60, 120), (360, 300, 72), (1440, 1200, 72),
     (7 * 1440, 7200, 84), (30 * 1440, 21_600, 120)],
)  # fmt: skip
def test_the_usual_ranges(minutes: int, bucket_s: int, count: int) -> None:
    until_us = 1_764_028_800 * US
    found = cut(Range(until_us - minutes * 60 * US, until_us), {})
    assert (found.bucket_s, len(range(found.since_s, found.until_s, found.bucket_s))) == (
        bucket_s,
        count,
    )


def test_minutes_that_are_gone_are_answered_from_what_is_kept() -> None:
    until_us = 1_764_028_800 * US
    found = cut(Range(until_us - 900 * US, until_us), {60: 1_764_028_000})
    assert [piece.grain_s for piece in found.pieces] == [600]


@pytest.mark.parametrize("length_us", [0, -1, MAX_RANGE_S * US + 1])
def test_a_range_of_nothing_or_too_much_is_refused(length_us: int) -> None:
    with pytest.raises(ValueError, match="range"):
        cut(Range(10**15, 10**15 + length_us), {})
