"""One consumer of one group: its threads, how they start, and how they stop.

Kafka → poll thread → inbox → dispatcher → batches → committer → results → inbox
                                        ↘ external handlers → inbox
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Command, ExternalDone, Limits, ParkingLimits, Stop
from consumer.engine.dispatcher import Dispatcher
from consumer.engine.engine_metrics import EngineMetrics, Gauges
from consumer.engine.execution_log import ExecutionLog
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, GroupCommitter
from consumer.engine.housekeeping import Chore, Housekeeping
from consumer.engine.poll_thread import PollThread
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handlers
from consumer.stores.contract import Store

log = logging.getLogger("hookline.consumer")

#: Few enough that no commit waits long for the database's one writer.
_EXPIRE_AT_ONCE = 2_000


def kafka_protocols(
    bootstrap_servers: str, group: str, overrides: dict[str, Any]
) -> list[dict[str, Any]]:
    """The consumer's librdkafka properties for each group protocol, the preferred one first.

    KIP-848 where the brokers offer it (Kafka 4), else classic cooperative; only the one that
    `overrides` asks for, if it does.
    """
    shared = {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "hookline-consumer",
        # The default of a second makes gaps whenever the local queue was full.
        "fetch.queue.backoff.ms": 20,
        # Counted per partition, so the bytes are the bound that holds.
        "queued.min.messages": 5_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.wait.max.ms": 100,
    }
    ours = {
        "group.id": group,
        # Ours to decide: the store's progress is the authority, Kafka's offsets follow it.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Only when the store's offset is no longer in the log: what is left of it, not nothing.
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    modern = {"group.protocol": "consumer"}
    classic = {
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 10_000,
    }
    wanted = overrides.get("group.protocol")
    protocols = [p for p in (modern, classic) if wanted in (None, p["group.protocol"])]
    return [{**shared, **protocol, **overrides, **ours} for protocol in protocols]


def instance() -> str:
    """This process, as stores and the execution log name it: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _expire(store: Store, ids_s: float, versions_s: float) -> bool:
    now_s = time.time()
    applied_before_s = int(now_s - versions_s) if versions_s else None
    before_s = int(now_s - ids_s)
    return store.expire(before_s, _EXPIRE_AT_ONCE, applied_before_s=applied_before_s) > 0


class ConsumerEngine:
    """Start it, wait for `failed` or a signal, stop it."""

    def __init__(
        self,
        *,
        topic: str,
        group: str,
        protocols: Sequence[dict[str, Any]],
        store: Store,
        handlers: Handlers,
        limits: Limits | None = None,
        parking: ParkingLimits | None = None,
        backoff: Backoff | None = None,
        policy: Policy = Policy.PARK,
        retention_s: float = 7 * 86_400.0,
        retention_versions_s: float = 0.0,
        chores: Sequence[Chore] = (),
        tracing_enabled: bool = False,
        executions: ExecutionLog | None = None,
    ) -> None:
        """`retention_s`: how long an id is remembered after its event was done.

        `retention_versions_s`: how long what is applied to a resource is; 0: for good.
        """
        limits = limits or Limits()
        parking = parking or ParkingLimits()
        owner = instance()
        backoff = backoff or Backoff()
        tracing = ConsumerTracing(group, enabled=tracing_enabled)
        self.failed = threading.Event()
        self.reason = ""
        self._stopped: bool | None = None
        self._limits = limits
        self._store = store
        self._inbox: SimpleQueue[Command] = SimpleQueue()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._committer = GroupCommitter(store, tracing, time.time)
        self._external = ExternalHandlers(
            threads=limits.threads,
            timeout_s=limits.handler_timeout_s,
            tracing=tracing,
            done=lambda run, error: self._inbox.put(ExternalDone(run, error)),
        )
        metrics = EngineMetrics(self._gauges)
        self.dispatcher = Dispatcher(
            handlers=handlers,
            limits=limits,
            parking=parking,
            backoff=backoff,
            owner=owner,
            executions=executions,
            failures=Failures(
                group=group,
                backoff=backoff,
                policy=policy,
                give_up_after_s=parking.give_up_after_s,
                metrics=metrics,
                draw=random.random,
                clock=time.monotonic,
                wall_s=time.time,
            ),
            tracing=tracing,
            batches=self._batches,
            external=self._external,
            inbox=self._inbox,
            metrics=metrics,
        )
        self.poll_thread = PollThread(
            topic=topic,
            protocols=protocols,
            store=store,
            dispatcher=self.dispatcher,
            tracing=tracing,
            owner=owner,
            drain_deadline_s=limits.drain_deadline_s,
        )
        self._housekeeping = Housekeeping(
            [
                Chore(
                    "expiry",
                    60.0,
                    lambda: _expire(store, retention_s, retention_versions_s),
                ),
                Chore("event loop", 1.0, self._external.look),
                *chores,
            ]
        )
        self._threads = [
            self._thread("hookline-dispatch", self.dispatcher.run),
            self._thread("hookline-commit", self._commit_batches),
            self._thread("hookline-poll", self.poll_thread.run),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        self._housekeeping.start()

    def stop(self) -> bool:
        """Drain within the deadline, commit, leave the group; False if something had to be cut.

        What is cut was never marked done, so it runs again after the next start. A handler on a
        thread cannot be cut: a process that wants to end then must not wait for its threads.
        """
        if self._stopped is not None:
            return self._stopped
        deadline_s = time.monotonic() + self._limits.drain_deadline_s + 10.0
        self.poll_thread.stop()
        dispatch, commit, poll = self._threads
        poll.join(max(0.0, deadline_s - time.monotonic()))
        self._inbox.put(Stop())
        dispatch.join(5.0)
        self._batches.put(None)
        commit.join(5.0)
        self._external.close()
        self._housekeeping.stop()
        clean = not any(thread.is_alive() for thread in self._threads)
        if clean:
            self._committer.close()
            self._store.close()
        self._stopped = clean and self._external.idle
        return self._stopped

    def live(self) -> tuple[bool, str]:
        """Whether all threads run and events get on; never false for having nothing to do."""
        if self.failed.is_set():
            return False, self.reason
        idle_s = self.dispatcher.idle_s
        if idle_s > self._limits.stall_after_s:
            return False, f"events wait, and nothing has ended for {idle_s:.0f} s"
        return True, ""

    def ready(self) -> tuple[bool, str]:
        """Whether partitions are assigned (a spare replica is not needed, and not ready)."""
        if not self.poll_thread.assigned:
            return False, "no partition is assigned yet"
        if self.dispatcher.store_failing:
            # No reason to be started anew: it would find the same store.
            return False, "the store does not commit; events wait in Kafka"
        return self.live()

    def _gauges(self) -> Gauges:
        lag = {str(p): events for p, events in self.poll_thread.lag.items()}
        now_s = time.time()
        ages_s = [
            0.0 if ms is None else max(0.0, now_s - ms / 1000) for ms in self.dispatcher.oldest_ms
        ]
        return self.dispatcher.gauges(lag, *ages_s)

    def _commit_batches(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._inbox.put(self._committer.carry_out(batch))

    def _thread(self, name: str, run: Callable[[], None]) -> threading.Thread:
        def top() -> None:
            try:
                run()
            # The thread's top. A consumer without one of its threads stands still while it
            # looks alive: fail the process, and let the orchestrator start it anew.
            except Exception as error:
                log.critical("a consumer thread ended", exc_info=error)
                self.reason = f"thread {name} ended: {type(error).__name__}: {error}"
                self.failed.set()

        return threading.Thread(target=top, name=name, daemon=True)
