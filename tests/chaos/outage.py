"""Kafka away under load: every webhook is answered, then drained in order, and none is lost."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import yaml

from schemas.codec import EVENT
from tests.chaos.proxy import Proxy
from tests.chaos.steady_load import OPTIONS, SECRET, Steady
from tests.chaos.verdict import Log, read_log
from tests.parts.kafka import KafkaBroker
from tests.parts.process import Process, free_port

ROOT = Path(__file__).parents[2]
_DRAIN_S = 120.0
_MUTE_S = 1.0
_SPOOLED = "SELECT value FROM records"


class OutagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. `kill`: the gateway, in the outage and in the drain. `full`: a spool of 1 MiB.

    `ack_loss`: the broker goes on writing for a second while its answers are lost, and is killed.
    """

    rate: float = 500.0
    outage_s: float = 60.0
    kill: bool = False
    full: bool = False
    ack_loss: bool = False
    #: Of load before the outage and after the drain.
    around_s: float = 3.0


class OutageOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    plan: OutagePlan
    statuses: dict[str, int]
    acknowledged: int
    given_up: int
    p99_ms: float
    p99_outage_ms: float
    max_ms: float
    most_spooled: float
    drain_s: float
    lost: int
    still_spooled: int
    order_violations: int
    duplicates: int
    possible_duplicates: float
    replaced: int
    swallowed_bytes: int

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        allowed = {"200"}
        if self.plan.full:
            allowed.add("503 unavailable")
        if self.plan.kill or self.replaced:
            # While nobody listens: a start listens when it knows what it may take.
            allowed.add("no answer")
        return (
            self.acknowledged > 0
            and self.lost == 0
            and self.order_violations == 0
            and self.drain_s >= 0
            and self.most_spooled > 0
            and set(self.statuses) <= allowed
            and (not self.plan.full or self.statuses.get("503 unavailable", 0) > 0)
            # Without a kill the client's own retries write nothing twice.
            and (self.plan.kill or self.replaced or self.duplicates == 0)
            and (self.plan.ack_loss or not self.replaced)
        )

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} x {name}" for name, count in sorted(self.statuses.items()))
        return (
            f"answers: {statuses}; p99 {self.p99_ms:.0f} ms in all, {self.p99_outage_ms:.0f} ms in "
            f"the outage, longest {self.max_ms:.0f} ms\n"
            f"spooled up to {self.most_spooled:.0f} events, drained {self.drain_s:.1f} s after the "
            "broker was back\n"
            f"acknowledged {self.acknowledged}, lost {self.lost}, order violations "
            f"{self.order_violations}, duplicates in the log {self.duplicates} (possible by the "
            f"gateway's count since its last start: {self.possible_duplicates:.0f})"
            + (f"\n{self.still_spooled} wait in the spool still" * bool(self.still_spooled))
            + (f"\nthe gateway asked {self.replaced} times to be replaced" * bool(self.replaced))
            + (f"\n{self.swallowed_bytes} bytes of answers lost" * bool(self.swallowed_bytes))
        )


class _Gateway:
    """`hookline gateway` with a spool."""

    def __init__(self, broker: KafkaBroker, bootstrap: str, folder: Path, plan: OutagePlan) -> None:
        self.port = free_port()
        unique = uuid4().hex[:12]
        self.topic = broker.create_topic(f"events-{unique}", 4)
        quarantine = broker.create_topic(f"quarantine-{unique}", 1)
        connections = broker.create_topic(f"connections-{unique}", 1, cleanup_policy="compact")
        self._folder = folder
        spool: dict[str, Any] = {"path": str(folder / "spool" / "spool.db")}
        if plan.full:
            spool["max_bytes"] = 1_048_576
        settings = {
            "kafka": {"bootstrap_servers": bootstrap},
            "connections": [
                {
                    "id": "load",
                    "tenant": "acme",
                    "provider": "hmac",
                    "options": OPTIONS,
                    "secrets": [{"name": "1", "ref": "env:LOAD_SECRET"}],
                }
            ],
            "gateway": {"listen": f"127.0.0.1:{self.port}"},
            "topics": {
                "events": self.topic,
                "quarantine": quarantine,
                "connections": connections,
                "partitions": 4,
            },
            "spool": spool,
        }
        (folder / "hookline.yaml").write_text(yaml.safe_dump(settings))
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("HOOKLINE_", "OTEL_"))},
            "LOAD_SECRET": SECRET,
        }
        self.process: Process
        #: How often it has ended by itself, to be replaced, and was.
        self.replaced = 0

    def replace(self) -> None:
        """What an orchestrator does: start it again when it has ended."""
        if not self.process.running:
            self.replaced += 1
            self.start()

    def start(self) -> None:
        program = [sys.executable, "-m", "hookline.command", "gateway", "--config"]
        self.process = Process(
            [*program, str(self._folder / "hookline.yaml")],
            self._folder / "gateway.log",
            cwd=ROOT,
            environ=self._environ,
        )
        self.process.wait_until(self._ready, "the gateway")

    def kill(self) -> None:
        self.process.kill()

    def metrics(self) -> dict[str, float]:
        """The spool's; empty while nobody answers."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        except httpx.TransportError:
            return {}
        return {
            line.split("{")[0].split()[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("hookline_spool")
        }

    def spooled(self) -> set[str]:
        """The ids of the events that the spool's file holds; of a gateway that has ended."""
        path = self._folder / "spool" / "spool.db"
        with closing(sqlite3.connect(path)) as file:
            return {EVENT.decode(value).event_id for (value,) in file.execute(_SPOOLED)}

    def log(self) -> str:
        return (self._folder / "gateway.log").read_text("utf-8", "replace")

    def _ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


