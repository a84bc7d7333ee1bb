"""A load that was cut for its bytes: what is live must not overtake what is still parked."""

from __future__ import annotations

from consumer.core.lanes import Lanes, Work
from consumer.engine.commands import ParkingLimits
from consumer.engine.parked_lanes import ParkedLanes
from consumer.engine.record import Record
from consumer.stores.contract import Claim, ParkedKey, Partition

P0 = Partition("events", 0)
MIB = 1024 * 1024


def record(offset: int, size_bytes: int, parked_at_ms: int) -> Record:
    return Record(P0, offset, b"k", size_bytes, 0, 0.0, parked_at_ms=parked_at_ms)


def test_live_events_queue_behind_what_a_load_has_left_for_its_bytes() -> None:
    lanes: Lanes[Partition, Record] = Lanes(max_events=1000, max_bytes=64 * MIB)
    parked = ParkedLanes(
        lanes, ParkingLimits(), clock=lambda: 0.0, wall_s=lambda: 0.0, draw=lambda: 0.5
    )
    key = ParkedKey(partition=P0, key=b"k", events=3, attempts=0, retry_at_ms=0)
    parked.claimed(Claim(P0, 1, 10, (key,)))
    lanes.add(P0, b"k", record(10, 100, 0), 100, Work.TRANSACTION)
    parked.collect_due(lambda partition: False)
    (load,) = parked.take_requests()[0]
    assert load.max_bytes == 4 * MIB
    parked.loaded(load.run, [record(n, 2 * MIB, 1) for n in (1, 2)])
    (run,) = lanes.take(Work.TRANSACTION, 10, 10)
    assert [r.offset for r in parked.must_queue(run)] == [10]
