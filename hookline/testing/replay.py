"""Runs a schedule through the consumer's own parts; only Kafka, threads and time are replaced.

This module is all that knows how the engine is put together.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, cast
from zlib import crc32

import msgspec

from consumer.core.backoff import Backoff
from consumer.core.disposition import Outcome, Policy
from consumer.engine.apply_runs import RecordRun, as_failure
from consumer.engine.commands import Assigned, Command, ExternalDone, Limits, ParkingLimits, Polled
from consumer.engine.dispatcher import Dispatcher
from consumer.engine.engine_metrics import EngineMetrics
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, BatchResult, GroupCommitter
from consumer.engine.record import Record
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handlers
from consumer.stores.contract import Partition, Store
from consumer.stores.sqlite import SqliteStore
from hookline.testing.events import START_S
from hookline.testing.faults import Crash, Faults, FaultyStore
from hookline.testing.recording import RecordedHandlers, Recording
from hookline.testing.report import Delivery, Report
from hookline.testing.schedule import Schedule, Shake, plain, shaken
from schemas.codec import EVENT
from schemas.errors import HandlerError
from schemas.event import Event

#: A registry, or a function that makes one, for handlers that keep something in memory.
HandlersOrMaker = Handlers | Callable[[], Handlers]

_TOPIC: Final = "hookline.events"
_GROUP: Final = "hookline-testing"
_PARTITIONS: Final = 3
_MAX_TURNS: Final = 200_000
_MAX_STORE_ERRORS: Final = 30
# Virtual seconds: an event that keeps failing is tried some ten times, parked, tried some ten
# times more, and then a dead letter.
_BACKOFF: Final = Backoff(initial_s=0.1, max_s=30.0, budget_s=60.0)
_PARKING: Final = ParkingLimits(
    backoff=Backoff(initial_s=15.0, max_s=900.0), give_up_after_s=3600.0, scan_every_s=60.0
)


def run(
    handlers: HandlersOrMaker,
    events: Sequence[Event],
    *,
    setup: str = "",
    seed: int | None = None,
    shake: Shake | None = None,
    on_failure: str = "park",
) -> Report:
    """Handle events and say what came of it. `setup` is SQL that runs first: your tables.

    Without a seed: in the order given, each once, nothing breaks. With one: copies, another
    order between resources, crashes and failing statements, by that seed; `shake` leaves some
    of it out or adds more. What handlers raise goes the consumer's way (retry, park, dead
    letter, by `on_failure`) and is in the report's `errors`.
    """
    report = replay(handlers, plain(events), setup=setup, on_failure=on_failure)
    if seed is None:
        return report
    schedule = shaken(events, seed, shake or Shake(), report.steps, report.statements)
    return replay(handlers, schedule, setup=setup, on_failure=on_failure)


def replay(
    handlers: HandlersOrMaker, schedule: Schedule, *, setup: str = "", on_failure: str = "park"
) -> Report:
    """Run one schedule to its end on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="hookline-testing-", dir=_memory()) as folder:
        path = Path(folder) / "store.db"
        with sqlite3.connect(path) as connection:
            connection.executescript(setup)
        connection.close()
        store = SqliteStore(path, _GROUP)
        try:
            replay_ = _Replay(handlers, schedule, store, Policy(on_failure))
            replay_.run()
            letters = [outgoing.letter for outgoing in store.outgoing(1_000_000)]
        finally:
            store.close()
        copy = sqlite3.connect(":memory:")
        with sqlite3.connect(path) as connection:
            connection.backup(copy)
        connection.close()
    return Report(
        connection=copy,
        deliveries=replay_.deliveries,
        calls=replay_.recording.calls,
        dead_letters=letters,
        retries=replay_.metrics.retries,
        steps=replay_.faults.steps,
        statements=replay_.faults.statements,
        story=[*schedule.story, *replay_.faults.story],
    )


def _memory() -> str | None:
    # A file system in memory where there is one: the store syncs at each commit.
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


