"""Handlers and payloads that a consumer must survive: what a reviewer broke it with."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumer.core.backoff import Backoff
from consumer.engine import apply_runs
from consumer.engine.commands import ExternalDone, Limits
from hookline import Event, Handlers, PermanentError, RetryLater, Transaction
from schemas.codec import EVENT
from schemas.errors import ConfigurationError, TransactionEnded
from tests.consumer.rig import P, Rig, event


def insert(event: Event, tx: Transaction) -> None:
    tx.execute("INSERT INTO effects VALUES (?)", (event.event_id,))


def test_a_task_that_a_handler_leaves_behind_writes_into_no_other_events_effect(
    tmp_path: Path,
) -> None:
    handlers = Handlers()
    attempts: list[str] = []

    @handlers.on("*")
    async def pay(event: Event, tx: Transaction) -> None:
        async def slowly() -> None:
            await asyncio.sleep(0.01)
            insert(event, tx)

        async def check() -> None:
            attempts.append(event.event_id)
            if attempts.count("pay") == 1 and event.event_id == "pay":
                raise ConnectionError

        await asyncio.gather(slowly(), check())

    rig = Rig(handlers, tmp_path)
    rig.log(event("pay", "1"), event("other", "2"))
    rig.settle()
    rig.later(10)
    assert sorted(rig.effects()) == ["other", "pay"]


def test_a_transaction_that_is_kept_beyond_its_call_writes_nothing(tmp_path: Path) -> None:
    handlers = Handlers()
    kept: list[Transaction] = []

    @handlers.on("*")
    def keep(event: Event, tx: Transaction) -> None:
        kept.append(tx)
        if event.event_id == "bad":
            raise PermanentError
        with pytest.raises(TransactionEnded, match="after its handler had returned"):
            kept[0].execute("INSERT INTO effects VALUES ('from another')")
        insert(event, tx)

    rig = Rig(handlers, tmp_path)
    rig.log(event("bad", "1"), event("good", "2"))
    rig.settle()
    assert rig.effects() == ["good"]


def _plain_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(event: Event, tx: Transaction) -> Any:
        return function(event, tx)

    return wrapper


def test_a_coroutine_that_nobody_awaits_is_a_failure_and_not_done(tmp_path: Path) -> None:
    handlers = Handlers()

    @handlers.on("*")
    @_plain_wrapper
    async def apply(event: Event, tx: Transaction) -> None:
        insert(event, tx)

    rig = Rig(handlers, tmp_path)
    rig.log(event("e"))
    rig.settle()
    assert rig.effects() == []
    assert rig.dispatcher.ownership.position(P) == 0


def test_a_generator_is_refused_as_a_handler() -> None:
    handlers = Handlers()

    def generator(event: Event) -> Any:
        yield event

    async def async_generator(event: Event) -> Any:
        yield event

    for function in (generator, async_generator):
        with pytest.raises(ConfigurationError, match="take out `yield`"):
            handlers.on("*")(function)


def test_deletes_without_looking_at_versions_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="would bring the resource back"):
        Handlers().on("*", deletes=True)
    with pytest.raises(ConfigurationError, match="would bring the resource back"):
        Handlers().batch("*", deletes=True)


@pytest.mark.parametrize("tail", [b"\xff" * 4_000_000, b"\x80" * 4_000_000])
def test_a_number_without_end_is_refused_at_once(tmp_path: Path, tail: bytes) -> None:
    whole = EVENT.encode(event("e", resource_version=7))
    poison = whole[: whole.index(b"\x02", 60)] + b"\x02" + tail
    rig = Rig(Handlers(), tmp_path)
    began_s = time.monotonic()
    rig.log(poison, key=b"k")
    rig.settle()
    # It took minutes: this is no figure, only far from that.
    assert time.monotonic() - began_s < 5
    assert rig.letters() == ["undecodable"]


def test_an_event_that_breaks_its_transaction_at_the_end_is_disposed_of_by_itself(
    tmp_path: Path,
) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def order(event: Event, tx: Transaction) -> None:
        customer = 999 if event.event_id == "bad" else 1
        tx.execute("INSERT INTO effects VALUES (?, ?)", (event.event_id, customer))

    rig = Rig(
        handlers,
        tmp_path,
        schema="""
        CREATE TABLE customers (id INTEGER PRIMARY KEY);
        INSERT INTO customers VALUES (1);
        CREATE TABLE effects (id TEXT, customer INTEGER REFERENCES customers (id)
            DEFERRABLE INITIALLY DEFERRED);
        """,
        backoff=Backoff(initial_s=0.1, max_s=0.2, budget_s=1.0),
    )
    rig.log(*(event("bad" if n == 10 else f"e{n}", str(n)) for n in range(60)))
    for _ in range(100):
        rig.later(0.1)
        if rig.parked():
            break
    assert len(rig.effects()) == 59
    assert rig.parked() == 1
    assert rig.dispatcher.ownership.position(P) == 60


def test_one_slow_key_does_not_hold_up_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_runs, "_EFFECTS_NS", 20_000_000)
    handlers = Handlers()

    @handlers.on("*")
    def slow(event: Event, tx: Transaction) -> None:
        if event.event_id.startswith("slow"):
            time.sleep(0.005)
        insert(event, tx)

    rig = Rig(handlers, tmp_path)
    rig.log(*(event(f"slow{n}", "slow") for n in range(60)), event("quick", "quick"))
    rig.step()
    rig.step()
    assert "quick" in rig.effects()
    assert len(rig.effects()) < 30
    rig.settle()
    assert [e for e in rig.effects() if e != "quick"] == [f"slow{n}" for n in range(60)]


@pytest.mark.parametrize("after_s", [3600.0, 1.8e12, math.inf, math.nan, -5.0, 1e300])
def test_whatever_a_handler_asks_to_wait_for_the_consumer_goes_on(
    tmp_path: Path, after_s: float
) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def later(event: Event, tx: Transaction) -> None:
        if event.event_id == "wait":
            raise RetryLater("429", after_s=after_s)
        insert(event, tx)

    rig = Rig(handlers, tmp_path)
    rig.log(event("wait", "1"), event("behind", "1"), event("good", "2"))
    rig.settle()
    patience_s = rig.dispatcher.patience_s()
    assert patience_s is not None
    assert 0 < patience_s <= 3600
    assert rig.effects() == ["good"]
    if after_s >= 3600:
        # Beyond the budget: parked at once, so that it takes no memory.
        assert rig.parked() == 2


def test_a_key_that_fails_while_memory_is_short_is_parked_at_once(tmp_path: Path) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def failing(event: Event, tx: Transaction) -> None:
        raise ConnectionError

    rig = Rig(handlers, tmp_path, limits=Limits(max_buffered_events=10))
    rig.log(*(event(f"e{n}") for n in range(10)))
    assert rig.dispatcher.full
    rig.settle()
    assert not rig.dispatcher.full
    assert rig.parked() == 10


def test_a_failed_event_is_let_go_of(tmp_path: Path) -> None:
    class Large:
        pass

    handlers = Handlers()
    seen: list[weakref.ref[Large]] = []

    @handlers.on("*")
    def failing(event: Event, tx: Transaction) -> None:
        large = Large()
        seen.append(weakref.ref(large))
        try:
            raise KeyError(large)
        except KeyError as error:
            raise PermanentError("no") from error

    rig = Rig(handlers, tmp_path)
    gc.collect()
    gc.disable()
    try:
        rig.log(event("e"))
        rig.settle()
        rig.results.clear()
        frames = seen[0]()
        assert frames is None or not any(
            type(holder).__name__ == "frame" for holder in gc.get_referrers(frames)
        )
    finally:
        gc.enable()


def test_what_an_error_says_is_in_no_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def failing(event: Event, tx: Transaction) -> None:
        try:
            raise KeyError("canary-card-4111")
        except KeyError as error:
            raise ConnectionError("canary-token") from error

    caplog.set_level(logging.DEBUG)
    rig = Rig(handlers, tmp_path)
    rig.log(event("e"))
    rig.settle()
    (line,) = [record for record in caplog.records if record.getMessage() == "a handler failed"]
    assert "canary" not in str(line.__dict__)
    places = line.data["at"]  # type: ignore[attr-defined]
    assert "ConnectionError" in places
    assert any("test_hard_handlers.py" in place and "in failing" in place for place in places)


def test_an_earlier_call_of_a_key_ends_before_its_next_life_begins(tmp_path: Path) -> None:
    handlers = Handlers()

    @handlers.on("*")
    async def call(event: Event) -> None:
        """Run by the test."""

    rig = Rig(handlers, tmp_path)
    rig.log(event("e1"), event("x", "2"))
    rig.settle()
    assert len(rig.started) == 2
    before = rig.started[0]
    rig.lose()
    rig.claim()
    rig.offset = 0
    rig.log(event("e1"), event("y", "3"))
    rig.settle()
    rig.later(1)
    # The other key's event runs; e1 waits for the call that is still under way.
    assert [run.items[0].event.event_id for run in rig.started[2:]] == ["y"]  # type: ignore[union-attr]

    rig.dispatcher.obey(ExternalDone(before, None))
    rig.later(1)
    assert [run.items[0].event.event_id for run in rig.started[2:]] == ["y", "e1"]  # type: ignore[union-attr]


def test_handlers_that_hang_on_threads_leave_async_ones_their_places(tmp_path: Path) -> None:
    handlers = Handlers()
    release = threading.Event()
    done: list[str] = []

    @handlers.on("order.*")
    def hang(event: Event) -> None:
        release.wait(30)

    @handlers.on("mail.*")
    async def mail(event: Event) -> None:
        done.append(event.event_id)

    rig = Rig(handlers, tmp_path, limits=Limits(concurrency=8, threads=2), threads=True)
    rig.log(*(event(f"h{n}", f"h{n}") for n in range(20)))
    rig.settle()
    rig.log(event("m", "m", event_type="mail.sent"))
    deadline_s = time.monotonic() + 10
    while not done and time.monotonic() < deadline_s:
        rig.settle()
        time.sleep(0.01)
    assert done == ["m"]
    release.set()
    rig.external.close()


def test_a_late_look_at_the_event_loop_is_no_alarm_and_a_blocked_one_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consumer.engine import external

    monkeypatch.setattr(external, "BLOCKED_S", 0.3)
    rig = Rig(Handlers(), tmp_path, threads=True)
    handlers = rig.external
    handlers.look()
    time.sleep(0.5)
    handlers.look()
    assert "blocks the event loop" not in caplog.text
    block = threading.Event()
    handlers._loop.call_soon_threadsafe(block.wait, 5)
    time.sleep(0.05)
    handlers.look()
    time.sleep(0.5)
    handlers.look()
    assert "blocks the event loop" in caplog.text
    block.set()
    handlers.close()


def test_events_that_the_log_has_lost_before_they_were_handled_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = Handlers()
    handlers.on("*")(insert)
    rig = Rig(handlers, tmp_path)
    rig.log(event("e"))
    rig.settle()
    rig.claim()
    rig.offset = 500
    rig.log(event("f"))
    assert "gone from the log" in caplog.text
