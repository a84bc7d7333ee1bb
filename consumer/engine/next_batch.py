"""What the committer gets next: which runs, in what order, bounded, and when.

Rule: one batch at a time is with the committer; what a failed one held comes again in the next.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from consumer.core.backoff import Backoff
from consumer.core.lanes import Lanes, Work
from consumer.engine.apply_runs import RecordRun
from consumer.engine.calls import Calls
from consumer.engine.group_commit import Batch
from consumer.engine.ownership import Ownership
from consumer.engine.parked_lanes import ParkedLanes
from consumer.engine.record import BEHIND, Record
from consumer.stores.contract import Partition
from schemas.errors import StatementFailed, TransactionEnded

log = logging.getLogger("hookline.consumer")

_NO_ROOM_WAIT_S: Final = 1.0
_LINGERING_WAIT_S: Final = 0.1
#: Of so many events, the one that breaks the transaction is found by taking each alone.
_FEW: Final = 8


class NextBatch:
    """Gathers batches on the dispatcher's thread. `clock` is monotonic, `wall_s` Unix time."""

    def __init__(
        self,
        lanes: Lanes[Partition, Record],
        parked: ParkedLanes,
        ownership: Ownership,
        *,
        concurrency: int,
        threads: int,
        max_events: int,
        scan_every_s: float,
        backoff: Backoff,
        clock: Callable[[], float],
        wall_s: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._parked = parked
        self._ownership = ownership
        self._max_events = max_events
        self._scan_every_s = scan_every_s
        self._backoff = backoff
        self._clock = clock
        self._wall_s = wall_s
        self._draw = draw
        self._limit = max_events
        self._busy = False
        self._failures = 0
        self._retry_s = 0.0
        self._scan_at_s = 0.0
        self._scan_all = False
        self._checks: list[RecordRun] = []
        self._behind: list[RecordRun] = []
        self._marks: list[RecordRun] = []
        #: In hand, each with its first event: one of them breaks the transaction.
        self._suspects: list[RecordRun] = []
        # Apart, or calls that hang on the few threads would take the places of all others.
        self._calls = Calls({Work.EXTERNAL: concurrency, Work.THREAD: threads})
        #: The keys of calls that go on though their lane is gone: those wait for them.
        self._lingering: Counter[tuple[Partition, bytes]] = Counter()
        #: When (Unix ms) the oldest event that is not done was put into Kafka, or parked.
        self.oldest_ms: int | None = None
        #: The same without what is parked.
        self.oldest_live_ms: int | None = None

    def when(self) -> list[float]:
        """The times at which there may be something to do, though nothing happens until then."""
        if self._busy:
            return []
        times = [self._retry_s] if self._failures else []
        return [*times, self._scan_at_s] if len(self._ownership) else times

    def mark(self, run: RecordRun) -> None:
        """An external handler has succeeded."""
        self._marks.append(run)

    def left(self, run: RecordRun) -> None:
        """An external run needs no call after all."""
        self._calls.remove(run)

    def looked_up(self, run: RecordRun) -> None:
        """An external run needs its call."""
        self._calls.looked_up(run)

    def to_call(self) -> list[RecordRun]:
        """The runs whose handlers are to be called now."""
        return self._calls.take()

    def withdraw(self, partition: Partition) -> None:
        """Give back the runs of a partition that wait for their call."""
        for run in self._calls.withdraw(partition):
            self._lanes.finish(run, 0)

    def returned(self, run: RecordRun) -> None:
        """The call has ended, whatever has become of its lane."""
        self._calls.remove(run)
        if not self._lingering:
            return
        place = (run.partition, run.key)
        if place in self._lingering:
            self._lingering[place] -= 1
            if self._lingering[place] <= 0:
                del self._lingering[place]

    def given_up(self, partition: Partition) -> None:
        """A partition's lanes are dropped: calls under way linger, should it come back to us."""
        for run in self._calls.running:
            if run.partition == partition and not run.lane.dropped:
                self._lingering[partition, run.key] += 1

    def take(self) -> Batch | None:
        """The next batch; None while the committer has one, or if there is nothing to do."""
        self._take_external()
        if self._busy or (self._failures and self._clock() < self._retry_s):
            return None
        self._parked.collect_due(self._ownership.draining.__contains__)
        self._suspects = [run for run in self._suspects if not run.lane.dropped]
        checks: list[RecordRun] = []
        marks: list[RecordRun] = []
        runs: list[RecordRun] = []
        while self._suspects and not runs:
            # Each alone: the one that breaks its transaction again is at fault.
            self._add(self._suspects.pop(0), runs)
        if not runs:
            checks, self._checks = self._alive(self._checks)
            marks, self._marks = self._alive(self._marks)
            runs, self._behind = self._alive(self._behind)
            for run in self._lanes.take(Work.TRANSACTION, self._limit, max_per_lane=self._limit):
                if not self._waits(run):
                    self._add(run, runs)
        loads, postponements = self._parked.take_requests()
        # One that a failed batch gave back may be of a partition that is lost by now.
        postponements = [one for one in postponements if one.partition in self._ownership]
        partitions = {run.partition for group in (runs, checks, marks) for run in group}
        partitions.update(load.run.partition for load in loads)
        partitions.update(postponement.partition for postponement in postponements)
        scan = len(self._ownership) > 0 and self._clock() >= self._scan_at_s
        if scan:
            self._scan_at_s = self._clock() + self._scan_every_s
            partitions.update(self._ownership)
            # Here, as it looks at every lane: every second or two is often enough.
            heads = list(self._lanes.heads())
            self.oldest_ms = min((r.timestamp_ms for r in heads), default=None)
            self.oldest_live_ms = min(
                (r.timestamp_ms for r in heads if not r.parked_at_ms), default=None
            )
        if not partitions:
            return None
        self._busy = True
        park_delay_s = self._parked.first_delay_s()
        return Batch(
            claims=self._ownership.claims(partitions),
            watermarks=self._ownership.watermarks(partitions),
            runs=runs,
            checks=checks,
            marks=marks,
            loads=loads,
            postponements=postponements,
            scan=scan,
            scan_all=self._scan_all,
            park_retry_at_ms=int((self._wall_s() + park_delay_s) * 1000),
            park_delay_s=park_delay_s,
        )

    def failed(self, batch: Batch, error: Exception) -> None:
        """Nothing of a batch was committed: all of it comes again, after a while."""
        self._busy = False
        self._failures += 1
        # If one event's handler breaks the transaction, smaller batches corner it; at once, as it
        # is not the store that has to recover.
        at_fault = isinstance(error, StatementFailed | TransactionEnded)
        delay_s = max(0.05, self._backoff.delay_s(self._failures, self._draw()))
        self._retry_s = self._clock() + (0.0 if at_fault else delay_s)
        self._limit = max(1, self._limit // (8 if at_fault else 2))
        if self._failures == 1 and not at_fault:
            log.error(
                "the store did not commit: events wait and are tried again",
                extra={"data": {"error": type(error).__name__, "detail": str(error)}},
            )
        events = sum(len(run.items) for run in batch.runs)
        # In company it would never be found out: there is always somebody else who waits.
        few = at_fault and events <= _FEW and (events > 1 or bool(batch.checks or batch.marks))
        for run in batch.runs:
            for record in run.items:
                if record.park_reason == BEHIND:
                    # Whether it must queue is decided anew.
                    record.park_reason = ""
            if few:
                run.items = run.items[:1]
                self._suspects.append(run)
            else:
                self._lanes.finish(run, 0)
        self._checks = [*batch.checks, *self._checks]
        self._marks = [*batch.marks, *self._marks]
        self._parked.not_carried_out(batch.loads, batch.postponements)
        if batch.scan:
            # It may have been committed all the same, and taken the operators' marks away.
            self._scan_all = True
            self._scan_at_s = self._retry_s

    @property
    def failing(self) -> bool:
        """Whether the store has not committed the last times."""
        return self._failures > 1

    def succeeded(self, batch: Batch) -> None:
        """A batch was committed."""
        self._busy = False
        if batch.scan:
            self._scan_all = False
        if self._failures > 1:
            log.info("the store commits again", extra={"data": {"after": self._failures}})
        self._failures = 0
        self._limit = min(self._max_events, self._limit * 2)

    def _take_external(self) -> None:
        for work in self._calls.works:
            room = self._calls.room(work)
            if room <= 0 or not self._lanes.ready(work):
                continue
            for run in self._lanes.take(work, room):
                if self._waits(run):
                    continue
                if self._parked.must_queue(run):
                    self._add(run, self._behind)
                else:
                    self._calls.look_up(run, work)
                    self._checks.append(run)

    def _waits(self, run: RecordRun) -> bool:
        """Whether a call of an earlier life of the key goes on: one event of a key at a time."""
        if not self._lingering or (run.partition, run.key) not in self._lingering:
            return False
        self._lanes.finish(run, 0, self._clock() + _LINGERING_WAIT_S)
        return True

    def _add(self, run: RecordRun, runs: list[RecordRun]) -> None:
        """Add a run to a batch; what must queue behind parked events is parked by that batch."""
        must_queue = self._parked.must_queue(run)
        if must_queue and not self._parked.queue(run, must_queue):
            # The bound on what is parked: its lane waits, and in time the partition. Not what it
            # has loaded, though, which makes room.
            loaded = [record for record in run.items if record.parked_at_ms]
            if not loaded:
                self._lanes.finish(run, 0, self._clock() + _NO_ROOM_WAIT_S)
                return
            run.items = loaded
        runs.append(run)

    def _alive(self, runs: list[RecordRun]) -> tuple[list[RecordRun], list[RecordRun]]:
        """As many as a batch may hold, and the rest, without those of partitions given up."""
        for run in runs:
            if run.lane.dropped:
                self.left(run)
        alive = [run for run in runs if not run.lane.dropped]
        return alive[: self._limit], alive[self._limit :]
