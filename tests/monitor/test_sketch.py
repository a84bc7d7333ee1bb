"""Percentiles are within the stated error of the true ones, and sketches add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.monitor.contract import RELATIVE_ERROR
from consumer.monitor.sketch import MAX_NS, Bins, add, base, count, pack, quantiles, unpack

_durations = st.integers(0, MAX_NS)
_SHARES = (0.0, 0.5, 0.95, 0.99, 1.0)


def _sketch(values: list[int], measure: int = 3, weight: int = 1) -> Bins:
    bins: Bins = {}
    for value in values:
        count(bins, base(measure), value, weight)
    return bins


@given(st.lists(_durations, min_size=1, max_size=200), st.integers(0, 31), st.integers(1, 300))
def test_every_percentile_is_within_the_relative_error(
    values: list[int], measure: int, weight: int
) -> None:
    total, found = quantiles(_sketch(values, measure, weight), (measure,), _SHARES)[measure]
    assert total == len(values) * weight
    exact = sorted(value for value in values for _ in range(weight))
    for share, quantile in zip(_SHARES, found, strict=True):
        true = exact[int(share * (total - 1))]
        assert abs(quantile - true) <= RELATIVE_ERROR * true + 1


@given(st.lists(_durations, max_size=60), st.lists(_durations, max_size=60))
def test_two_sketches_add_up_to_the_sketch_of_both(some: list[int], more: list[int]) -> None:
    both = _sketch(some)
    add(both, _sketch(more))
    assert both == _sketch(some + more)


@given(
    st.dictionaries(st.integers(0, 0xFFFF), st.integers(1, 2**63 - 1), max_size=300),
    st.dictionaries(st.integers(0, 0xFFFF), st.integers(1, 2**62), max_size=300),
)
def test_what_is_packed_is_there_again_and_adds_up(some: Bins, more: Bins) -> None:
    into: Bins = {}
    unpack(pack(some), into)
    assert into == some
    unpack(pack(more), into)
    expected = dict(some)
    add(expected, more)
    assert into == expected


def test_a_measure_does_not_reach_into_its_neighbour() -> None:
    bins: Bins = {}
    for measure in range(32):
        count(bins, base(measure), 0, 1)
        count(bins, base(measure), 10 * MAX_NS, 1)
        count(bins, base(measure), -5, 1)
    found = quantiles(bins, range(32), (0.0, 1.0))
    assert {total for total, _ in found.values()} == {3}
    for _, (lowest, highest) in found.values():
        assert lowest == 0
        assert abs(highest - MAX_NS) <= RELATIVE_ERROR * MAX_NS


def test_a_thousand_values_of_a_request_take_little_room() -> None:
    spread = [int(1e6 * 1.002**n) for n in range(1000)]
    assert len(pack(_sketch(spread))) < 400
