"""Parked events on their way back: due keys, their loading, and what follows a run of theirs.

A lane whose key is parked holds loaded events at its front and live ones behind. Rule: while a
key is parked, its live events are parked behind the others, never applied; the one exception is
a run that begins with the last parked events of its key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from consumer.core.backoff import Backoff
from consumer.core.disposition import Outcome
from consumer.core.lanes import Lanes, Work
from consumer.core.parking import Parking
from consumer.engine.apply_runs import RecordRun
from consumer.engine.commands import ParkingLimits
from consumer.engine.group_commit import Load, Postponement
from consumer.engine.record import BEHIND, Record
from consumer.stores.contract import Claim, ParkedKey, Partition

log = logging.getLogger("hookline.consumer")

_KEYS_AT_ONCE: Final = 64
_EVENTS_A_LOAD: Final = 100
_BYTES_A_LOAD: Final = 4 * 1024 * 1024
_BUSY_S: Final = 0.1


class ParkedLanes:
    """The dispatcher's parked keys. `clock` is monotonic, `wall_s` Unix time, in seconds."""

    def __init__(
        self,
        lanes: Lanes[Partition, Record],
        limits: ParkingLimits,
        *,
        clock: Callable[[], float],
        wall_s: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._backoff: Backoff = limits.backoff
        self._clock = clock
        self._wall_s = wall_s
        self._draw = draw
        self._parking: Parking[Partition] = Parking(
            max_keys=limits.max_keys, max_events=limits.max_events
        )
        self._loaded: dict[tuple[Partition, bytes], int] = {}
        self._told_no_room_s = float("-inf")
        self._loads: list[Load] = []
        self._postponements: list[Postponement] = []

    @property
    def keys(self) -> int:
        """How many keys are parked."""
        return len(self._parking)

    @property
    def events(self) -> int:
        """How many events are parked."""
        return self._parking.events

    def claimed(self, claim: Claim) -> None:
        """Learn what is parked in a partition that is ours now."""
        for key in claim.parked:
            self.learn(key)

    def learn(self, key: ParkedKey) -> None:
        """What the store says of one key."""
        due = self._clock() + max(0.0, key.retry_at_ms / 1000 - self._wall_s())
        self._parking.learn(key.partition, key.key, key.events, key.attempts, due)

    def room(self, run: RecordRun) -> bool:
        """Whether one more event of the run's key may be parked."""
        return self._parking.room(run.partition, run.key)

    def first_delay_s(self) -> float:
        """How long a key that is parked now waits for its first retry."""
        # From half the bound up: a key that has just failed for its whole budget may wait.
        return self._backoff.bound_s(1) * (0.5 + self._draw() / 2)

    def next_due(self) -> float | None:
        """When to look again."""
        return self._parking.next_due()

    def collect_due(self, draining: Callable[[Partition], bool]) -> None:
        """Hold the lanes of keys that are due, to load their first events."""
        # Each load may take its bound of bytes, and they all come at once.
        limit = max(1, min(_KEYS_AT_ONCE, self._lanes.free_bytes // _BYTES_A_LOAD))
        if self._lanes.full:
            # What fills them may wait behind parked events, or for room to be parked: so one key
            # at a time goes on.
            limit = 0 if self._loaded or self._loads else 1
        now = self._clock()
        for partition, key in self._parking.take_due(now, limit):
            if draining(partition):
                continue
            run = self._lanes.hold(partition, key)
            if run is None:
                self._parking.put_back(partition, key, now + _BUSY_S)
            else:
                self._loads.append(Load(run, _EVENTS_A_LOAD, _BYTES_A_LOAD))

    def take_requests(self) -> tuple[list[Load], list[Postponement]]:
        """What the next batch is to read and write; those of dropped partitions are left out."""
        loads = [load for load in self._loads if not load.run.lane.dropped]
        postponements = self._postponements
        self._loads, self._postponements = [], []
        return loads, postponements

    def not_carried_out(self, loads: Sequence[Load], postponements: Sequence[Postponement]) -> None:
        """The batch failed: its requests are for the next one."""
        self._loads = [*loads, *self._loads]
        self._postponements = [*postponements, *self._postponements]

    def loaded(self, run: RecordRun, records: Sequence[Record]) -> None:
        """Put loaded events at the front of their lane and let it go."""
        if run.lane.dropped:
            return
        partition, key = run.partition, run.key
        if records:
            self._loaded[partition, key] = len(records)
            # How often the key's first event has been tried, also by those who owned it before.
            records[0].attempts = self._parking.attempts(partition, key)
            # Our count may be wrong after an answer that was lost, or an event that came again.
            # Where there may be more than was loaded, what is live must not follow what is.
            count = len(records)
            if (
                count >= _EVENTS_A_LOAD
                or sum(record.size_bytes for record in records) >= _BYTES_A_LOAD
            ):
                count = max(count + 1, self._parking.count(partition, key))
            self._parking.recount(partition, key, count)
        else:
            # The store has none: somebody has taken them away.
            self._parking.learn(partition, key, 0, 0, 0.0)
        self._lanes.finish(run, 0, front=[(r, r.size_bytes, r.work) for r in records])

    def must_queue(self, run: RecordRun) -> Sequence[Record]:
        """The live events of a run that must be parked behind others of their key."""
        partition, key = run.partition, run.key
        if not self._parking.holds(partition, key):
            return ()
        live = [record for record in run.items if not record.parked_at_ms]
        if not live or self._parking.count(partition, key) == len(run.items) - len(live):
            return ()
        return live

    def queue(self, run: RecordRun, records: Sequence[Record]) -> bool:
        """Mark what `must_queue` gave, to be parked; False if there is no room for it."""
        if not self._parking.room(run.partition, run.key):
            now = self._clock()
            if now - self._told_no_room_s >= 60.0:
                self._told_no_room_s = now
                log.error(
                    "no room to park more events: their keys wait in memory; see "
                    "`hookline parked list` and consumer.parking",
                    extra={"data": {"partition": str(run.partition)}},
                )
            return False
        for record in records:
            record.park_reason = record.park_reason or BEHIND
        return True

    def ended(self, run: RecordRun, outcomes: Sequence[Outcome], delay_s: float) -> None:
        """Count what a committed run has parked and done. `delay_s`: until a new key is due."""
        partition, key = run.partition, run.key
        parked = sum(outcome is Outcome.PARKED for outcome in outcomes)
        if parked:
            self._parking.added(partition, key, parked, self._clock() + delay_s)
        done = sum(1 for record in run.items[: len(outcomes)] if record.parked_at_ms)
        if not done:
            return
        left = self._loaded.pop((partition, key), 0) - done
        self._parking.removed(partition, key, done, left)
        if left > 0:
            self._loaded[partition, key] = left
        elif self._parking.holds(partition, key):
            # All that was loaded is done: the next ones.
            self._parking.put_back(partition, key, self._clock())

    def failed(self, run: RecordRun, delay_s: float) -> int:
        """A loaded event failed and stays parked; how many events leave the lane's front."""
        partition, key = run.partition, run.key
        attempts = self._parking.failed(partition, key)
        wait_s = max(delay_s, self._backoff.delay_s(attempts, self._draw()), 0.001)
        self._parking.put_back(partition, key, self._clock() + wait_s)
        retry_at_ms = int((self._wall_s() + wait_s) * 1000)
        self._postponements.append(Postponement(partition, key, attempts, retry_at_ms))
        return self._loaded.pop((partition, key), 0)

    def drop(self, partition: Partition) -> None:
        """Forget a partition."""
        self._parking.drop(partition)
        for lane in [lane for lane in self._loaded if lane[0] == partition]:
            del self._loaded[lane]
        self._postponements = [p for p in self._postponements if p.partition != partition]


def work_of(record: Record) -> Work:
    """What an event needs: an external one that is to be kept or parked needs the transaction."""
    if record.letter is not None or record.park_reason or record.handler is None:
        return Work.TRANSACTION
    if record.handler.takes_transaction:
        return Work.TRANSACTION
    return Work.EXTERNAL if record.handler.is_async else Work.THREAD
