"""The one thread that owns lanes and watermarks: takes messages in, hands batches out.

All others talk to it through its inbox; it never blocks on Kafka, the store or a handler.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from queue import Empty, SimpleQueue

from consumer.core.backoff import Backoff
from consumer.core.disposition import Action, Outcome
from consumer.core.lanes import Lanes, Work
from consumer.engine.apply_runs import RecordRun, RunResult
from consumer.engine.commands import (
    Assigned,
    Command,
    ExternalDone,
    Limits,
    ParkingLimits,
    Polled,
    Released,
    Stop,
)
from consumer.engine.engine_metrics import EngineMetrics, Gauges
from consumer.engine.event_log import log_each
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, BatchResult
from consumer.engine.ownership import Ownership
from consumer.engine.parked_lanes import BEHIND, ParkedLanes, work_of
from consumer.engine.record import Record, read, read_parked
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handlers
from consumer.stores.contract import ParkedEvent, Partition
from schemas.errors import HandlerError

log = logging.getLogger("hookline.consumer")

_NO_ROOM_WAIT_S = 1.0


class Dispatcher:
    """Decides what runs next. All but `full`, `gauges` and `idle_s` is for its own thread.

    The thread is `run`; its steps (`obey`, `hand_out`, `wake`) are public so that a simulation can
    take them one by one.
    """

    def __init__(
        self,
        *,
        handlers: Handlers,
        limits: Limits,
        parking: ParkingLimits,
        backoff: Backoff,
        failures: Failures,
        tracing: ConsumerTracing,
        batches: SimpleQueue[Batch | None],
        external: ExternalHandlers,
        inbox: SimpleQueue[Command],
        metrics: EngineMetrics,
        owner: str = "",
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`clock` is monotonic, `wall_s` Unix time, in seconds; `draw` uniform in [0, 1)."""
        self.inbox = inbox
        self.stopped_by_policy = ""
        #: When (Unix ms) the oldest event that is not done was put into Kafka, or parked.
        self.oldest_ms: int | None = None
        self._clock = clock
        self._wall_s = wall_s
        self._draw = draw
        self._scan_every_s = parking.scan_every_s
        self._scan_at_s = 0.0
        # The poll thread acquires it before it puts messages: what waits to be decoded is bounded.
        self.intake = threading.Semaphore(2)
        self._handlers = handlers
        self._limits = limits
        self._backoff = backoff
        self._failures = failures
        self._tracing = tracing
        self._batches = batches
        self._external = external
        self._metrics = metrics
        self._lanes: Lanes[Partition, Record] = Lanes(
            max_events=limits.max_buffered_events, max_bytes=limits.max_buffered_bytes
        )
        self._parked = ParkedLanes(self._lanes, parking, clock=clock, wall_s=wall_s, draw=draw)
        self.ownership = Ownership(owner, metrics)
        self._checks: list[RecordRun] = []
        self._behind: list[RecordRun] = []
        self._marks: list[RecordRun] = []
        self._external_runs: set[RecordRun] = set()
        self._store_busy = False
        self._store_failures = 0
        self._store_retry_s = 0.0
        self._batch_limit = limits.max_batch_events
        self._active_s = clock()

    @property
    def full(self) -> bool:
        """Whether the poll thread must wait; an estimate from another thread is good enough."""
        return self._lanes.full

    def gauges(self, lag: Mapping[str, int], oldest_s: float) -> Gauges:
        """What there is now; `lag` per partition and the age of the oldest are the caller's."""
        lanes, parked = self._lanes, self._parked
        return Gauges(
            lanes=len(lanes),
            buffered_events=lanes.events,
            buffered_bytes=lanes.bytes,
            parked_keys=parked.keys,
            parked_events=parked.events,
            oldest_unfinished_s=oldest_s if lanes.events else 0.0,
            lag=lag,
        )

    @property
    def idle_s(self) -> float:
        """For how long nothing has ended though something could; 0 while nothing waits."""
        if len(self._lanes) <= self._lanes.resting:
            return 0.0
        return self._clock() - self._active_s

    def run(self) -> None:
        """The thread: until `Stop`."""
        while True:
            try:
                command = self.inbox.get(timeout=self.patience_s())
            except Empty:
                self.wake()
            else:
                if isinstance(command, Stop):
                    return
                self.obey(command)
            if self.stopped_by_policy:
                raise HandlerError(self.stopped_by_policy)
            self.hand_out()

    def patience_s(self) -> float | None:
        """How long nothing will happen by itself; None: for ever."""
        times = [self._lanes.next_wake(), self._parked.next_due()]
        if self._store_failures and not self._store_busy:
            times.append(self._store_retry_s)
        if len(self.ownership) and not self._store_busy:
            times.append(self._scan_at_s)
        waits = [at - self._clock() for at in times if at is not None]
        # Never quite at once: what is due may have to wait for something else to end.
        return max(0.005, min(waits)) if waits else None

    def wake(self) -> None:
        """Let time have its effect."""
        if not self._lanes.events:
            self._active_s = self._clock()
        self._lanes.wake(self._clock())

    def obey(self, command: Command) -> None:
        """Take one command in."""
        if isinstance(command, Polled):
            self._take_in(command)
            self.intake.release()
        elif isinstance(command, BatchResult):
            self._store_busy = False
            batch = command.batch
            if batch.runs or batch.checks or batch.marks:
                self._active_s = self._clock()
            if command.error is not None:
                self._batch_failed(command.batch, command.error)
            else:
                self._batch_committed(command)
        elif isinstance(command, ExternalDone):
            self._active_s = self._clock()
            self._external_done(command)
        elif isinstance(command, Assigned):
            for claim in command.claims:
                self._forget(claim.partition)
                self.ownership.assign(claim)
                self._parked.claimed(claim)
        elif isinstance(command, Released):
            self._release(command)
        self.wake()

    def _take_in(self, polled: Polled) -> None:
        parent_of = self._tracing.parent_of if self._tracing.enabled else None
        for message in polled.messages:
            partition = Partition(message.topic(), message.partition())
            fresh = self.ownership.deliver(partition, message.offset())
            if fresh is None:
                self._lanes.drop(partition)
            elif not fresh:
                continue
            record = read(message, self._handlers, polled.polled_ns, polled.now_ms, parent_of)
            self._lanes.add(partition, record.key, record, record.size_bytes, record.work)

    def hand_out(self) -> None:
        """Give the committer its next batch, if it has none and there is something to do."""
        room = self._limits.concurrency - len(self._external_runs)
        behind: list[RecordRun] = []
        if room > 0 and self._lanes.ready(Work.EXTERNAL):
            for run in self._lanes.take(Work.EXTERNAL, room):
                if self._parked.must_queue(run):
                    self._queue_behind(run, behind)
                else:
                    self._external_runs.add(run)
                    self._checks.append(run)
        self._behind.extend(behind)
        if self._store_busy or (self._store_failures and self._clock() < self._store_retry_s):
            return
        self._parked.collect_due(self.ownership.draining.__contains__)
        limit = self._batch_limit
        checks, self._checks = self._alive(self._checks, limit)
        marks, self._marks = self._alive(self._marks, limit)
        runs, self._behind = self._alive(self._behind, limit)
        for run in self._lanes.take(Work.TRANSACTION, limit, max_per_lane=limit):
            self._queue_behind(run, runs)
        loads, postponements = self._parked.take_requests()
        scan = len(self.ownership) > 0 and self._clock() >= self._scan_at_s
        partitions = {run.partition for group in (runs, checks, marks) for run in group}
        partitions.update(load.run.partition for load in loads)
        partitions.update(postponement.partition for postponement in postponements)
        if scan:
            self._scan_at_s = self._clock() + self._scan_every_s
            partitions.update(self.ownership)
            # Here, as it looks at every lane: every second or two is often enough.
            self.oldest_ms = min((r.timestamp_ms for r in self._lanes.heads()), default=None)
        if not partitions:
            return
        self._store_busy = True
        park_delay_s = self._parked.first_delay_s()
        self._batches.put(
            Batch(
                claims=self.ownership.claims(partitions),
                watermarks=self.ownership.watermarks(partitions),
                runs=runs,
                checks=checks,
                marks=marks,
                loads=loads,
                postponements=postponements,
                scan=scan,
                park_retry_at_ms=int((self._wall_s() + park_delay_s) * 1000),
                park_delay_s=park_delay_s,
            )
        )

    def _queue_behind(self, run: RecordRun, runs: list[RecordRun]) -> None:
        """Add a run to a batch; what must queue behind parked events is parked by that batch."""
        must_queue = self._parked.must_queue(run)
        if must_queue and not self._parked.queue(run, must_queue):
            # The bound on what is parked: its lane waits, and in time the partition.
            self._lanes.finish(run, 0, self._clock() + _NO_ROOM_WAIT_S)
            return
        runs.append(run)

    def _alive(self, runs: list[RecordRun], limit: int) -> tuple[list[RecordRun], list[RecordRun]]:
        """The first `limit` runs and the rest, without those whose partition was given up."""
        self._external_runs.difference_update(run for run in runs if run.lane.dropped)
        alive = [run for run in runs if not run.lane.dropped]
        return alive[:limit], alive[limit:]

    def _batch_failed(self, batch: Batch, error: Exception) -> None:
        self._store_failures += 1
        delay_s = max(0.05, self._backoff.delay_s(self._store_failures, self._draw()))
        self._store_retry_s = self._clock() + delay_s
        # If one event's handler breaks the transaction, smaller batches corner it.
        self._batch_limit = max(1, self._batch_limit // 2)
        if self._store_failures == 1:
            log.error(
                "the store did not commit: events wait and are tried again",
                extra={"data": {"error": type(error).__name__, "detail": str(error)}},
            )
        for run in batch.runs:
            for record in run.items:
                if record.park_reason == BEHIND:
                    # Whether it must queue is decided anew.
                    record.park_reason = ""
            self._lanes.finish(run, 0)
        self._checks = [*batch.checks, *self._checks]
        self._marks = [*batch.marks, *self._marks]
        self._parked.not_carried_out(batch.loads, batch.postponements)
        if batch.scan:
            self._scan_at_s = self._store_retry_s
        self._settle_draining()

    def _batch_committed(self, result: BatchResult) -> None:
        if self._store_failures:
            log.info("the store commits again", extra={"data": {"after": self._store_failures}})
        self._store_failures = 0
        self._batch_limit = min(self._limits.max_batch_events, self._batch_limit * 2)
        for partition, owner in result.fenced.items():
            if self.ownership.lost(result.batch.claims, partition, owner):
                self._forget(partition)
        self._external_runs.difference_update(
            run for run in result.batch.checks if run.partition in result.fenced
        )
        outcomes: Counter[Outcome] = Counter()
        records: list[Record] = []
        for run_result in result.runs:
            self._run_ended(run_result, result.batch.park_delay_s)
            outcomes.update(run_result.outcomes)
            records.extend(run_result.run.items[: len(run_result.outcomes)])
        for run, outcome in result.settled:
            self._finished(run, outcome, outcomes, records)
        for run in result.new:
            if run.lane.dropped or run.partition in self.ownership.draining:
                self._external_runs.discard(run)
                self._lanes.finish(run, 0)
            else:
                self._external.start(run)
        for run, parked in result.loaded:
            self._parked.loaded(run, self._read_parked(parked))
        for key in result.touched:
            if key.partition in self.ownership:
                self._parked.learn(key)
        self.ownership.advanced(result.positions)
        if outcomes:
            self._metrics.committed(outcomes, records, (result.ended_ns - result.began_ns) / 1e9)
            self._tracing.committed(records, result.commit_began_ns, result.ended_ns)
            if log.isEnabledFor(logging.DEBUG):
                log_each(result)
        self._settle_draining()

    def _read_parked(self, parked: Iterable[ParkedEvent]) -> list[Record]:
        context_of = self._tracing.context_of if self._tracing.enabled else None
        now_ns = time.monotonic_ns()
        return [read_parked(event, self._handlers, now_ns, context_of) for event in parked]

    def _finished(
        self,
        run: RecordRun,
        outcome: Outcome,
        outcomes: Counter[Outcome],
        records: list[Record],
    ) -> None:
        """An external event is done."""
        self._external_runs.discard(run)
        if self._ended(run, [outcome], 0.0):
            outcomes[outcome] += 1
            records.append(run.items[0])

    def _ended(self, run: RecordRun, outcomes: list[Outcome], park_delay_s: float) -> bool:
        """The first events of a run are done and nothing stopped it."""
        if not self._lanes.finish(run, len(outcomes)):
            return False
        self._count(run, outcomes, park_delay_s)
        return True

    def _count(self, run: RecordRun, outcomes: list[Outcome], park_delay_s: float) -> None:
        self._parked.ended(run, outcomes, park_delay_s)
        live = [r.offset for r in run.items[: len(outcomes)] if not r.parked_at_ms]
        if live:
            self.ownership.complete(run.partition, live)

    def _run_ended(self, result: RunResult, park_delay_s: float) -> None:
        if result.error is None:
            self._ended(result.run, result.outcomes, park_delay_s)
        else:
            self._failed(result.run, result.outcomes, result.error, park_delay_s)

    def _failed(
        self, run: RecordRun, outcomes: list[Outcome], error: Exception, park_delay_s: float = 0.0
    ) -> None:
        """The event behind the first `outcomes` of a run has failed."""
        if run.lane.dropped:
            return
        if outcomes:
            self._count(run, outcomes, park_delay_s)
        done = len(outcomes)
        record = run.items[done]
        decision = self._failures.decide(record, error, room=self._parked.room(run))
        retry_at: float | None = None
        discard = 0
        if decision.action is Action.RETRY:
            retry_at = self._clock() + decision.delay_s
        elif decision.action is Action.POSTPONE:
            discard = self._parked.failed(run, decision.delay_s)
        elif decision.action is Action.STOP:
            self.stopped_by_policy = (
                f"event at {record.partition} offset {record.offset} failed for good and "
                "consumer.on_failure is stop: mend its handler, or choose park or skip"
            )
        if done == 0 and work_of(record) is not record.work:
            record.work = work_of(record)
            self._lanes.reclassify(run, record.work)
        self._lanes.finish(run, done, retry_at, discard=discard)

    def _external_done(self, command: ExternalDone) -> None:
        run = command.run
        if command.error is None:
            self._marks.append(run)
            return
        self._external_runs.discard(run)
        self._failed(run, [], command.error)
        self._settle_draining()

    def _release(self, command: Released) -> None:
        for partition in command.partitions:
            if command.drained is None or partition not in self.ownership:
                self._forget(partition)
            else:
                self._lanes.drop_waiting(partition)
                self.ownership.draining[partition] = command.drained
        if command.drained is not None and not command.partitions:
            command.drained.set()
        self._settle_draining(command.drained)

    def _settle_draining(self, asked: threading.Event | None = None) -> None:
        draining = self.ownership.draining
        events = {*draining.values()}
        if asked is not None:
            events.add(asked)
        for partition in list(draining):
            self._lanes.drop_waiting(partition)
            if not self._lanes.in_flight(partition):
                self._forget(partition)
        for event in events - {*draining.values()}:
            event.set()

    def _forget(self, partition: Partition) -> None:
        self._lanes.drop(partition)
        self._parked.drop(partition)
        self.ownership.forget(partition)
