"""What the simulator has found, each as the smallest schedule that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Limits, ParkingLimits
from consumer.stores.contract import Claim, Partition
from consumer.stores.operations import Filter
from schemas.codec import EVENT
from schemas.event import Event
from tests.simulation.database import Database, Fault, Trial
from tests.simulation.plan import TOPIC, Entry, Fate, Kind, Message, Plan
from tests.simulation.replica import Replica
from tests.simulation.script import Script
from tests.simulation.world import World

ALL = Filter()
PLACE = Partition(TOPIC, 0)


def entry(number: int, kind: Kind = Kind.PLAIN, **fields: Any) -> Entry:
    event = Event(
        request_id=bytes(16), environment="", tenant="t", connection="c", provider="p",
        event_id=f"e{number}", event_type=f"{kind}.x", resource_type="r", resource_id="k",
        received_at_us=0, payload=b"",
    )  # fmt: skip
    return Entry(
        number=number, partition=PLACE, key=b"k", kind=kind, index=number,
        event=None if kind is Kind.POISON else event, **fields,
    )  # fmt: skip


class Quiet(World):
    """One replica and no turmoil; `faults` are those of its first transactions."""

    def __init__(self, entries: Sequence[Entry], *faults: Fault | None, **changes: Any) -> None:
        self._faults = list(faults)
        log = [
            Message(e, e.number, EVENT.encode(e.event) if e.event else b"no avro", 0)
            for e in entries
        ]
        plan = Plan(
            seed=1, start_s=0.0, entries=list(entries), log={PLACE: log}, replicas=1,
            policy=Policy.PARK, limits=Limits(), backoff=Backoff(budget_s=0.0),
            parking=ParkingLimits(backoff=Backoff(initial_s=1.0, max_s=5.0)),
            fault_rate=0.0, chaos_s=5.0, turmoil_every_s=1e9, chunk=8,
        )  # fmt: skip
        super().__init__(msgspec.structs.replace(plan, **changes), Database(), Script(), True)

    def draw_trial(self, replica: Replica, claims: Sequence[Claim]) -> Trial:
        return Trial(self._faults.pop(0) if self._faults else None, 0)


@pytest.mark.parametrize("at", range(5))
def test_a_poison_message_whose_commit_has_no_answer_is_one_dead_letter(at: int) -> None:
    world = Quiet([entry(0, Kind.POISON)], *[None] * at, Fault.AMBIGUOUS)
    world.run()
    rows = world.database.connection.execute("SELECT count(*) FROM hookline_dead_letters")
    assert rows.fetchone() == (1,)


def test_a_full_consumer_without_room_to_park_goes_on_with_what_is_parked() -> None:
    entries = [entry(0, fate=Fate.FAILS_FOR_LONG, until_s=20.0), *map(entry, range(1, 6))]
    world = Quiet(
        entries,
        chunk=1,
        limits=Limits(max_buffered_events=2, max_batch_events=1),
        parking=ParkingLimits(max_events=1, backoff=Backoff(initial_s=1.0, max_s=5.0)),
    )
    world.run()
    assert world.judge.effects.total() == 6
    assert world.now < 60


def test_a_redrive_is_noticed_though_the_answer_to_the_scan_was_lost() -> None:
    world = Quiet([entry(0, fate=Fate.PERMANENT)], chaos_s=30.0)

    def redrive() -> None:
        letters = world._operations.letters(ALL, 0, 10)
        world.judge.redriven(letters, mended=True)
        world._operations.redrive([letter.number for letter in letters], int(world.wall_s() * 1000))
        world._faults = [Fault.AMBIGUOUS] * 2

    world.at(10.0, redrive)
    world.run()
    assert world.judge.effects.total() == 1
