"""A consumer without Kafka and without threads: real dispatcher, committer and SQLite store."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.apply_runs import RecordRun
from consumer.engine.commands import (
    Assigned,
    Command,
    ExternalDone,
    Limits,
    ParkingLimits,
    Polled,
    Released,
)
from consumer.engine.dispatcher import Dispatcher
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, BatchResult, GroupCommitter
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Partition
from consumer.stores.sqlite import SqliteStore
from hookline import Handlers
from schemas.codec import EVENT
from schemas.event import Event
from tests.telemetry.quiet_metrics import QuietMetrics

P = Partition("events", 0)


class Message:
    """What the consumer reads of a Kafka message."""

    def __init__(self, offset: int, value: bytes | None, key: bytes | None) -> None:
        self._offset, self._value, self._key = offset, value, key

    def topic(self) -> str:
        return P.topic

    def partition(self) -> int:
        return P.number

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, int(time.time() * 1000)


def event(event_id: str, resource: str = "1", **more: Any) -> Event:
    fields: dict[str, Any] = {
        "request_id": b"r" * 16, "environment": "test", "tenant": "acme", "connection": "shop",
        "provider": "hmac", "event_type": "order.paid", "resource_type": "order",
        "received_at_us": 1, "payload": b"{}",
    }  # fmt: skip
    return Event(event_id=event_id, resource_id=resource, **fields | more)


class Rig:
    """Takes the threads' steps one by one; `now` is its clock."""

    def __init__(
        self,
        handlers: Handlers,
        folder: Path,
        *,
        schema: str = "CREATE TABLE effects (id TEXT)",
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        policy: Policy = Policy.PARK,
        threads: bool = False,
    ) -> None:
        self.path = folder / "store.db"
        connection = sqlite3.connect(self.path)
        connection.executescript(schema)
        connection.close()
        self.store = SqliteStore(self.path, "g")
        self.now = 1000.0
        limits, backoff = limits or Limits(), backoff or Backoff()
        self.inbox: SimpleQueue[Command] = SimpleQueue()
        self.batches: SimpleQueue[Batch | None] = SimpleQueue()
        self.started: list[RecordRun] = []
        self.results: list[BatchResult] = []
        tracing, metrics = ConsumerTracing("g", enabled=False), QuietMetrics()
        clock, wall_s = (lambda: self.now), (lambda: 1.8e9 + self.now)
        self.committer = GroupCommitter(self.store, tracing, wall_s)
        self.external: Any = self
        if threads:
            self.external = ExternalHandlers(
                threads=limits.threads,
                timeout_s=limits.handler_timeout_s,
                tracing=tracing,
                done=lambda run, error: self.inbox.put(ExternalDone(run, error)),
            )
        self.dispatcher = Dispatcher(
            handlers=handlers,
            limits=limits,
            parking=ParkingLimits(),
            backoff=backoff,
            failures=Failures(
                group="g",
                backoff=backoff,
                policy=policy,
                give_up_after_s=1e9,
                metrics=metrics,
                draw=lambda: 0.5,
                clock=clock,
                wall_s=wall_s,
            ),
            tracing=tracing,
            batches=self.batches,
            external=self.external,
            inbox=self.inbox,
            metrics=metrics,
            clock=clock,
            wall_s=wall_s,
            draw=lambda: 0.5,
        )
        self.offset = 0
        self.claim()

    def start(self, run: RecordRun) -> None:
        """An external handler is to run: a test ends it when it likes."""
        self.started.append(run)

    def cancel(self, partition: Partition) -> None:
        """Its partition is gone."""

    def claim(self) -> None:
        """Own the partition (anew)."""
        self.dispatcher.obey(Assigned(self.store.claim([P], "me")))

    def lose(self) -> None:
        """Lose it."""
        self.dispatcher.obey(Released([P]))

    def log(self, *events: Event | bytes | None, key: bytes | None = None) -> None:
        """What the log gives next."""
        messages = []
        for one in events:
            value = EVENT.encode(one) if isinstance(one, Event) else one
            of = one.resource_key.encode() if isinstance(one, Event) else key
            messages.append(Message(self.offset, value, of))
            self.offset += 1
        self.dispatcher.obey(Polled(messages, 0, 0.0))  # type: ignore[arg-type]

    def step(self) -> bool:
        """Carry out one batch, and hear what external handlers say; False if nothing was to do."""
        self.dispatcher.hand_out()
        did = False
        if not self.batches.empty():
            batch = self.batches.get()
            assert batch is not None
            result = self.committer.carry_out(batch)
            self.results.append(result)
            self.dispatcher.obey(result)
            did = bool(batch.runs or batch.checks or batch.marks or batch.loads)
        while True:
            try:
                self.dispatcher.obey(self.inbox.get_nowait())
                did = True
            except Empty:
                return did

    def settle(self, steps: int = 200) -> None:
        """Until nothing more can be done without time passing."""
        while steps and self.step():
            steps -= 1

    def later(self, seconds: float) -> None:
        """Let time pass, and do what comes of it."""
        self.now += seconds
        self.dispatcher.wake()
        self.settle()

    def query(self, sql: str) -> list[Any]:
        connection = sqlite3.connect(self.path)
        found = connection.execute(sql).fetchall()
        connection.close()
        return found

    def effects(self) -> list[str]:
        return [row[0] for row in self.query("SELECT id FROM effects ORDER BY rowid")]

    def letters(self) -> list[str]:
        return [row[0] for row in self.query("SELECT reason FROM hookline_dead_letters")]

    def parked(self) -> int:
        return int(self.query("SELECT count(*) FROM hookline_parked")[0][0])
