"""The consumers' chaos: replicas under load, killed with everything that they stand on."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from schemas import request_id as request_ids
from schemas.codec import EVENT
from schemas.event import Event
from tests.chaos.replicas import ChaosStore, Effect, Replicas, chaos_store
from tests.chaos.verdict import Log, Verdict, judge, read_log
from tests.parts.kafka import KafkaBroker

_SETTLE_S = 180.0


class ConsumerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. `kill_every_s`: 0 kills nothing. `scale`: 1 → replicas → 1 under load."""

    store: str = "postgres"
    events: int = 100_000
    replicas: int = 3
    partitions: int = 12
    keys: int = 2_000
    duplicates: float = 0.05
    rate: float = 1_500.0
    kill_every_s: float = 4.0
    restart_broker: bool = True
    restart_store: bool = True
    scale: bool = False
    seed: int = 1


class ConsumerOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. `stall_ms`: the longest pause of any partition while load ran."""

    verdict: Verdict
    done: list[str]
    took_s: float
    stall_ms: int
    stalled: str
    parked: int
    fenced: int


class _Load(threading.Thread):
    """Produces the events at a steady rate, copies of some behind them."""

    def __init__(self, broker: KafkaBroker, topic: str, plan: ConsumerPlan) -> None:
        super().__init__(name="chaos-load", daemon=True)
        self._plan = plan
        self._topic = topic
        self._draw = random.Random(plan.seed)
        self._producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.timeout.ms": 120_000,
                "log_level": 0,
            }
        )
        self.ids: set[str] = set()
        self.sent = 0
        self.failed: list[str] = []

    def run(self) -> None:
        plan, draw = self._plan, self._draw
        began_s = time.monotonic()
        recent: list[tuple[bytes, bytes]] = []
        for n in range(plan.events):
            event = _event(f"e{n}", f"r{draw.randrange(plan.keys)}")
            record = (EVENT.encode(event), event.resource_key.encode())
            self.ids.add(event.event_id)
            self._produce(*record)
            recent.append(record)
            if draw.random() < plan.duplicates:
                self._produce(*draw.choice(recent[-200:]))
            del recent[:-200]
            self.sent = n + 1
            if n % 50 == 0:
                self._producer.poll(0)
                ahead_s = n / plan.rate - (time.monotonic() - began_s)
                if ahead_s > 0:
                    time.sleep(ahead_s)
        if self._producer.flush(120):
            self.failed.append("not flushed")

    def _produce(self, value: bytes, key: bytes) -> None:
        def report(error: object, _: object) -> None:
            if error is not None:
                self.failed.append(str(error))

        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=report)
                return
            except BufferError:
                self._producer.poll(0.1)


def _event(event_id: str, resource: str) -> Event:
    now_ns = time.time_ns()
    return Event(
        request_id=request_ids.make(now_ns // 1_000_000, os.urandom(10)),
        environment="chaos",
        tenant="acme",
        connection="shop",
        provider="hmac",
        event_id=event_id,
        event_type="hmac.order.paid",
        resource_type="order",
        resource_id=resource,
        received_at_us=now_ns // 1000,
        payload=b'{"order": "' + resource.encode() + b'", "note": "' + b"x" * 200 + b'"}',
    )


def run_consumers(
    broker: KafkaBroker, plan: ConsumerPlan, say: Callable[[str], None]
) -> ConsumerOutcome:
    """Run a plan to its verdict."""
    topic = broker.create_topic(f"chaos-{uuid4().hex}", plan.partitions)
    broker.create_topic(f"{topic}.dead", 1)
    with tempfile.TemporaryDirectory(prefix="hookline-chaos-") as name:
        folder = Path(name)
        with (
            chaos_store(plan.store, folder) as store,
            Replicas(broker, topic, store, folder) as replicas,
        ):
            replicas.start(0)
            for number in range(1, 1 if plan.scale else plan.replicas):
                replicas.start(number)
            _until(lambda: replicas.ready(0), 60, "no replica became ready", replicas)
            load = _Load(broker, topic, plan)
            began_s, began_ms = time.monotonic(), time.time_ns() // 1_000_000
            load.start()
            done = (
                _scale(plan, replicas, load)
                if plan.scale
                else _break(plan, broker, store, replicas, load)
            )
            load.join()
            ended_ms = time.time_ns() // 1_000_000
            say(f"{load.sent} events sent in {time.monotonic() - began_s:.1f} s; {', '.join(done)}")
            log = read_log(broker.bootstrap_servers, topic)
            effects = _settled(store, log, replicas)
            took_s = time.monotonic() - began_s
            logs = replicas.logs()
            stall_ms, stalled = _stall(log, effects, began_ms, ended_ms)
            return ConsumerOutcome(
                verdict=judge(load.ids, log, [(e, k) for e, k, _ in effects]),
                done=done + load.failed[:3],
                took_s=took_s,
                stall_ms=stall_ms,
                stalled=stalled,
                parked=logs.count('"action": "park"') + logs.count('"action":"park"'),
                fenced=logs.count("another owner has claimed"),
            )


def _break(
    plan: ConsumerPlan, broker: KafkaBroker, store: ChaosStore, replicas: Replicas, load: _Load
) -> list[str]:
    """Kill replicas in turn by chance, the broker and the store once each, while load runs."""
    draw = random.Random(plan.seed + 1)
    kills: defaultdict[str, int] = defaultdict(int)
    once: list[tuple[float, str, Callable[[], None]]] = []
    if plan.restart_broker:
        once.append((0.4, "broker restarts", lambda: (broker.kill(), broker.start())))  # type: ignore[arg-type,return-value]
    if plan.restart_store and store.name != "sqlite":
        once.append((0.7, f"{store.name} restarts", store.restart))
    next_s = time.monotonic() + plan.kill_every_s
    while load.is_alive():
        time.sleep(0.1)
        if once and load.sent >= once[0][0] * plan.events:
            _, name, act = once.pop(0)
            act()
            kills[name] += 1
        if plan.kill_every_s and time.monotonic() >= next_s:
            victim = draw.randrange(plan.replicas)
            replicas.processes[victim].kill()
            replicas.start(victim)
            kills["kill -9 of a replica"] += 1
            next_s = time.monotonic() + plan.kill_every_s * draw.uniform(0.5, 1.5)
    return [f"{count} times {name}" for name, count in kills.items()]


def _scale(plan: ConsumerPlan, replicas: Replicas, load: _Load) -> list[str]:
    """1 → n → 1 under load, each by the ordinary way: started, and ended with SIGTERM."""
    _until(lambda: load.sent >= 0.2 * plan.events, 600, "the load stands still", replicas)
    for number in range(1, plan.replicas):
        replicas.start(number)
    _until(lambda: load.sent >= 0.6 * plan.events, 600, "the load stands still", replicas)
    had = sum(replicas.ready(number) for number in range(plan.replicas))
    codes = [replicas.processes[number].stop(30) for number in range(1, plan.replicas)]
    return [f"1 → {had} → 1 replicas", f"exit codes {codes}"]


def _settled(store: ChaosStore, log: Log, replicas: Replicas) -> list[Effect]:
    deadline_s = time.monotonic() + _SETTLE_S
    wanted, before, quiet = len(log.ids), -1, 0
    while time.monotonic() < deadline_s:
        count = store.count()
        quiet = quiet + 1 if count == before else 0
        before = count
        # Complete and nothing more for a moment; or nothing has come for long.
        if quiet >= (4 if count >= wanted else 60):
            break
        time.sleep(0.5)
    return store.effects()


def _stall(log: Log, effects: list[Effect], began_ms: int, ended_ms: int) -> tuple[int, str]:
    """The longest time in which a partition had no effect while the load ran."""
    times: defaultdict[int, list[int]] = defaultdict(list)
    for _, key, at_ms in effects:
        if at_ms <= ended_ms:
            times[log.partitions[key]].append(at_ms)
    worst = (0, "")
    for partition, moments in times.items():
        moments.sort()
        for before, after in zip([began_ms, *moments], [*moments, ended_ms], strict=True):
            gap = (after - before, f"partition {partition}, {(before - began_ms) / 1000:.1f} s in")
            worst = max(worst, gap)
    return worst


def _until(condition: Callable[[], bool], timeout_s: float, what: str, replicas: Replicas) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{what}:\n{replicas.logs()[-3000:]}")
        time.sleep(0.1)
