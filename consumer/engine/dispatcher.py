"""The one thread that owns lanes and watermarks: takes messages in, hands batches out.

All others talk to it through its inbox; it never blocks on Kafka, the store or a handler.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from queue import Empty, SimpleQueue

import msgspec

from consumer.core.backoff import Backoff
from consumer.core.disposition import Outcome
from consumer.core.lanes import Lanes, Work
from consumer.core.watermark import Watermark
from consumer.engine.engine_metrics import EngineMetrics
from consumer.engine.event_log import log_each
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, BatchResult, RecordRun, RunResult
from consumer.engine.record import Message, Record, read
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handlers
from consumer.stores.contract import Claim, Partition

log = logging.getLogger("hookline.consumer")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one consumer."""

    concurrency: int = 256
    threads: int = 16
    max_buffered_events: int = 20_000
    max_buffered_bytes: int = 64 * 1024 * 1024
    max_batch_events: int = 500
    drain_deadline_s: float = 20.0


class Polled(msgspec.Struct, frozen=True):
    """Messages, in the order of the log within each partition."""

    messages: list[Message]
    polled_ns: int
    now_ms: float


class Assigned(msgspec.Struct, frozen=True):
    """Partitions that are ours from now on; sent before any of their messages."""

    claims: list[Claim]


class Released(msgspec.Struct, frozen=True, eq=False):
    """Partitions to give up. With `drained`, finish what runs first and then set it."""

    partitions: list[Partition]
    drained: threading.Event | None = None


class ExternalDone(msgspec.Struct, frozen=True, eq=False):
    """An external handler has ended."""

    run: RecordRun
    error: Exception | None


class Stop(msgspec.Struct, frozen=True):
    """End the thread; the partitions were released before."""


Command = Polled | Assigned | Released | ExternalDone | BatchResult | Stop


