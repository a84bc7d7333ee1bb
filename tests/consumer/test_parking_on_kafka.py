"""Parking, redrive, staleness and batches against a real broker and a real SQLite store."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Limits, ParkingLimits
from hookline import Event, Handlers, PermanentError, Transaction
from hookline.commands import dead_letters as dead_letters_command
from hookline.commands import parked as parked_command
from tests.consumer.bench import FAST, HASTY, SOON, Bench, inserting, put, until
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

#: A key that is parked stays so until somebody asks.
NEVER = ParkingLimits(backoff=Backoff(initial_s=600, max_s=600), scan_every_s=0.1)


class Flaky:
    """A handler that fails for the events in `bad`, for now or for good."""

    def __init__(self, *bad: str, error: type[Exception] = ConnectionError) -> None:
        self.bad = set(bad)
        self.calls: list[str] = []
        self.handlers = Handlers()
        self._error = error
        self.handlers.on("*")(self.handle)

    def handle(self, event: Event, tx: Transaction) -> None:
        self.calls.append(event.event_id)
        put(event, tx)
        if event.event_id in self.bad:
            raise self._error(event.event_id)


def parked(bench: Bench) -> int:
    return len(bench.query("SELECT 1 FROM hookline_parked"))


def operator(bench: Bench, command: object, *arguments: str) -> Result:
    config = bench.path.parent / "hookline.yaml"
    settings = {
        "consumer": {"group": bench.group, "store": f"sqlite:///{bench.path}"},
        "audit": {"required": False},
    }
    config.write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(command, [*arguments, "--config", str(config)])  # type: ignore[arg-type]
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def test_a_spent_budget_parks_the_key_and_the_partition_moves_on(bench: Bench) -> None:
    flaky = Flaky("bad1")
    bench.send("bad0", "bad1", "bad2", "bad3", resource="bad")
    bench.send("good0", "good1", resource="good")
    bench.start(flaky.handlers, backoff=HASTY, parking=NEVER)
    until(lambda: parked(bench) == 3)
    until(lambda: sum(bench.committed().values()) == 6)
    assert sorted(map(str, bench.effects())) == ["bad0", "good0", "good1"]
    bench.send("bad4", resource="bad")
    bench.send("good2", resource="good")
    until(lambda: parked(bench) == 4 and "good2" in bench.effects())
    reasons = bench.query("SELECT reason FROM hookline_parked ORDER BY offset")
    assert [row[0] for row in reasons] == ["exhausted", "behind", "behind", "behind"]


def test_a_parked_key_is_tried_again_by_itself_and_keeps_its_order(bench: Bench) -> None:
    flaky = Flaky("e1")
    bench.send(*(f"e{n}" for n in range(30)))
    bench.start(flaky.handlers, backoff=HASTY)
    until(lambda: parked(bench) == 29)
    bench.send(*(f"e{n}" for n in range(30, 40)))
    until(lambda: parked(bench) == 39)
    flaky.bad.clear()
    until(lambda: len(bench.effects()) == 40)
    assert bench.effects() == [f"e{n}" for n in range(40)]
    until(lambda: bench.query("SELECT * FROM hookline_parked_keys") == [])
    bench.send("last")
    until(lambda: "last" in bench.effects())


def test_parked_events_keep_their_order_through_a_restart(bench: Bench) -> None:
    flaky = Flaky("e1")
    bench.send(*(f"e{n}" for n in range(5)))
    bench.start(flaky.handlers, backoff=HASTY, parking=NEVER)
    until(lambda: parked(bench) == 4)
    assert bench.stop()
    bench.send("e5", "e6")
    flaky.bad.clear()
    bench.start(flaky.handlers, backoff=HASTY, parking=NEVER)
    # The new owner knows that the key is parked: what comes later queues behind.
    until(lambda: parked(bench) == 6)
    assert bench.effects() == ["e0"]
    key = operator(bench, parked_command.command, "list", "--json").output
    assert '"key": "acme/shop/order/1"' in key
    operator(bench, parked_command.command, "retry", "acme/shop/order/1")
    until(lambda: len(bench.effects()) == 7)
    assert bench.effects() == [f"e{n}" for n in range(7)]


def test_copies_of_parked_events_have_no_second_effect(bench: Bench) -> None:
    flaky = Flaky("a")
    bench.send("a", "b", "a", "b")
    bench.start(flaky.handlers, backoff=HASTY, parking=NEVER)
    until(lambda: parked(bench) == 4)
    flaky.bad.clear()
    operator(bench, parked_command.command, "retry", "--all")
    until(lambda: parked(bench) == 0)
    bench.send("a")
    bench.send("c")
    until(lambda: "c" in bench.effects())
    assert bench.effects() == ["a", "b", "c"]


def test_external_handlers_park_and_come_back_in_order(bench: Bench) -> None:
    handlers = Handlers()
    bad = {"e1"}
    calls: list[str] = []

    @handlers.on("*")
    async def call(event: Event) -> None:
        await asyncio.sleep(0)
        if event.event_id in bad:
            raise ConnectionError
        calls.append(event.event_id)

    bench.send(*(f"e{n}" for n in range(6)))
    bench.start(handlers, backoff=HASTY, parking=NEVER)
    until(lambda: parked(bench) == 5)
    bad.clear()
    operator(bench, parked_command.command, "retry", "--connection", "shop")
    until(lambda: parked(bench) == 0)
    bench.send("e6")
    until(lambda: len(calls) == 7)
    assert calls == [f"e{n}" for n in range(7)]


def test_a_parked_event_that_fails_for_good_is_buried_and_frees_its_key(bench: Bench) -> None:
    flaky = Flaky("e1")
    bench.send("e0", "e1", "e2")
    bench.start(flaky.handlers, backoff=HASTY, parking=NEVER)
    until(lambda: parked(bench) == 2)
    flaky._error = PermanentError
    operator(bench, parked_command.command, "retry", "--all")
    until(lambda: bench.effects() == ["e0", "e2"])
    assert bench.letters() == ["permanent"]
    assert parked(bench) == 0


def test_a_key_that_is_parked_for_too_long_gives_its_event_up(bench: Bench) -> None:
    flaky = Flaky("e0")
    bench.send("e0", "e1")
    impatient = ParkingLimits(
        backoff=Backoff(initial_s=0.05, max_s=0.1), scan_every_s=0.1, give_up_after_s=0.5
    )
    bench.start(flaky.handlers, backoff=HASTY, parking=impatient)
    until(lambda: bench.effects() == ["e1"])
    assert bench.letters() == ["parked_exhausted"]


def test_without_room_to_park_the_key_waits_and_nothing_is_lost(bench: Bench) -> None:
    flaky = Flaky("e0")
    bench.send("e0", "e1", "e2", "e3")
    bench.send("other", resource="2")
    tight = ParkingLimits(backoff=Backoff(initial_s=600, max_s=600), max_events=2)
    bench.start(flaky.handlers, backoff=HASTY, parking=tight)
    # The bound is looked at once a batch: this one is parked whole.
    until(lambda: parked(bench) == 4 and "other" in bench.effects())
    bench.send("e4")
    time.sleep(0.5)
    assert parked(bench) == 4
    assert sum(bench.committed().values()) <= 5
    flaky.bad.clear()
    operator(bench, parked_command.command, "retry", "--all")
    until(lambda: len(bench.effects()) == 6)
    assert [e for e in bench.effects() if e != "other"] == [f"e{n}" for n in range(5)]


def test_redriven_letters_are_handled_in_the_order_of_the_log(bench: Bench) -> None:
    flaky = Flaky("e1", "e3", error=PermanentError)
    bench.send(*(f"e{n}" for n in range(5)))
    bench.start(flaky.handlers, backoff=FAST, parking=NEVER)
    until(lambda: len(bench.letters()) == 2 and len(bench.effects()) == 3)
    listed = operator(bench, dead_letters_command.command, "list", "--reason", "permanent")
    assert "hmac.order.paid" in listed.output
    dry = operator(bench, dead_letters_command.command, "redrive", "--all", "--dry-run")
    assert "2 would be redriven" in dry.output
    assert len(bench.letters()) == 2
    flaky.bad.clear()
    operator(bench, dead_letters_command.command, "redrive", "--connection", "shop")
    until(lambda: len(bench.effects()) == 5)
    assert bench.effects() == ["e0", "e2", "e4", "e1", "e3"]
    assert bench.letters() == []
    # They are done now: a late copy does nothing.
    bench.send("e1", "e5")
    until(lambda: "e5" in bench.effects())
    assert len(bench.effects()) == 6


def test_a_discarded_letter_is_gone_and_its_payload_is_shown_only_when_asked_for(
    bench: Bench,
) -> None:
    flaky = Flaky("e0", error=PermanentError)
    bench.send("e0", "e1")
    bench.start(flaky.handlers)
    until(lambda: bench.letters() == ["permanent"] and bench.effects() == ["e1"])
    shown = operator(bench, dead_letters_command.command, "show", "1")
    assert "PermanentError" in shown.output
    assert "{}" not in shown.output
    assert "{}" in operator(bench, dead_letters_command.command, "show", "1", "--payload").output
    operator(bench, dead_letters_command.command, "discard", "1", "--yes")
    assert bench.letters() == []


def test_nothing_chosen_is_not_everything_chosen(bench: Bench, tmp_path: Path) -> None:
    config = tmp_path / "hookline.yaml"
    config.write_text(
        yaml.safe_dump({"consumer": {"group": bench.group, "store": f"sqlite:///{bench.path}"}})
    )
    for command, verb in (
        (dead_letters_command.command, "redrive"),
        (dead_letters_command.command, "discard"),
        (parked_command.command, "retry"),
    ):
        result = CliRunner().invoke(command, [verb, "--config", str(config)])
        assert result.exit_code != 0
        assert "say which" in str(result.exception)


def test_a_policy_of_stop_ends_the_consumer_and_says_why(bench: Bench) -> None:
    bench.send("bad", "good")
    engine = bench.start(Flaky("bad").handlers, backoff=HASTY, policy=Policy.STOP)
    assert engine.failed.wait(20)
    live, why = engine.live()
    assert not live
    assert "on_failure is stop" in why
    assert bench.effects() == []


def test_an_older_version_is_skipped_and_one_after_the_delete_too(bench: Bench) -> None:
    handlers = Handlers()

    @handlers.on("hmac.order.*", stale="skip")
    def update(event: Event, tx: Transaction) -> None:
        put(event, tx)

    @handlers.on("hmac.order.deleted", stale="skip", deletes=True)
    def delete(event: Event, tx: Transaction) -> None:
        put(event, tx)

    bench.send("v2", version=2)
    bench.send("v1", version=1)
    bench.send("v3", version=3)
    bench.send("v2-late", version=2)
    bench.send("gone", version=4, event_type="hmac.order.deleted")
    bench.send("v4-late", version=4)
    bench.send("v5", version=5)
    bench.send("none")
    bench.start(handlers)
    until(lambda: "none" in bench.effects())
    assert bench.effects() == ["v2", "v3", "gone", "v5", "none"]
    # Known also after a restart.
    assert bench.stop()
    bench.send("v3-later", version=3)
    bench.send("last", version=6)
    bench.start(handlers)
    until(lambda: "last" in bench.effects())
    assert "v3-later" not in bench.effects()


def test_a_stale_event_is_fetched_anew_where_the_handler_wants_that(bench: Bench) -> None:
    handlers = Handlers()
    refetched: list[str] = []

    async def fetch(event: Event) -> None:
        refetched.append(event.event_id)

    @handlers.on("*", stale="refetch", refetch=fetch)
    async def update(event: Event) -> None:
        refetched.append(f"fresh {event.event_id}")

    bench.send("v2", version=2)
    bench.send("v1", version=1)
    bench.start(handlers)
    until(lambda: len(refetched) == 2)
    assert refetched == ["fresh v2", "v1"]


def test_a_batch_handler_gets_lists_in_order_and_only_the_event_at_fault_waits(
    bench: Bench,
) -> None:
    handlers = Handlers()
    sizes: list[int] = []
    bad = {"b3"}

    @handlers.batch("hmac.*", max_size=50)
    def insert(events: list[Event], tx: Transaction) -> None:
        sizes.append(len(events))
        tx.executemany(
            "INSERT INTO effects (id, key) VALUES (?, ?)",
            [(event.event_id, event.resource_id) for event in events],
        )
        if bad & {event.event_id for event in events}:
            raise ConnectionError

    for n in range(20):
        bench.send(f"a{n}", resource="a")
        bench.send(f"b{n}", "b0", resource="b")
    bench.start(handlers, parking=SOON)
    until(lambda: len(bench.effects()) == 23)
    bad.clear()
    until(lambda: len(bench.effects()) == 40)
    for key in "ab":
        assert [e for e in bench.effects() if str(e)[0] == key] == [f"{key}{n}" for n in range(20)]
    assert max(sizes) > 5


def test_a_handler_slower_than_the_poll_interval_keeps_its_partition(bench: Bench) -> None:
    handlers = Handlers()
    done: list[str] = []

    @handlers.on("*")
    def slow(event: Event, tx: Transaction) -> None:
        time.sleep(9)
        put(event, tx)
        done.append(event.event_id)

    bench.send("slow")
    engine = bench.start(
        handlers,
        properties={
            "group.protocol": "classic",
            "session.timeout.ms": 6000,
            "max.poll.interval.ms": 6000,
        },
    )
    until(lambda: bench.effects() == ["slow"])
    assert done == ["slow"]
    assert bench.query("SELECT max(epoch) FROM hookline_progress") == [(1,)]
    assert len(engine.poll_thread.assigned) == 2


def test_an_async_handler_that_hangs_is_cut_off_and_tried_again(bench: Bench) -> None:
    handlers = Handlers()
    calls: list[str] = []

    @handlers.on("*")
    async def hang_once(event: Event) -> None:
        calls.append(event.event_id)
        if len(calls) == 1:
            await asyncio.sleep(60)

    bench.send("e")
    bench.start(handlers, limits=Limits(handler_timeout_s=0.3))
    until(lambda: sum(bench.committed().values()) == 1)
    assert calls == ["e", "e"]


def test_a_consumer_whose_handler_hangs_is_not_alive_and_an_idle_one_is(bench: Bench) -> None:
    handlers = Handlers()
    release = threading.Event()

    @handlers.on("*")
    def hang(event: Event, tx: Transaction) -> None:
        release.wait(60)
        put(event, tx)

    engine = bench.start(handlers, limits=Limits(stall_after_s=1.0))
    until(lambda: engine.ready()[0])
    time.sleep(1.5)
    assert engine.live() == (True, "")
    bench.send("e")
    until(lambda: not engine.live()[0])
    assert "nothing has ended for" in engine.live()[1]
    release.set()
    until(lambda: engine.live()[0] and bench.effects() == ["e"])


def test_brokers_without_the_new_protocol_get_the_classic_one(tmp_path: Path) -> None:
    with KafkaBroker({"group.coordinator.rebalance.protocols": "classic"}) as broker:
        bench = Bench(broker, tmp_path)
        bench.send("a", "b")
        bench.start(inserting())
        until(lambda: bench.effects() == ["a", "b"])
        assert bench.stop()