class _Message(msgspec.Struct, frozen=True):
    place: Partition
    at: int
    event: Event

    def topic(self) -> str:
        return self.place.topic

    def partition(self) -> int:
        return self.place.number

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.event.resource_key.encode()

    def value(self) -> bytes | None:
        return EVENT.encode(self.event)

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, self.event.received_at_us // 1000)


class _Counted(EngineMetrics):
    """Counts what reports say, and makes no instruments."""

    def __init__(self) -> None:
        self.retries = 0

    def committed(self, *_: Any) -> None:
        return

    def retried(self, outcome: Outcome) -> None:
        self.retries += 1

    def fenced(self) -> None:
        return


class _Replay:
    def __init__(
        self, handlers: HandlersOrMaker, schedule: Schedule, store: Store, policy: Policy
    ) -> None:
        self.faults = Faults(schedule.crash_at, schedule.fail_at)
        self.recording = Recording()
        self.metrics = _Counted()
        self.deliveries: list[Delivery] = []
        self._handlers = handlers
        self._store = cast(Store, FaultyStore(store, self.faults))
        self._policy = policy
        self._tracing = ConsumerTracing(_GROUP, enabled=False)
        self._pace = None if schedule.pace_seed is None else random.Random(schedule.pace_seed)
        # Backoff delays come from here and not from the pace: a failure more must not change
        # everything behind it.
        self._jitter = random.Random(0)
        self._now_s = 0.0
        self._store_errors = 0
        #: Messages (partition, offset) that have come to their end, as the store knows.
        self._ended: set[tuple[Partition, int]] = set()
        self._log: dict[Partition, list[_Message]] = {
            Partition(_TOPIC, number): [] for number in range(_PARTITIONS)
        }
        #: The partitions' numbers in the order in which their messages came.
        self._arrivals: list[Partition] = []
        for event in schedule.events:
            place = Partition(_TOPIC, crc32(event.resource_key.encode()) % _PARTITIONS)
            self._log[place].append(_Message(place, len(self._log[place]), event))
            self._arrivals.append(place)

    def run(self) -> None:
        """Until every event has come to its end."""
        self._loop = asyncio.new_event_loop()
        try:
            self._start()
            for _ in range(_MAX_TURNS):
                try:
                    if not self._turn():
                        return
                except Crash:
                    self._committer.close()
                    self._loop.close()
                    self._loop = asyncio.new_event_loop()
                    self.faults.restart()
                    self._start()
            raise HandlerError(f"hookline.testing: no end after {_MAX_TURNS} turns")
        finally:
            self._committer.close()
            self._loop.close()

    def start(self, run: RecordRun) -> None:
        """What the dispatcher asks of ExternalHandlers: to run this one."""
        self._external.append(run)

    def cancel(self, partition: Partition) -> None:
        """What the dispatcher asks when a partition is given up: here that is at a crash only."""

    def _start(self) -> None:
        handlers = self._handlers if isinstance(self._handlers, Handlers) else self._handlers()
        recorded = RecordedHandlers(handlers, self.recording)
        self._external: list[RecordRun] = []
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        inbox: SimpleQueue[Command] = SimpleQueue()
        self._committer = GroupCommitter(self._store, self._tracing, self._wall_s)
        failures = Failures(
            group=_GROUP,
            backoff=_BACKOFF,
            policy=self._policy,
            give_up_after_s=_PARKING.give_up_after_s,
            metrics=self.metrics,
            draw=self._jitter.random,
            clock=self._clock,
            wall_s=self._wall_s,
        )
        self._dispatcher = Dispatcher(
            handlers=recorded,
            limits=Limits(max_batch_events=self._pace.randint(1, 8) if self._pace else 1),
            parking=_PARKING,
            backoff=_BACKOFF,
            failures=failures,
            tracing=self._tracing,
            batches=self._batches,
            external=cast(ExternalHandlers, self),
            inbox=inbox,
            metrics=self.metrics,
            clock=self._clock,
            wall_s=self._wall_s,
            draw=self._jitter.random,
        )
        claims = self._store.claim(list(self._log))
        self._dispatcher.obey(Assigned(claims))
        self._next = {claim.partition: claim.next_offset or 0 for claim in claims}
        #: What was polled and has not ended, and which of that is parked.
        self._open = {
            (place, offset)
            for place, position in self._next.items()
            for offset in range(position)
            if (place, offset) not in self._ended
        }
        self._parked = set(self._open)
        skipped = dict(self._next)
        self._waiting: list[Partition] = []
        for place in self._arrivals:
            if skipped[place]:
                skipped[place] -= 1
            else:
                self._waiting.append(place)

    def _turn(self) -> bool:
        """One thing that happens; False when nothing is left."""
        hurried = self._pace is not None and self._pace.random() < 0.7
        if self._waiting and (hurried or self._open <= self._parked):
            self._poll()
        self._dispatcher.hand_out()
        if not self._batches.empty():
            batch = self._batches.get()
            assert batch is not None
            result = self._committer.carry_out(batch)
            self._committed(result)
            return True
        if self._external:
            self._run_external()
            return True
        if not self._open:
            return bool(self._waiting)
        self._now_s += self._dispatcher.patience_s() or 0.0
        self._dispatcher.wake()
        return True

    def _poll(self) -> None:
        count = self._pace.randint(1, 6) if self._pace else 1
        messages: list[_Message] = []
        for place in self._waiting[:count]:
            messages.append(self._log[place][self._next[place]])
            self._open.add((place, self._next[place]))
            self._next[place] += 1
        del self._waiting[:count]
        self._dispatcher.obey(Polled(list(messages), 0, self._wall_s() * 1000))

    def _committed(self, result: BatchResult) -> None:
        if result.error is not None:
            self._store_errors += 1
            if self._store_errors >= _MAX_STORE_ERRORS:
                raise result.error
        else:
            self._store_errors = 0
            for each in result.runs:
                for record, outcome in zip(each.run.items, each.outcomes, strict=False):
                    self._delivered(record, outcome)
            for run, outcome in result.settled:
                self._delivered(run.items[0], outcome)
            # A crash here: all is in the store, and nobody in this process knows.
            self.faults.step("after the commit")
        self._dispatcher.obey(result)
        if self._dispatcher.stopped_by_policy:
            raise HandlerError(self._dispatcher.stopped_by_policy)

    def _delivered(self, record: Record, outcome: Outcome) -> None:
        assert record.event is not None
        self.deliveries.append(Delivery(record.event, outcome.value))
        message = (record.partition, record.offset)
        if outcome is Outcome.PARKED:
            self._parked.add(message)
        else:
            self._ended.add(message)
            self._open.discard(message)

    def _run_external(self) -> None:
        """The handlers in hand, async ones at the same time; a crash leaves some undone."""
        runs, self._external = self._external, []
        if self._pace:
            self._pace.shuffle(runs)
        admitted: list[RecordRun] = []
        try:
            for run in runs:
                self.faults.step("before an external handler")
                admitted.append(run)
        finally:
            errors = self._loop.run_until_complete(_call_all(admitted))
        for run, error in zip(admitted, errors, strict=True):
            # A crash here: it has acted, and is not marked done: it will be called again.
            self.faults.step("after an external handler")
            self._dispatcher.obey(ExternalDone(run, error))

    def _clock(self) -> float:
        return self._now_s

    def _wall_s(self) -> float:
        return START_S + self._now_s


async def _call_all(runs: Sequence[RecordRun]) -> list[Exception | None]:
    return list(await asyncio.gather(*map(_call, runs)))


async def _call(run: RecordRun) -> Exception | None:
    record = run.items[0]
    assert record.handler is not None
    try:
        made = record.function(record.event)
        if record.handler.is_async:
            await made
    except BaseException as error:
        return as_failure(error)
    return None