def run_outage(broker: KafkaBroker, plan: OutagePlan, say: Callable[[str], None]) -> OutageOutcome:
    """Run it to its outcome. With `ack_loss` the broker must have been made by `muted_broker`."""
    with tempfile.TemporaryDirectory(prefix="hookline-outage-") as folder:
        proxy = getattr(broker, "proxy", None)
        bootstrap = f"127.0.0.1:{proxy.port}" if proxy is not None else broker.bootstrap_servers
        gateway = _Gateway(broker, bootstrap, Path(folder), plan)
        # One thread for all starts, since a process dies with the thread that started it.
        with ThreadPoolExecutor(1) as thread:
            try:
                outcome = asyncio.run(_run(broker, proxy, gateway, plan, thread, say))
            except BaseException:
                say(gateway.log()[-3000:])
                raise
            else:
                if not outcome.holds:
                    say(gateway.log()[-6000:])
                return outcome
            finally:
                thread.submit(gateway.kill).result()


async def _run(
    broker: KafkaBroker,
    proxy: Proxy | None,
    gateway: _Gateway,
    plan: OutagePlan,
    thread: ThreadPoolExecutor,
    say: Callable[[str], None],
) -> OutageOutcome:
    loop = asyncio.get_running_loop()

    async def do(work: Callable[[], Any]) -> Any:
        return await loop.run_in_executor(thread, work)

    async def read_metrics() -> dict[str, float]:
        return await loop.run_in_executor(None, gateway.metrics)

    await do(gateway.start)
    load = Steady(gateway.port, plan.rate)
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(plan.around_s)
    say(f"{plan.rate:g} webhooks a second of {load.lanes} resources; the broker goes away")
    began_s = time.monotonic()
    if plan.ack_loss:
        assert proxy is not None, "ack loss needs a broker behind a proxy"
        proxy.mute = True
        await asyncio.sleep(_MUTE_S)
        await do(broker.kill)
        proxy.cut()
        proxy.mute = False
    else:
        # Not waited for: a clean stop takes seconds in which it takes no more.
        await do(broker.kill if plan.outage_s < 5 else broker.stop)
    most = 0.0
    while (left_s := began_s + plan.outage_s - time.monotonic()) > 0:
        if plan.kill and left_s < plan.outage_s / 2:
            await do(gateway.kill)
            say("the gateway is killed with -9 in the outage, and started again")
            await do(gateway.start)
            break
        most = max(most, (await read_metrics()).get("hookline_spool_events", 0.0))
        await asyncio.sleep(min(left_s, 0.5))
    while (left_s := began_s + plan.outage_s - time.monotonic()) > 0:
        most = max(most, (await read_metrics()).get("hookline_spool_events", 0.0))
        await asyncio.sleep(min(left_s, 0.5))
    await do(broker.start)
    back_s = time.monotonic()
    say(f"the broker is back after {back_s - began_s:.0f} s; spooled up to {most:.0f} events")
    if plan.kill:
        before = most
        while (now := (await read_metrics()).get("hookline_spool_events", before)) >= before:
            before = max(before, now)
            if time.monotonic() > back_s + _DRAIN_S:
                break
            await asyncio.sleep(0.02)
        await do(gateway.kill)
        say(f"the gateway is killed with -9 in the drain, with {now:.0f} events left")
        await do(gateway.start)
    drain_s = -1.0
    figures: dict[str, float] = {}
    while time.monotonic() < back_s + _DRAIN_S:
        await do(gateway.replace)
        figures = await read_metrics()
        if figures.get("hookline_spool_circuit_open") == 0:
            drain_s = time.monotonic() - back_s
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(plan.around_s)
    load.stopping = True
    await loading
    figures = await read_metrics() or figures
    code = await do(gateway.process.stop)
    if code != 0:
        say(f"the gateway ended with {code}")
        drain_s = -1.0
    log = await do(lambda: read_log(broker.bootstrap_servers, gateway.topic))
    return _judged(plan, load, log, began_s, back_s, drain_s, most, figures, gateway, proxy)


def _judged(
    plan: OutagePlan,
    load: Steady,
    log: Log,
    began_s: float,
    back_s: float,
    drain_s: float,
    most: float,
    figures: dict[str, float],
    gateway: _Gateway,
    proxy: Proxy | None,
) -> OutageOutcome:
    # What could not be drained in time is safe still: it is told apart from what is nowhere.
    in_log = log.ids
    spooled = gateway.spooled() - in_log
    # The ids of a resource are numbered in the order of their calls, one after the other.
    violations = sum(ids != sorted(ids) for ids in log.order.values())
    acknowledged = [event_id for ids in load.acknowledged.values() for event_id in ids]
    return OutageOutcome(
        plan=plan,
        statuses=dict(load.statuses),
        acknowledged=len(acknowledged),
        given_up=load.given_up,
        p99_ms=load.quantile_ms(0.99),
        p99_outage_ms=load.quantile_ms(0.99, began_s, back_s),
        max_ms=load.quantile_ms(1.0),
        most_spooled=most,
        drain_s=drain_s,
        lost=len(set(acknowledged) - in_log - spooled),
        still_spooled=len(spooled),
        order_violations=violations,
        duplicates=log.records - len(in_log),
        possible_duplicates=figures.get("hookline_spool_possible_duplicates_total", 0.0),
        replaced=gateway.replaced,
        swallowed_bytes=0 if proxy is None else proxy.swallowed_bytes,
    )


class MutedBroker(KafkaBroker):
    """A broker whose clients come through a proxy that can lose its answers."""

    def __init__(self) -> None:
        self.proxy = Proxy()
        self.proxy.__enter__()
        advertised = f"PLAINTEXT://127.0.0.1:{self.proxy.port}"
        super().__init__({"advertised.listeners": advertised})
        self.proxy.upstream = self.port

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.proxy.__exit__(*details)
