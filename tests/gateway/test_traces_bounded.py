"""However many requests are sampled, only so many a second have a trace."""

from __future__ import annotations

import pytest

from producer.gateway.tracing import GatewayTracing
from schemas import request_id as request_ids

EVERYTHING = 1 << 64


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def begun(tracing: GatewayTracing, requests: int) -> int:
    count = 0
    for number in range(requests):
        request_id = request_ids.make(1_764_000_000_000, number.to_bytes(10, "big"))
        trace = tracing.begin(request_id, "shop", {}, 0)  # type: ignore[arg-type]
        if trace is not None:
            count += 1
            trace.end(200, {})
    return count


def test_a_burst_has_five_seconds_worth_and_then_the_rate() -> None:
    clock = Clock()
    tracing = GatewayTracing(EVERYTHING, 20.0, clock)
    assert begun(tracing, 1_000) == 100
    clock.now_s += 1.0
    assert begun(tracing, 1_000) == 20
    clock.now_s += 0.5
    assert begun(tracing, 1_000) == 10
    clock.now_s += 3_600.0
    assert begun(tracing, 1_000) == 100


@pytest.mark.parametrize("requests", [1, 7])
def test_few_requests_all_have_theirs(requests: int) -> None:
    clock = Clock()
    tracing = GatewayTracing(EVERYTHING, 20.0, clock)
    for _ in range(100):
        assert begun(tracing, requests) == requests
        clock.now_s += 1.0


def test_without_a_bound_all_have_theirs() -> None:
    assert begun(GatewayTracing(EVERYTHING), 1_000) == 1_000


def test_a_request_that_is_not_sampled_takes_no_place() -> None:
    clock = Clock()
    tracing = GatewayTracing(1, 20.0, clock)
    # Its low 64 bits are not below 1.
    request_id = request_ids.make(1_764_000_000_000, b"\xff" * 10)
    for _ in range(1_000):
        assert tracing.begin(request_id, "shop", {}, 0) is None  # type: ignore[arg-type]
    assert tracing._left == 100.0
