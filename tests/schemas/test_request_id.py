"""The request id is time and randomness, and a trace id that samples as it should."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from schemas import request_id

NOW_MS = 1_764_000_000_000


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_it_holds_the_time_and_the_randomness_and_is_the_trace_id(
    unix_ms: int, randomness: bytes
) -> None:
    made = request_id.make(unix_ms, randomness)
    assert len(made) == request_id.SIZE_BYTES == 16
    assert request_id.unix_ms(made) == unix_ms
    assert made[6:] == randomness
    assert request_id.parse(made.hex()) == made
    assert f"{request_id.trace_id(made):032x}" == made.hex()


def test_a_later_one_sorts_behind_an_earlier_one() -> None:
    ids = [request_id.make(NOW_MS + ms, random.randbytes(10)) for ms in range(100)]
    assert sorted(ids) == ids
    assert sorted(made.hex() for made in ids) == [made.hex() for made in ids]


def test_a_time_beyond_48_bits_costs_no_request() -> None:
    assert len(request_id.make(2**48 + 5, bytes(10))) == 16


@pytest.mark.parametrize("size", [0, 9, 11])
def test_any_other_amount_of_randomness_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="needs 10 random bytes"):
        request_id.make(NOW_MS, bytes(size))


@pytest.mark.parametrize("text", ["", "ab", "g" * 32, "ab" * 17, "0x" + "ab" * 15, "é" * 32])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"32 hex digits|hexadecimal"):
        request_id.parse(text)


@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.1, 0.01])
def test_at_half_and_below_the_ratio_is_what_is_sampled(ratio: float) -> None:
    count = 20_000
    ids = [request_id.make(NOW_MS, random.randbytes(10)) for _ in range(count)]
    bound = TraceIdRatioBased(ratio).bound
    sampled = sum(request_id.sampled(made, bound) for made in ids)
    assert abs(sampled - count * ratio) <= 6 * (count * ratio * (1 - ratio)) ** 0.5


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.1, 0.0])
def test_opentelemetrys_sampler_decides_the_same(ratio: float) -> None:
    sampler = TraceIdRatioBased(ratio)
    for _ in range(2_000):
        made = request_id.make(NOW_MS, random.randbytes(10))
        decision = sampler.should_sample(None, request_id.trace_id(made), "span").decision
        assert request_id.sampled(made, sampler.bound) == (decision is Decision.RECORD_AND_SAMPLE)


def test_a_uuid_of_version_7_would_never_be_sampled_at_half() -> None:
    bound = TraceIdRatioBased(0.5).bound
    for _ in range(2_000):
        made = bytearray(request_id.make(NOW_MS, random.randbytes(10)))
        made[8] = 0x80 | made[8] & 0x3F  # RFC 9562's variant
        assert not request_id.sampled(bytes(made), bound)
