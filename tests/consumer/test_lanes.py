"""Lanes under random schedules of arrivals, hand-outs, failures, retries and rebalances."""

from __future__ import annotations

import os
import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.core.lanes import Lanes, Run, Work

EXAMPLES = int(os.environ.get("HOOKLINE_SCHEDULES", "10000"))


def lanes() -> Lanes[int, tuple[int, bytes, int]]:
    return Lanes(max_events=1000, max_bytes=1_000_000)


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**63), steps=st.integers(1, 80))
def test_order_holds_per_key_and_nothing_is_lost_or_handed_out_twice(seed: int, steps: int) -> None:
    """Invariants: a lane has at most one run in flight; the events of a key are done in the
    order in which they came, also through partial runs and retries; a lane at rest is not
    handed out before its time; what is not done is still there; counts match; in the end all
    that was not dropped gets done; a dropped lane's run changes nothing."""
    draw = random.Random(seed)
    under_test = lanes()
    arrived: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    done: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    resting: dict[tuple[int, bytes], float] = {}
    in_flight: list[tuple[Run[int, tuple[int, bytes, int]], Work]] = []
    sequence, now = 0, 0.0

    def take() -> None:
        work = draw.choice(list(Work))
        per_lane = 1 if work is Work.EXTERNAL else draw.randint(1, 4)
        limit = draw.randint(1, 6)
        runs = under_test.take(work, limit, per_lane)
        assert sum(len(run.items) for run in runs) <= limit
        for run in runs:
            partition, key, _ = run.items[0]
            lane = (partition, key)
            assert 1 <= len(run.items) <= per_lane
            assert all((r.lane is not run.lane) for r, _ in in_flight), "two runs of one lane"
            assert resting.pop(lane, now) <= now, "handed out while at rest"
            first = len(done[lane])
            assert [i[2] for i in run.items] == arrived[lane][first : first + len(run.items)]
            in_flight.append((run, work))

    def finish() -> None:
        run, _ = in_flight.pop(draw.randrange(len(in_flight)))
        partition, key, _ = run.items[0]
        lane = (partition, key)
        succeeded = draw.randint(0, len(run.items))
        retry_at = now + draw.randint(1, 5) if succeeded < len(run.items) else None
        dropped = run.lane.dropped
        assert under_test.finish(run, succeeded, retry_at) is not dropped
        if dropped:
            return
        done[lane].extend(i[2] for i in run.items[:succeeded])
        if retry_at is not None:
            resting[lane] = retry_at

    def drop() -> None:
        partition = draw.randint(0, 1)
        waiting = under_test.events
        gone = under_test.drop(partition)
        assert under_test.events == waiting - gone
        assert partition not in under_test.partitions
        for lane in [lane for lane in arrived if lane[0] == partition]:
            arrived[lane], done[lane] = [], []
            resting.pop(lane, None)

    for _ in range(steps):
        choice = draw.random()
        if choice < 0.45:
            partition, key = draw.randint(0, 1), draw.choice([b"a", b"b", b"c"])
            work = Work.EXTERNAL if draw.random() < 0.3 else Work.TRANSACTION
            under_test.add(partition, key, (partition, key, sequence), 10, work)
            arrived[partition, key].append(sequence)
            sequence += 1
        elif choice < 0.7:
            take()
        elif choice < 0.93 and in_flight:
            finish()
        elif choice < 0.97:
            now += draw.randint(1, 3)
            under_test.wake(now)
        else:
            drop()
        left = sum(len(arrived[lane]) - len(done[lane]) for lane in arrived)
        assert under_test.events == left
        assert under_test.bytes == 10 * left

    while under_test.events > 0:
        now += 10
        under_test.wake(now)
        take()
        while in_flight:
            run, _ = in_flight.pop()
            lane = (run.items[0][0], run.items[0][1])
            if under_test.finish(run, len(run.items)):
                done[lane].extend(i[2] for i in run.items)
    assert dict(done) == {lane: events for lane, events in arrived.items() if lane in done}
    assert all(not events or done[lane] == events for lane, events in arrived.items())
    assert len(under_test) == 0
    assert under_test.bytes == 0


def test_a_busy_lane_does_not_keep_the_others_waiting() -> None:
    under_test = lanes()
    for n in range(100):
        under_test.add(0, b"busy", (0, b"busy", n), 1, Work.TRANSACTION)
    under_test.add(0, b"quiet", (0, b"quiet", 0), 1, Work.TRANSACTION)
    first, second = under_test.take(Work.TRANSACTION, 10, max_per_lane=5)
    assert [len(first.items), len(second.items)] == [5, 1]


def test_a_failing_lane_rests_and_the_others_go_on() -> None:
    under_test = lanes()
    under_test.add(0, b"bad", (0, b"bad", 0), 1, Work.TRANSACTION)
    (run,) = under_test.take(Work.TRANSACTION, 10)
    under_test.finish(run, 0, retry_at=5.0)
    under_test.add(0, b"good", (0, b"good", 0), 1, Work.TRANSACTION)
    assert under_test.next_wake() == 5.0
    assert [r.items[0][1] for r in under_test.take(Work.TRANSACTION, 10)] == [b"good"]
    under_test.wake(5.0)
    assert [r.items[0][1] for r in under_test.take(Work.TRANSACTION, 10)] == [b"bad"]


def test_the_bounds_say_when_to_stop_feeding() -> None:
    by_events: Lanes[int, int] = Lanes(max_events=2, max_bytes=100)
    by_events.add(0, b"a", 1, 1, Work.TRANSACTION)
    assert not by_events.full
    by_events.add(0, b"a", 2, 1, Work.TRANSACTION)
    assert by_events.full
    by_bytes: Lanes[int, int] = Lanes(max_events=100, max_bytes=10)
    by_bytes.add(0, b"a", 1, 10, Work.TRANSACTION)
    assert by_bytes.full


def test_draining_keeps_what_runs_and_drops_what_waits() -> None:
    under_test = lanes()
    for n in range(3):
        under_test.add(0, b"a", (0, b"a", n), 1, Work.TRANSACTION)
    under_test.add(0, b"b", (0, b"b", 3), 1, Work.TRANSACTION)
    (run,) = under_test.take(Work.TRANSACTION, 1)
    assert under_test.drop_waiting(0) == 1
    assert under_test.in_flight(0) == 1
    assert under_test.finish(run, 1)
    assert under_test.drop_waiting(0) == 2
    assert under_test.events == 0


def test_a_run_is_given_back_once() -> None:
    under_test = lanes()
    for n in range(2):
        under_test.add(0, b"a", (0, b"a", n), 1, Work.TRANSACTION)
    (run,) = under_test.take(Work.TRANSACTION, 1)
    under_test.finish(run, 1)
    with pytest.raises(ValueError, match="once"):
        under_test.finish(run, 1)
