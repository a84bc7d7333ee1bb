"""One run: broker, gateway and consumer as real processes, killed with -9 under load."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from tests.chaos.load import Tally, send, senders, webhooks
from tests.chaos.sabotage import SABOTAGES
from tests.chaos.verdict import Log, Verdict, judge, read_effects, read_log
from tests.end_to_end.running import Running
from tests.parts.kafka import KafkaBroker

_SETTLE_S = 120.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do; `seed` decides everything that is random but the machine's own timing."""

    webhooks: int = 20_000
    connections: int = 64
    kills: int = 3
    duplicates: float = 0.05
    forgeries: int = 20
    seed: int = 1
    sabotage: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run."""

    verdict: Verdict
    kills: list[str]
    wrong: list[str]
    tries: int
    records: int
    load_s: float


class _Killer:
    """Kills and restarts the processes as the load reaches certain points."""

    def __init__(self, running: Running, points: list[tuple[int, str]], tally: Tally) -> None:
        self._running = running
        self._points = sorted(points)
        self._tally = tally
        # One thread for the whole run, since a process dies with the thread that started it
        # (tests/parts/process.py).
        self.thread = ThreadPoolExecutor(1)
        self.done: list[str] = []

    def progressed(self) -> None:
        """Called after each answer."""
        if self._points and self._tally.answered >= self._points[0][0]:
            at, name = self._points.pop(0)
            # On a thread: the load goes on meanwhile.
            self.thread.submit(self._kill, at, name)

    def _kill(self, at: int, name: str) -> None:
        self._running.processes[name].kill()
        self._running.start(name)
        self.done.append(f"{name} at {at}")


def run(broker: KafkaBroker, plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Run a plan to its verdict."""
    draw = random.Random(plan.seed)
    of = senders(plan.connections, draw)
    everything = webhooks(of, plan.webhooks, plan.duplicates, plan.forgeries, draw)
    # Between a tenth and nine tenths, so that every kill is in the midst of the load.
    points = [
        (int(len(everything) * draw.uniform(0.1, 0.9)), name)
        for name in ("gateway", "consumer")
        for _ in range(plan.kills)
    ]
    programs = {}
    if plan.sabotage:
        victim, _ = SABOTAGES[plan.sabotage]
        programs[victim] = ["tests.chaos.sabotage", plan.sabotage]
    with tempfile.TemporaryDirectory(prefix="hookline-chaos-") as folder:
        running = Running(
            broker,
            Path(folder),
            connections=[sender.setting() for sender in of],
            environ={sender.variable: sender.secret for sender in of},
            settings={
                "consumer": {"handlers": "tests.chaos.handlers:handlers"},
                "telemetry": {"log_level": "warning"},
            },
            programs=programs,
        )
        tally = Tally()
        killer = _Killer(running, points, tally)
        with killer.thread, running:
            began_s = time.monotonic()
            asyncio.run(send(running.url, everything, plan.connections, tally, killer.progressed))
            load_s = time.monotonic() - began_s
            say(f"{tally.answered} answered in {load_s:.1f} s, {tally.tries} tries")
            log = read_log(broker.bootstrap_servers, running.events_topic)
            effects = _settled(running, log)
        return Outcome(
            verdict=judge(tally.acknowledged, log, effects),
            kills=killer.done,
            wrong=tally.wrong,
            tries=tally.tries,
            records=log.records,
            load_s=load_s,
        )


def _settled(running: Running, log: Log) -> list[tuple[str, str]]:
    """The effects, once every id of the log has one and a moment has passed without more."""
    deadline_s = time.monotonic() + _SETTLE_S
    before, quiet = -1, 0
    while time.monotonic() < deadline_s:
        effects = read_effects(running.store)
        complete = log.ids <= {event_id for event_id, _ in effects}
        quiet = quiet + 1 if len(effects) == before else 0
        before = len(effects)
        # Complete, or nothing has come for a while: then something is lost.
        if quiet >= (4 if complete else 60):
            break
        time.sleep(0.5)
    return effects