class Dispatcher:
    """Decides what runs next. Every method but `buffered` and `committable` is its thread's."""

    def __init__(
        self,
        *,
        handlers: Handlers,
        limits: Limits,
        backoff: Backoff,
        failures: Failures,
        tracing: ConsumerTracing,
        batches: SimpleQueue[Batch | None],
        external: ExternalHandlers,
        inbox: SimpleQueue[Command],
        metrics: EngineMetrics,
    ) -> None:
        self.inbox = inbox
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
        self._claims: dict[Partition, Claim] = {}
        self._watermarks: dict[Partition, Watermark] = {}
        self._draining: dict[Partition, threading.Event] = {}
        self._checks: list[RecordRun] = []
        self._marks: list[RecordRun] = []
        self._external_runs: set[RecordRun] = set()
        self._store_busy = False
        self._store_failures = 0
        self._store_retry_s = 0.0
        self._batch_limit = limits.max_batch_events
        self._committable: dict[Partition, int] = {}
        self._committable_lock = threading.Lock()
        self._fenced: set[Partition] = set()

    @property
    def full(self) -> bool:
        """Whether the poll thread must wait; an estimate from another thread is good enough."""
        return self._lanes.full

    def gauges(self) -> tuple[int, int, int]:
        """Lanes, and the events and bytes they hold."""
        return len(self._lanes), self._lanes.events, self._lanes.bytes

    def take_committable(self) -> dict[Partition, int]:
        """The positions to commit to Kafka since the last call."""
        with self._committable_lock:
            positions, self._committable = self._committable, {}
        return positions

    def take_fenced(self) -> set[Partition]:
        """Partitions that turned out to be another's since the last call."""
        with self._committable_lock:
            fenced, self._fenced = self._fenced, set()
        return fenced

    def run(self) -> None:
        """The thread: until `Stop`."""
        while True:
            try:
                command = self.inbox.get(timeout=self._patience_s())
            except Empty:
                self._lanes.wake(time.monotonic())
            else:
                if isinstance(command, Stop):
                    return
                self._obey(command)
            self._hand_out()

    def _patience_s(self) -> float | None:
        times = [self._lanes.next_wake()]
        if self._store_failures and not self._store_busy:
            times.append(self._store_retry_s)
        waits = [at - time.monotonic() for at in times if at is not None]
        return max(0.0, min(waits)) if waits else None

    def _obey(self, command: Command) -> None:
        if isinstance(command, Polled):
            self._take_in(command)
            self.intake.release()
        elif isinstance(command, BatchResult):
            self._store_busy = False
            if command.error is not None:
                self._batch_failed(command.batch, command.error)
            else:
                self._batch_committed(command)
        elif isinstance(command, ExternalDone):
            self._external_done(command)
        elif isinstance(command, Assigned):
            for claim in command.claims:
                self._forget(claim.partition)
                self._claims[claim.partition] = claim
        elif isinstance(command, Released):
            self._release(command)
        self._lanes.wake(time.monotonic())

    def _take_in(self, polled: Polled) -> None:
        parent_of = self._tracing.parent_of if self._tracing.enabled else None
        for message in polled.messages:
            partition = Partition(message.topic(), message.partition())
            if partition not in self._claims or partition in self._draining:
                continue
            watermark = self._watermarks.get(partition)
            offset = message.offset()
            if watermark is None or offset < watermark.position:
                if watermark is not None:
                    log.warning(
                        "the log is shorter than our progress: was the topic made anew? "
                        "going on from where the log is",
                        extra={"data": {"partition": str(partition), "offset": offset}},
                    )
                    self._lanes.drop(partition)
                watermark = self._watermarks[partition] = Watermark(offset)
            if not watermark.deliver(offset):
                continue
            record = read(message, self._handlers, polled.polled_ns, polled.now_ms, parent_of)
            self._lanes.add(partition, record.key, record, record.size_bytes, record.work)

    def _hand_out(self) -> None:
        room = self._limits.concurrency - len(self._external_runs)
        if room > 0 and self._lanes.ready(Work.EXTERNAL):
            runs = self._lanes.take(Work.EXTERNAL, room)
            self._external_runs.update(runs)
            self._checks.extend(runs)
        if self._store_busy or (self._store_failures and time.monotonic() < self._store_retry_s):
            return
        limit = self._batch_limit
        checks, self._checks = self._alive(self._checks, limit)
        marks, self._marks = self._alive(self._marks, limit)
        runs = self._lanes.take(Work.TRANSACTION, limit, max_per_lane=limit)
        partitions = {run.partition for group in (runs, checks, marks) for run in group}
        if not partitions:
            return
        self._store_busy = True
        self._batches.put(
            Batch(
                claims=[self._claims[p] for p in partitions if p in self._claims],
                watermarks={p: w.copy() for p, w in self._watermarks.items() if p in partitions},
                runs=runs,
                checks=checks,
                marks=marks,
            )
        )

    def _alive(self, runs: list[RecordRun], limit: int) -> tuple[list[RecordRun], list[RecordRun]]:
        """The first `limit` runs and the rest, without those whose partition was given up."""
        self._external_runs.difference_update(run for run in runs if run.lane.dropped)
        alive = [run for run in runs if not run.lane.dropped]
        return alive[:limit], alive[limit:]

    def _batch_failed(self, batch: Batch, error: Exception) -> None:
        self._store_failures += 1
        delay_s = max(0.05, self._backoff.delay_s(self._store_failures, random.random()))
        self._store_retry_s = time.monotonic() + delay_s
        # If one event's handler breaks the transaction, smaller batches corner it.
        self._batch_limit = max(1, self._batch_limit // 2)
        if self._store_failures == 1:
            log.error(
                "the store did not commit: events wait and are tried again",
                extra={"data": {"error": type(error).__name__, "detail": str(error)}},
            )
        for run in batch.runs:
            self._lanes.finish(run, 0)
        self._checks = [*batch.checks, *self._checks]
        self._marks = [*batch.marks, *self._marks]
        self._settle_draining()

    def _batch_committed(self, result: BatchResult) -> None:
        if self._store_failures:
            log.info("the store commits again", extra={"data": {"after": self._store_failures}})
        self._store_failures = 0
        self._batch_limit = min(self._limits.max_batch_events, self._batch_limit * 2)
        for partition in result.fenced:
            self._lost_to_another(partition)
        self._external_runs.difference_update(
            run for run in result.batch.checks if run.partition in result.fenced
        )
        outcomes: Counter[Outcome] = Counter()
        records: list[Record] = []
        for run_result in result.runs:
            self._run_ended(run_result)
            outcomes.update(run_result.outcomes)
            records.extend(run_result.run.items[: len(run_result.outcomes)])
        for run in result.duplicates:
            self._finished(run, Outcome.DUPLICATE, outcomes, records)
        for run in result.batch.marks:
            self._finished(run, Outcome.APPLIED, outcomes, records)
        for run in result.new:
            if run.lane.dropped or run.partition in self._draining:
                self._external_runs.discard(run)
                self._lanes.finish(run, 0)
            else:
                self._external.start(run)
        with self._committable_lock:
            for partition, position in result.positions.items():
                if partition in self._claims:
                    self._committable[partition] = position
        if outcomes:
            self._metrics.committed(outcomes, records, (result.ended_ns - result.began_ns) / 1e9)
            self._tracing.committed(records, result.commit_began_ns, result.ended_ns)
            if log.isEnabledFor(logging.DEBUG):
                log_each(result)
        self._settle_draining()

    def _finished(
        self,
        run: RecordRun,
        outcome: Outcome,
        outcomes: Counter[Outcome],
        records: list[Record],
    ) -> None:
        self._external_runs.discard(run)
        record = run.items[0]
        if self._lanes.finish(run, 1):
            self._watermarks[run.partition].complete(record.offset)
            outcomes[outcome] += 1
            records.append(record)

    def _run_ended(self, result: RunResult) -> None:
        run, done = result.run, len(result.outcomes)
        retry_at: float | None = None
        if result.error is not None:
            retry_at = self._failures.decide(run.items[done], result.error)
        if self._lanes.finish(run, done, retry_at) and done:
            self._watermarks[run.partition].complete_all(r.offset for r in run.items[:done])

    def _external_done(self, command: ExternalDone) -> None:
        run = command.run
        if command.error is None:
            self._marks.append(run)
            return
        self._external_runs.discard(run)
        if run.lane.dropped:
            return
        record = run.items[0]
        retry_at = self._failures.decide(record, command.error)
        if record.letter is not None:
            self._lanes.reclassify(run, Work.TRANSACTION)
        self._lanes.finish(run, 0, retry_at)
        self._settle_draining()

    def _release(self, command: Released) -> None:
        for partition in command.partitions:
            if command.drained is None or partition not in self._claims:
                self._forget(partition)
            else:
                self._lanes.drop_waiting(partition)
                self._draining[partition] = command.drained
        if command.drained is not None and not command.partitions:
            command.drained.set()
        self._settle_draining(command.drained)

    def _settle_draining(self, asked: threading.Event | None = None) -> None:
        events = {*self._draining.values()}
        if asked is not None:
            events.add(asked)
        for partition in list(self._draining):
            self._lanes.drop_waiting(partition)
            if not self._lanes.in_flight(partition):
                self._forget(partition)
        for event in events - {*self._draining.values()}:
            event.set()

    def _lost_to_another(self, partition: Partition) -> None:
        claim = self._claims.get(partition)
        if claim is None:
            return
        self._metrics.fenced()
        log.warning(
            "another owner has claimed the partition: what we had in hand is dropped",
            extra={"data": {"partition": str(partition), "our_epoch": claim.epoch}},
        )
        self._forget(partition)
        with self._committable_lock:
            self._fenced.add(partition)

    def _forget(self, partition: Partition) -> None:
        self._lanes.drop(partition)
        self._claims.pop(partition, None)
        self._watermarks.pop(partition, None)
        self._draining.pop(partition, None)
