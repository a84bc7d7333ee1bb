"""The execution log on a real broker and a real SQLite store: every way in which an event ends."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import ParkingLimits
from hookline import Event, Handlers, PermanentError, Transaction
from schemas.execution import MAX_ATTEMPTS, Execution
from schemas.execution_sampling import ExecutionSampling
from tests.consumer.bench import FAST, HASTY, Bench, inserting, put, until
from tests.consumer.execution_reader import Executions, executions_in
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

SECRET = "what the customer wrote"


@pytest.fixture
def executions(kafka: KafkaBroker) -> Iterator[Executions]:
    executions = Executions(kafka)
    yield executions
    executions.sender.close()


def failing(times: dict[str, int], error: type[Exception] = ConnectionError) -> Handlers:
    """A transaction's handler that fails so often for an event."""
    handlers = Handlers()

    @handlers.on("*")
    def handle(event: Event, tx: Transaction) -> None:
        time.sleep(0.001)
        if times.get(event.event_id, 0) > 0:
            times[event.event_id] -= 1
            raise error(f"{SECRET}: {event.event_id}")
        put(event, tx)

    return handlers


def by_id(rows: list[Execution]) -> dict[str, Execution]:
    return {row.event_id: row for row in rows}


def test_an_applied_event_has_all_that_is_known_of_it(bench: Bench, executions: Executions) -> None:
    began_us = time.time_ns() // 1000
    bench.send("a", resource="7")
    bench.start(inserting(), executions=executions.log)
    (row,) = executions.rows(1)
    ended_us = time.time_ns() // 1000
    assert (row.outcome, row.reason, row.failures, row.attempts) == ("applied", "", 0, ())
    assert (row.environment, row.tenant, row.connection, row.provider, row.source) == (
        *("test", "acme", "shop", "hmac", "WEBHOOK"),
    )
    assert (row.event_type, row.event_id, row.resource_type, row.resource_id) == (
        *("hmac.order.paid", "a", "order", "7"),
    )
    assert (row.group, row.instance, row.topic, row.offset) == ("group", "host:1", bench.topic, 0)
    assert row.partition in bench.partitions_of("7")
    assert not row.was_parked
    assert not row.sampled
    assert row.weight == 1
    moments = [row.received_at_us, row.in_kafka_at_us, row.polled_at_us, row.committed_at_us]
    # Kafka's time is in whole milliseconds.
    assert began_us - 1000 <= moments[1]
    assert moments[0] - 1000 <= moments[1] <= moments[2] + 1000
    assert moments[2] < moments[3] <= ended_us
    # All in all the steps fit between the poll and the commit, and each took its time.
    assert row.lane_ns > 0
    assert row.handler_ns > 0
    assert row.handler_ns <= row.commit_ns
    assert row.lane_ns + row.handler_ns <= (row.committed_at_us - row.polled_at_us + 1) * 1000


def test_copies_stale_and_unhandled_events(bench: Bench, executions: Executions) -> None:
    handlers = Handlers()

    @handlers.on("hmac.order.paid", stale="skip")
    def handle(event: Event, tx: Transaction) -> None:
        put(event, tx)

    bench.send("new", version=2)
    bench.send("old", version=1)
    bench.send("new", version=2)
    bench.send("other", event_type="hmac.order.unknown")
    bench.start(handlers, executions=executions.log)
    rows = executions.rows(4)
    assert [row.outcome for row in rows] == ["applied", "stale", "duplicate", "unhandled"]
    # No handler was called for three of them: they waited until their transaction began.
    assert [row.handler_ns > 0 for row in rows] == [True, False, False, False]
    assert all(row.lane_ns > 0 for row in rows)


def test_a_retried_event_tells_each_failed_call(bench: Bench, executions: Executions) -> None:
    bench.send("bad", "behind")
    bench.start(failing({"bad": 3}), executions=executions.log)
    rows = by_id(executions.rows(2))
    bad = rows["bad"]
    assert (bad.outcome, bad.failures, bad.reason) == ("applied", 3, "")
    assert [attempt.number for attempt in bad.attempts] == [1, 2, 3]
    assert {(attempt.outcome, attempt.error_type) for attempt in bad.attempts} == {
        ("transient", "ConnectionError")
    }
    began = [attempt.began_at_us for attempt in bad.attempts]
    assert began == sorted(began)
    assert bad.polled_at_us <= began[0]
    assert began[-1] <= bad.committed_at_us
    assert all(attempt.duration_ns >= 1_000_000 for attempt in bad.attempts)
    # Its wait until its last call holds the failed ones.
    assert bad.lane_ns >= (began[-1] - began[0]) * 1000
    assert rows["behind"].failures == 0


