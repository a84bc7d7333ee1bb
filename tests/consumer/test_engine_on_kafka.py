"""The engine against a real broker and a real SQLite store."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Limits
from consumer.stores.contract import Partition
from hookline import Event, Handlers, PermanentError, RetryLater, Transaction
from schemas.codec import DEAD_LETTER, EVENT
from tests.consumer.bench import Bench, inserting, until

pytestmark = pytest.mark.kafka


def test_each_event_has_one_effect_in_order_and_copies_have_none(bench: Bench) -> None:
    bench.send("a", "b", "a", "c", "b")
    bench.start(inserting())
    until(lambda: len(bench.effects()) >= 3)
    bench.send("c", "d")
    until(lambda: "d" in bench.effects())
    assert bench.effects() == ["a", "b", "c", "d"]


def test_a_restart_begins_at_the_stores_progress_whatever_kafka_says(bench: Bench) -> None:
    bench.send(*(f"e{n}" for n in range(50)))
    bench.start(inserting())
    until(lambda: len(bench.effects()) == 50)
    assert bench.stop()
    positions = bench.query("SELECT partition, next_offset FROM hookline_progress")
    committed = bench.committed()
    assert {p: o for p, o in positions if o is not None} == committed
    # Kafka's own offset goes back to the start: the store must win.
    bench.commit(dict.fromkeys(committed, 0))
    with sqlite3.connect(bench.path) as connection:
        connection.execute("DELETE FROM hookline_seen")
    bench.send("after")
    bench.start(inserting())
    until(lambda: "after" in bench.effects())
    assert len(bench.effects()) == 51


def test_a_failing_event_holds_its_own_key_only_and_order_survives_the_retries(
    bench: Bench,
) -> None:
    handlers = Handlers()
    fail = threading.Event()
    fail.set()

    @handlers.on("*")
    def flaky(event: Event, tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO effects (id, key) VALUES (?, ?)", (event.event_id, event.resource_id)
        )
        if event.event_id == "bad1" and fail.is_set():
            raise ConnectionError("not now")

    bench.send("bad0", "bad1", "bad2", resource="bad")
    bench.send("good0", "good1", resource="good")
    bench.start(handlers)
    until(lambda: {"bad0", "good0", "good1"} <= set(bench.effects()))
    time.sleep(0.3)
    assert set(bench.effects()) == {"bad0", "good0", "good1"}
    fail.clear()
    until(lambda: len(bench.effects()) == 5)
    assert [e for e in bench.effects() if str(e).startswith("bad")] == ["bad0", "bad1", "bad2"]


def test_poison_and_permanent_failures_become_dead_letters_and_the_rest_goes_on(
    bench: Bench,
) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def picky(event: Event, tx: Transaction) -> None:
        tx.execute("INSERT INTO effects (id, key) VALUES (?, ?)", (event.event_id, "x"))
        if event.event_id == "never":
            raise PermanentError("no retry helps")

    bench.send("first")
    for value in (b"", b"not avro", b"\xc3\x01" + b"x" * 40, None):
        bench.send_raw(value, b"k")
    bench.send_raw(EVENT.encode(_event())[:-3], None)
    bench.send("never", "last")
    bench.start(handlers)
    until(lambda: "last" in bench.effects() and len(bench.letters()) == 6)
    assert bench.effects() == ["first", "last"]
    assert sorted(map(str, bench.letters())) == [
        "not_single_object",
        "not_single_object",
        "permanent",
        "undecodable",
        "undecodable",
        "unknown_schema",
    ]
    kept = [DEAD_LETTER.decode(row[0]) for row in bench.query(  # type: ignore[arg-type]
        "SELECT letter FROM hookline_dead_letters ORDER BY number")]  # fmt: skip
    assert {letter.value for letter in kept} >= {b"not avro", None}
    until(lambda: sum(bench.committed().values()) == 8)


def test_a_spent_budget_skips_by_policy_and_the_lane_goes_on(bench: Bench) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def hopeless(event: Event, tx: Transaction) -> None:
        if event.event_id == "bad":
            raise RetryLater("later", after_s=0.01)
        tx.execute("INSERT INTO effects (id, key) VALUES (?, ?)", (event.event_id, "x"))

    bench.send("bad", "good")
    bench.start(
        handlers, backoff=Backoff(initial_s=0.01, max_s=0.02, budget_s=0.2), policy=Policy.SKIP
    )
    until(lambda: bench.effects() == ["good"])
    assert bench.letters() == ["exhausted"]


def test_external_handlers_run_side_by_side_and_in_order_per_key(bench: Bench) -> None:
    handlers = Handlers()
    calls: list[tuple[str, str]] = []
    running = 0
    most = 0

    @handlers.on("*")
    async def call(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        calls.append((event.resource_id, event.event_id))
        running -= 1

    for n in range(5):
        for resource in "abcdefgh":
            bench.send(f"{resource}{n}", resource=resource)
    bench.send("a0", resource="a")
    bench.start(handlers)
    until(lambda: sum(bench.committed().values()) == 41)
    assert len(calls) == 40
    assert most >= 6
    for resource in "abcdefgh":
        assert [e for r, e in calls if r == resource] == [f"{resource}{n}" for n in range(5)]


def test_an_external_failure_is_tried_again_and_a_permanent_one_is_buried(bench: Bench) -> None:
    handlers = Handlers()
    attempts: list[str] = []

    @handlers.on("*")
    def call(event: Event) -> None:
        attempts.append(event.event_id)
        if event.event_id == "flaky" and attempts.count("flaky") < 3:
            raise ConnectionError
        if event.event_id == "never":
            raise PermanentError("no")

    bench.send("flaky", "never", "last")
    bench.start(handlers)
    until(lambda: sum(bench.committed().values()) == 3)
    assert attempts == ["flaky", "flaky", "flaky", "never", "last"]
    assert bench.letters() == ["permanent"]


def test_stopping_lets_what_runs_end_and_commits_it(bench: Bench) -> None:
    handlers = Handlers()
    entered = threading.Event()

    @handlers.on("*")
    def slow(event: Event, tx: Transaction) -> None:
        entered.set()
        time.sleep(0.5)
        tx.execute("INSERT INTO effects (id, key) VALUES (?, ?)", (event.event_id, "x"))

    bench.send("slow")
    bench.start(handlers)
    assert entered.wait(20)
    assert bench.stop()
    assert bench.effects() == ["slow"]
    assert sum(bench.committed().values()) == 1


def test_a_handler_that_never_ends_does_not_hold_up_the_stop(bench: Bench) -> None:
    handlers = Handlers()
    entered, release = threading.Event(), threading.Event()

    @handlers.on("*")
    def stuck(event: Event) -> None:
        entered.set()
        release.wait(60)

    bench.send("stuck")
    engine = bench.start(handlers, limits=Limits(drain_deadline_s=1.0))
    assert entered.wait(20)
    began_s = time.monotonic()
    assert not engine.stop()
    release.set()
    assert time.monotonic() - began_s < 10
    assert sum(bench.committed().values()) == 0


def test_a_zombie_is_fenced_and_the_rightful_owner_claims_again(bench: Bench) -> None:
    bench.send("a")
    engine = bench.start(inserting())
    until(lambda: bench.effects() == ["a"])
    # Somebody else claims every partition in the store: what we do must not count any more.
    with sqlite3.connect(bench.path) as connection:
        connection.execute("UPDATE hookline_progress SET epoch = epoch + 1")
    bench.send("b")
    until(lambda: "b" in bench.effects())
    assert bench.effects() == ["a", "b"]
    partitions = {Partition(bench.topic, n) for n in range(2)}
    assert engine.poll_thread.assigned == partitions
    epochs = {row[0] for row in bench.query("SELECT epoch FROM hookline_progress")}
    assert 3 in epochs


def test_a_full_buffer_pauses_and_nothing_is_lost(bench: Bench) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def slow(event: Event, tx: Transaction) -> None:
        time.sleep(0.002)
        tx.execute("INSERT INTO effects (id, key) VALUES (?, ?)", (event.event_id, "x"))

    bench.send(*(f"e{n}" for n in range(1500)))
    bench.start(handlers, limits=Limits(max_buffered_events=50, max_batch_events=400))
    until(lambda: len(bench.effects()) == 1500, 60)
    assert bench.effects() == [f"e{n}" for n in range(1500)]


def _event() -> Event:
    return Event(
        request_id=b"r" * 16,
        environment="test",
        tenant="acme",
        connection="shop",
        provider="hmac",
        event_id="cut",
        event_type="x.y",
        resource_type="order",
        resource_id="1",
        received_at_us=1,
        payload=b"{}",
    )


def test_partitions_added_to_a_live_topic_wait_until_the_older_ones_are_drained(
    bench: Bench,
) -> None:
    handlers = Handlers()
    gate = threading.Event()
    applied: list[tuple[str, str]] = []

    @handlers.on("*")
    async def apply(event: Event) -> None:
        while event.event_id == "first" and not gate.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.05)
        applied.append((event.resource_id, event.event_id))

    keys = [str(n) for n in range(40)]
    bench.send("first", resource="0")
    for key in keys:
        bench.send(f"old-{key}", resource=key)
    bench.start(handlers)
    until(lambda: len(applied) >= 39)
    admin = AdminClient({"bootstrap.servers": bench.broker.bootstrap_servers})
    admin.create_partitions([NewPartitions(bench.topic, 6)])[bench.topic].result(20)
    bench.renew_producer()
    for key in keys:
        bench.send(f"new-{key}", resource=key)
    until(lambda: len(bench.engines[0].poll_thread.assigned) == 6, 60)
    # A key whose later event went to an older partition goes on there, behind its earlier one.
    moved = {key for key in keys if max(bench.partitions_of(key)) >= 2}
    until(lambda: len(applied) >= 79 - len(moved))
    time.sleep(1.5)
    assert len(moved) > 10
    assert not any(e.startswith("new") and k in moved for k, e in applied)
    gate.set()
    until(lambda: len(applied) == 81, 60)
    for key in keys:
        assert [e for k, e in applied if k == key and e != "first"] == [f"old-{key}", f"new-{key}"]
