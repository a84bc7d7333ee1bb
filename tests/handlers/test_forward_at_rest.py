"""A target that keeps failing is left alone, and comes back by one probe; over a real server."""

from __future__ import annotations

import asyncio
import logging

import pytest

from consumer.handlers.circuit import CircuitPolicy
from consumer.handlers.forward import Target
from hookline import PermanentError, RetryLater
from tests.handlers.http_server import HttpServer, silent, status
from tests.handlers.test_forward import an_event, failure, with_server


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_target_that_keeps_failing_rests_and_one_probe_brings_it_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hookline.forward")

    @with_server(status(500), status(500), status(500), status(500), status(200))
    async def _(server: HttpServer) -> None:
        clock = Clock()
        policy = CircuitPolicy(consecutive_failures=3, rest_s=5.0)
        target = Target(server.url("/secret-path"), circuit=policy, clock_s=clock)
        for _ in range(3):
            await failure(target)
        error = await failure(target)
        assert isinstance(error, RetryLater)
        assert error.after_s == 5.0
        assert "rests" in str(error)
        assert len(server.received) == 3
        clock.now_s = 5.0
        await failure(target)
        assert (await failure(target)).after_s == 10.0  # type: ignore[attr-defined]
        clock.now_s = 15.0
        results = await asyncio.gather(
            *(target.send(an_event()) for _ in range(10)), return_exceptions=True
        )
        assert sum(result is None for result in results) == 1
        assert len(server.received) == 5
        await target.send(an_event())

    assert [record.message for record in caplog.records] == [
        "a target keeps failing: its events wait",
        "a target works again",
    ]


def test_a_429_with_retry_after_keeps_the_target_at_rest_for_so_long() -> None:
    @with_server(status(429, retry_after="300"))
    async def _(server: HttpServer) -> None:
        policy = CircuitPolicy(consecutive_failures=1)
        target = Target(server.url(), circuit=policy, clock_s=Clock())
        await failure(target)
        error = await failure(target)
        assert isinstance(error, RetryLater)
        assert error.after_s == 300.0
        assert len(server.received) == 1


def test_refusals_do_not_open_the_circuit() -> None:
    @with_server(status(422))
    async def _(server: HttpServer) -> None:
        target = Target(server.url(), circuit=CircuitPolicy(consecutive_failures=2))
        for _ in range(5):
            assert isinstance(await failure(target), PermanentError)
        assert len(server.received) == 5


def test_a_probe_that_is_cancelled_does_not_keep_the_target_at_rest() -> None:
    @with_server(status(500), silent, status(200))
    async def _(server: HttpServer) -> None:
        clock = Clock()
        target = Target(server.url(), circuit=CircuitPolicy(consecutive_failures=1), clock_s=clock)
        await failure(target)
        clock.now_s = 5.0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(target.send(an_event()), 0.1)
        await target.send(an_event())