def test_of_many_attempts_the_first_and_the_last_are_kept(
    bench: Bench, executions: Executions
) -> None:
    bench.send("bad")
    quick = Backoff(initial_s=0.001, max_s=0.002, budget_s=60)
    bench.start(failing({"bad": 40}), backoff=quick, executions=executions.log)
    (row,) = executions.rows(1)
    assert row.failures == 40
    half = MAX_ATTEMPTS // 2
    assert [attempt.number for attempt in row.attempts] == [
        *range(1, half + 1),
        *range(41 - half, 41),
    ]


def test_a_parked_event_has_an_execution_when_it_is_parked_and_one_when_it_is_applied(
    bench: Bench, executions: Executions
) -> None:
    times = {"bad": 1_000}
    bench.send("bad", "behind")
    soon = ParkingLimits(backoff=Backoff(initial_s=0.1, max_s=0.2), scan_every_s=0.1)
    bench.start(failing(times), backoff=HASTY, parking=soon, executions=executions.log)
    parked = by_id(executions.rows(2))
    assert [(parked[e].outcome, parked[e].reason) for e in ("bad", "behind")] == [
        ("parked", "exhausted"),
        ("parked", "behind"),
    ]
    assert parked["bad"].failures == len(parked["bad"].attempts) > 0
    assert parked["bad"].attempts[-1].outcome == "exhausted"
    assert parked["behind"].failures == 0
    assert not parked["bad"].was_parked
    # It fails at least once more while it is parked.
    left = times["bad"]
    until(lambda: times["bad"] < left)
    times["bad"] = 0
    rows = executions.rows(4)
    applied = by_id([row for row in rows if row.outcome == "applied"])
    assert set(applied) == {"bad", "behind"}
    for event_id, row in applied.items():
        assert row.was_parked
        assert row.request_id == parked[event_id].request_id
        assert row.offset == parked[event_id].offset
        assert (row.in_kafka_at_us, row.queue_ns) == (0, 0)
        assert row.committed_at_us > parked[event_id].committed_at_us
    assert applied["bad"].failures > 0


def test_what_is_given_up_on_says_why(bench: Bench, executions: Executions) -> None:
    bench.send("never", "last")
    bench.start(failing({"never": 9}, PermanentError), executions=executions.log)
    rows = by_id(executions.rows(2))
    assert (rows["never"].outcome, rows["never"].reason) == ("dead_lettered", "permanent")
    assert [(a.number, a.outcome, a.error_type) for a in rows["never"].attempts] == [
        (1, "permanent", "PermanentError")
    ]
    assert rows["last"].outcome == "applied"


def test_a_message_that_nobody_can_read_has_its_place_and_the_headers_request_id(
    bench: Bench, executions: Executions
) -> None:
    known = (1_800_000_000_000).to_bytes(6, "big") + b"0123456789"
    name = "hookline-request-id"
    bench.send_raw(b"no avro", b"k", [(name, known.hex())])
    for header in (None, [(name, "zz" * 16)], [(name, b"\xff\xfe")], [(name, " " * 32)]):
        bench.send_raw(b"no avro", b"k", header)  # type: ignore[arg-type]
    bench.send("good")
    bench.start(inserting(), executions=executions.log)
    rows = executions.rows(6)
    dead = [row for row in rows if row.outcome == "dead_lettered"]
    assert {row.reason for row in dead} == {"not_single_object"}
    assert Counter(row.request_id for row in dead) == {known: 1, bytes(16): 4}
    for row in dead:
        assert (row.connection, row.event_id, row.failures, row.attempts) == ("", "", 0, ())
        at_us = 1_800_000_000_000_000 if row.request_id == known else row.in_kafka_at_us
        assert row.received_at_us == at_us


@pytest.mark.parametrize("kind", ["async", "thread"])
def test_external_handlers(bench: Bench, executions: Executions, kind: str) -> None:
    handlers = Handlers()
    times = {"bad": 2}

    def fail(event: Event) -> None:
        if event.event_id == "never":
            raise PermanentError(SECRET)
        if times.get(event.event_id, 0) > 0:
            times[event.event_id] -= 1
            raise ConnectionError(SECRET)

    if kind == "async":

        @handlers.on("*")
        async def call(event: Event) -> None:
            await asyncio.sleep(0.005)
            fail(event)

    else:

        @handlers.on("*")
        def call_on_a_thread(event: Event) -> None:
            time.sleep(0.005)
            fail(event)

    bench.send("good", "bad", "never", "good")
    bench.start(handlers, executions=executions.log)
    rows = executions.rows(4)
    assert [(row.event_id, row.outcome, row.failures, row.reason) for row in rows] == [
        ("good", "applied", 0, ""),
        ("bad", "applied", 2, ""),
        ("never", "dead_lettered", 1, "permanent"),
        ("good", "duplicate", 0, ""),
    ]
    assert all(row.handler_ns >= 5_000_000 for row in rows[:3])
    # The copy was looked up and not called.
    assert rows[3].handler_ns == 0
    # The handler runs outside the transaction.
    assert rows[0].lane_ns + rows[0].handler_ns <= (
        (rows[0].committed_at_us - rows[0].polled_at_us + 1) * 1000
    )


