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
from consumer.core.lanes import Lanes
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
from consumer.engine.execution_columns import Committed
from consumer.engine.execution_log import ExecutionLog
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, BatchResult
from consumer.engine.next_batch import NextBatch
from consumer.engine.ownership import Ownership
from consumer.engine.parked_lanes import ParkedLanes, work_of
from consumer.engine.record import Record, read, read_parked
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handlers
from consumer.stores.contract import ParkedEvent, Partition
from schemas.errors import HandlerError, StatementFailed, TransactionEnded

log = logging.getLogger("hookline.consumer")

_COMMANDS_AT_ONCE = 256


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
        executions: ExecutionLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`clock` is monotonic, `wall_s` Unix time, in seconds; `draw` uniform in [0, 1)."""
        self.inbox = inbox
        self.stopped_by_policy = ""
        self._clock = clock
        # The poll thread acquires it before it puts messages: what waits to be decoded is bounded.
        self.intake = threading.Semaphore(2)
        self._handlers = handlers
        self._failures = failures
        self._tracing = tracing
        self._batches = batches
        self._external = external
        self._metrics = metrics
        self._executions = executions
        self._lanes: Lanes[Partition, Record] = Lanes(
            max_events=limits.max_buffered_events, max_bytes=limits.max_buffered_bytes
        )
        self._parked = ParkedLanes(self._lanes, parking, clock=clock, wall_s=wall_s, draw=draw)
        self.ownership = Ownership(owner, metrics)
        self._next = NextBatch(
            self._lanes,
            self._parked,
            self.ownership,
            concurrency=limits.concurrency,
            threads=limits.threads,
            max_events=limits.max_batch_events,
            scan_every_s=parking.scan_every_s,
            backoff=backoff,
            clock=clock,
            wall_s=wall_s,
            draw=draw,
        )
        self._active_s = clock()

    @property
    def full(self) -> bool:
        """Whether the poll thread must wait; an estimate from another thread is good enough."""
        return self._lanes.full

    def gauges(self, lag: Mapping[str, int], oldest_s: float, oldest_live_s: float = 0.0) -> Gauges:
        """What there is now; `lag` per partition and the ages of the oldest are the caller's."""
        lanes, parked = self._lanes, self._parked
        return Gauges(
            lanes=len(lanes),
            buffered_events=lanes.events,
            buffered_bytes=lanes.bytes,
            parked_keys=parked.keys,
            parked_events=parked.events,
            oldest_unfinished_s=oldest_s if lanes.events else 0.0,
            lag_s=oldest_live_s if lanes.events else 0.0,
            lag=lag,
        )

    @property
    def oldest_ms(self) -> tuple[int | None, int | None]:
        """When (Unix ms) the oldest event that is not done came, or was parked; and of the live."""
        return self._next.oldest_ms, self._next.oldest_live_ms

    @property
    def store_failing(self) -> bool:
        """Whether the store does not commit at present."""
        return self._next.failing

    @property
    def idle_s(self) -> float:
        """For how long nothing has ended though something could; 0 while nothing waits."""
        if len(self._lanes) <= self._lanes.resting:
            return 0.0
        return self._clock() - self._active_s

    def run(self) -> None:
        """The thread: until `Stop`."""
        try:
            self._serve()
        finally:
            if self._executions is not None:
                self._executions.write()

    def _serve(self) -> None:
        while True:
            try:
                command = self.inbox.get(timeout=self.patience_s())
            except Empty:
                self.wake()
            else:
                if isinstance(command, Stop):
                    return
                self.obey(command)
                # What has come meanwhile, before anything is handed out: a batch then holds more.
                for _ in range(_COMMANDS_AT_ONCE):
                    try:
                        command = self.inbox.get_nowait()
                    except Empty:
                        break
                    if isinstance(command, Stop):
                        return
                    self.obey(command)
            if self.stopped_by_policy:
                raise HandlerError(self.stopped_by_policy)
            self.hand_out()

    def patience_s(self) -> float | None:
        """How long nothing will happen by itself; None: for ever."""
        times = [self._lanes.next_wake(), self._parked.next_due(), *self._next.when()]
        waits = [at - self._clock() for at in times if at is not None]
        # Never quite at once: what is due may have to wait for something else to end.
        # And never longer than a wait can be given in seconds.
        return min(3600.0, max(0.005, min(waits))) if waits else None

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
            batch = command.batch
            if batch.runs or batch.checks or batch.marks:
                self._active_s = self._clock()
            if command.error is not None:
                self._next.failed(batch, command.error)
                self._blame(batch, command.error)
                self._settle_draining()
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
        # Once per message: what is looked up here, or made anew, is most of what a message costs.
        deliver, add, handlers = self.ownership.deliver, self._lanes.add, self._handlers
        polled_ns, now_ms = polled.polled_ns, polled.now_ms
        partition = Partition("", -1)
        for message in polled.messages:
            number = message.partition()
            # One topic is subscribed to; a poll gives runs of a partition.
            if number != partition.number:
                partition = Partition(message.topic(), number)
            offset = message.offset()
            fresh = deliver(partition, offset)
            if fresh is None:
                self._drop(partition)
            elif not fresh:
                continue
            record = read(message, partition, offset, handlers, polled_ns, now_ms, parent_of)
            add(partition, record.key, record, record.size_bytes, record.work)

    def hand_out(self) -> None:
        """Give the committer its next batch, if it has none and there is something to do."""
        batch = self._next.take()
        if batch is not None:
            self._batches.put(batch)
        # Now that the committer has something to do.
        if self._executions is not None:
            self._executions.write()

    def _batch_committed(self, result: BatchResult) -> None:
        self._next.succeeded(result.batch)
        for partition, owner in result.fenced.items():
            if self.ownership.lost(result.batch.claims, partition, owner):
                self._forget(partition)
        if result.fenced:
            for run in result.batch.checks:
                if run.partition in result.fenced:
                    self._next.left(run)
        self.ownership.complete(result.batch.claims, result.offsets)
        ended: list[Outcome] = []
        records: list[Record] = []
        for run_result in _unstarted_first(result.runs):
            run, outcomes = run_result.run, run_result.outcomes
            if result.parking and not run.lane.dropped:
                self._parked.ended(run, outcomes, result.batch.park_delay_s)
            if run_result.error is None:
                self._lanes.finish(run, len(outcomes))
            else:
                self._failed(run, len(outcomes), run_result.error)
            ended += outcomes
            items = run.items
            records += items if len(outcomes) == len(items) else items[: len(outcomes)]
        for run, outcome in result.settled:
            self._next.left(run)
            if self._lanes.finish(run, 1):
                self._parked.ended(run, [outcome], 0.0)
            ended.append(outcome)
            records.append(run.items[0])
        for run in result.new:
            if run.lane.dropped or run.partition in self.ownership.draining:
                self._next.left(run)
                self._lanes.finish(run, 0)
            else:
                self._next.looked_up(run)
        self._start_calls()
        for run, parked in result.loaded:
            self._parked.loaded(run, self._read_parked(parked))
        for key in result.touched:
            if key.partition in self.ownership:
                self._parked.learn(key)
        self.ownership.advanced(result.positions)
        if ended:
            self._metrics.committed(
                Counter(ended), records, (result.ended_ns - result.began_ns) / 1e9
            )
            self._tracing.committed(records, result.commit_began_ns, result.ended_ns)
            if self._executions is not None:
                self._executions.committed(
                    Committed(records, ended, result.began_ns, result.ended_ns)
                )
            if log.isEnabledFor(logging.DEBUG):
                log_each(result)
        self._settle_draining()

    def _read_parked(self, parked: Iterable[ParkedEvent]) -> list[Record]:
        context_of = self._tracing.context_of if self._tracing.enabled else None
        now_ns = time.monotonic_ns()
        return [read_parked(event, self._handlers, now_ns, context_of) for event in parked]

    def _blame(self, batch: Batch, error: Exception) -> None:
        """A batch of one event that breaks its transaction has failed, not the store."""
        alone = len(batch.runs) == 1 and len(batch.runs[0].items) == 1
        if not alone or batch.checks or batch.marks:
            return
        if isinstance(error, StatementFailed | TransactionEnded):
            run = self._lanes.hold(batch.runs[0].partition, batch.runs[0].key)
            if run is not None:
                run.items = batch.runs[0].items
                self._failed(run, 0, HandlerError(str(error)))

    def _failed(self, run: RecordRun, done: int, error: Exception) -> None:
        """The event behind the first `done` of a run has failed."""
        if run.lane.dropped:
            return
        record = run.items[done]
        decision = self._failures.decide(
            record, error, room=self._parked.room(run), pressed=self._lanes.full
        )
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
        self._next.returned(run)
        self._start_calls()
        if command.error is None:
            self._next.mark(run)
            return
        self._failed(run, 0, command.error)
        self._settle_draining()

    def _start_calls(self) -> None:
        for run in self._next.to_call():
            self._external.start(run)

    def _release(self, command: Released) -> None:
        for partition in command.partitions:
            if command.drained is None or partition not in self.ownership:
                self._forget(partition)
            else:
                self._next.withdraw(partition)
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
        self._drop(partition)
        self._parked.drop(partition)
        self.ownership.forget(partition)

    def _drop(self, partition: Partition) -> None:
        # In this order: calls under way are noted while their lanes live, and a handler that has
        # not begun when it is cut off sees that its lane is gone.
        self._next.given_up(partition)
        self._lanes.drop(partition)
        self._external.cancel(partition)


def _unstarted_first(results: list[RunResult]) -> list[RunResult]:
    """The runs for which there was no time go to the front of the next batch: their lanes first."""
    if not results or results[-1].outcomes or results[-1].error is not None:
        return results
    return sorted(results, key=lambda result: bool(result.outcomes or result.error))
