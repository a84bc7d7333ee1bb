"""Sampling of executions: unbiased, the same everywhere, and what is remarkable is always there."""

from __future__ import annotations

import random

import pytest

from schemas import request_id
from schemas.execution_sampling import ExecutionSampling


def ids(count: int) -> list[bytes]:
    draw = random.Random(7)
    return [request_id.make(1_800_000_000_000 + n, draw.randbytes(10)) for n in range(count)]


@pytest.mark.parametrize("one_in", [1, 2, 3, 10, 100, 1000])
def test_the_weights_add_up_to_what_happened(one_in: int) -> None:
    sampling = ExecutionSampling(one_in)
    # One in 20 is remarkable: those are counted one by one, and not a second time by the others.
    of = [(i, n % 20 == 0) for n, i in enumerate(ids(200_000))]
    kept = [w for i, bad in of if (w := sampling.weight(i, 10, remarkable=bad))]
    chosen = 190_000 / one_in
    # Five standard deviations of a binomial count, in weights.
    assert abs(sum(kept) - 200_000) <= 5 * one_in * (chosen * (1 - 1 / one_in)) ** 0.5
    assert set(kept) == {1, one_in}
    assert len(kept) == 10_000 + sum(sampling.chosen(i) for i, bad in of if not bad)


def test_what_is_remarkable_or_slow_is_always_kept_and_stands_for_itself() -> None:
    sampling = ExecutionSampling(1000, slow_us=5_000)
    for one in ids(500):
        assert sampling.weight(one, 0, remarkable=True) == 1
        assert sampling.weight(one, 5_000, remarkable=False) == 1
    assert sum(sampling.weight(i, 4_999, remarkable=False) > 0 for i in ids(500)) < 10


def test_off_keeps_nothing_and_one_keeps_all() -> None:
    off, everything = ExecutionSampling(0), ExecutionSampling(1)
    for one in [*ids(100), b"\xff" * 16, bytes(16)]:
        assert off.weight(one, 10**9, remarkable=True) == 0
        assert not off.chosen(one)
        assert everything.weight(one, 0, remarkable=False) == 1
    assert off.off
    assert not everything.off


def test_a_trace_that_is_sampled_as_rarely_has_its_execution() -> None:
    sampling = ExecutionSampling(10)
    traced = [i for i in ids(20_000) if request_id.sampled(i, (1 << 64) // 10)]
    assert len(traced) > 1_500
    assert all(map(sampling.chosen, traced))


def test_a_request_chosen_at_one_in_a_hundred_is_chosen_at_one_in_ten_too() -> None:
    few, many = ExecutionSampling(100), ExecutionSampling(10)
    chosen = [i for i in ids(20_000) if few.chosen(i)]
    assert chosen
    assert all(map(many.chosen, chosen))