def test_one_message_for_a_commit_of_many_events(bench: Bench, executions: Executions) -> None:
    bench.send(*(f"e{n}" for n in range(500)))
    bench.start(inserting(), executions=executions.log)
    values = executions.values(events=500)
    until(lambda: len(bench.effects()) == 500)
    commits = {row.committed_at_us for value in values for row in executions_in(value)}
    assert len(values) == len(commits) < 50


def test_nothing_of_a_payload_or_an_errors_text_is_in_it(
    bench: Bench, executions: Executions
) -> None:
    bench.send("bad", "worse", "good")
    handlers = failing({"bad": 2, "worse": 9_999})
    bench.start(handlers, backoff=HASTY, policy=Policy.SKIP, executions=executions.log)
    values = executions.values(events=3)
    assert {row.reason for value in values for row in executions_in(value)} == {"", "exhausted"}
    assert SECRET.encode() not in b"".join(values)


def test_a_stop_sends_what_was_committed_last(bench: Bench, executions: Executions) -> None:
    bench.send(*(f"e{n}" for n in range(200)))
    bench.start(inserting(), executions=executions.log)
    until(lambda: len(bench.effects()) == 200)
    assert bench.stop()
    executions.sender.close()
    assert {row.event_id for row in executions.rows(200)} == {f"e{n}" for n in range(200)}


def test_sampling_keeps_what_is_remarkable_and_weighs_the_rest(
    bench: Bench, kafka: KafkaBroker
) -> None:
    sampling = ExecutionSampling(5, slow_us=3_600_000_000)
    executions = Executions(kafka, sampling)
    ids = [f"e{n}" for n in range(400)]
    bench.send(*ids, "bad", "never")
    handlers = failing({"bad": 1})

    @handlers.on("hmac.order.last")
    def last(event: Event, tx: Transaction) -> None:
        put(event, tx)
        raise PermanentError("seen by all")

    bench.start(handlers, backoff=FAST, executions=executions.log)
    until(lambda: len(bench.effects()) == 402)
    bench.send("end", event_type="hmac.order.last")
    until(lambda: len(bench.letters()) == 1)
    assert bench.stop()
    executions.sender.close()
    rows = executions.rows(2)
    weights = {row.event_id: row.weight for row in rows}
    assert weights["bad"] == weights["end"] == 1
    assert set(weights.values()) == {1, 5}
    for row in rows:
        if row.weight == 5:
            assert sampling.chosen(row.request_id)
    # 401 events at one in 5: within five standard deviations.
    assert 40 < sum(weight == 5 for weight in weights.values()) < 121


def test_while_kafka_is_away_executions_are_dropped_and_counted_and_no_event_waits(
    bench: Bench,
) -> None:
    with KafkaBroker() as other:
        executions = Executions(other, max_events=60, timeout_ms=1_000)
        lost = executions.sender.lost
        bench.send("first")
        bench.start(inserting(), executions=executions.log)
        assert [row.event_id for row in executions.rows(1)] == ["first"]
        # It is in the log before its acknowledgement is here.
        until(lambda: not executions.sender.look() and not executions.sender._events)
        other.kill()
        for n in range(20):
            bench.send(*(f"e{n}-{k}" for k in range(10)))
        until(lambda: len(bench.effects()) == 201)
        # All of them are accounted for: no room, or not acknowledged in time.
        until(lambda: not executions.sender.look() and lost.total() == 200)
        assert set(lost) <= {"full", "timeout"}
        assert lost["timeout"] <= 60
        other.start()

        def written_again() -> bool:
            bench.send("again")
            return executions.messages() > 1

        # The client connects again in its own time, up to ten seconds.
        until(written_again)
        assert {row.event_id for row in executions.rows(2)} == {"first", "again"}
        # What is not sent by the end of a stop is counted as well.
        other.kill()
        lost.clear()
        bench.send("last")
        until(lambda: "last" in bench.effects())
        assert bench.stop()
        executions.sender.close(0.1)
        assert lost["stopped"] + lost["timeout"] >= 1
        assert set(lost) <= {"stopped", "timeout"}
