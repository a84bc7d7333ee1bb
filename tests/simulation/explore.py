"""Runs seeds, on several processes, and counts what was exercised."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from consumer.engine import parked_lanes
from tests.simulation.database import Database
from tests.simulation.plan import draw_plan
from tests.simulation.sabotage import SABOTAGES
from tests.simulation.script import Script
from tests.simulation.world import World

_SEEDS_AT_ONCE: Final = 100
#: Hashes of strings decide the order of sets, and so a schedule.
HASH_SEED: Final = "0"


class Failure(msgspec.Struct, frozen=True):
    """A seed that broke a promise, or an error that nobody expected."""

    seed: int
    what: str


class Found(msgspec.Struct):
    """What many schedules came to."""

    schedules: int = 0
    failures: list[Failure] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Found) -> None:
        """Take in another part."""
        self.schedules += other.schedules
        self.failures = sorted([*self.failures, *other.failures], key=lambda f: f.seed)
        self.counts.update(other.counts)

    def __str__(self) -> str:
        count = self.counts
        head = (
            f"{self.schedules} schedules, {len(self.failures)} violations, "
            f"{count['effects']} effects, {count['transactions']} transactions, "
            f"{count['crashes']} crashes, {count['rebalances']} rebalances, "
            f"{count['losses']} losses, {count['zombies']} zombies, "
            f"{count['outcome parked']} parked, {count['dead letters']} dead letters, "
            f"{self.seconds:.0f} s"
        )
        return "\n".join([head, *(f"  {name:36}{n:>12,}" for name, n in sorted(count.items()))])


class Simulator:
    """One for each process."""

    def __init__(self) -> None:
        # Small, so that a key's parked events take several loads.
        parked_lanes._EVENTS_A_LOAD = 3  # type: ignore[misc]
        self._database = Database()
        self._script = Script()

    def run(self, seed: int, *, verbose: bool = False) -> World:
        """Run a schedule to its end; Violation if it breaks a promise. The world is for looking."""
        self.world = World(draw_plan(seed), self._database, self._script, verbose)
        with _quiet():
            self.world.run()
        return self.world

    def run_many(self, seeds: range) -> Found:
        """Run schedules; one failure does not stop the others."""
        found = Found()
        for seed in seeds:
            found.schedules += 1
            try:
                self.run(seed)
            # Whatever a schedule raises, its seed is what there is to tell.
            except Exception as error:
                found.failures.append(Failure(seed, f"{type(error).__name__}: {error}"))
            found.counts.update(self.world.counts)
        return found


def explore(
    first: int,
    schedules: int,
    processes: int,
    *,
    sabotage: str | None = None,
    stop_at_failure: bool = False,
    tell: Callable[[Found], None] = lambda found: None,
) -> Found:
    """Run the seeds from `first` on; `tell` is called with what there is after each part."""
    began_s = time.monotonic()
    found = Found()
    parts = [
        (range(at, min(at + _SEEDS_AT_ONCE, first + schedules)), sabotage)
        for at in range(first, first + schedules, _SEEDS_AT_ONCE)
    ]
    os.environ["PYTHONHASHSEED"] = HASH_SEED
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for part in pool.imap(_run_part, parts):
            found.add(part)
            found.seconds = time.monotonic() - began_s
            tell(found)
            if stop_at_failure and found.failures:
                break
    return found


_simulator: Simulator | None = None


def _run_part(part: tuple[range, str | None]) -> Found:
    global _simulator
    seeds, sabotage = part
    if _simulator is None:
        if sabotage is not None:
            SABOTAGES[sabotage]()
        _simulator = Simulator()
    return _simulator.run_many(seeds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Failures that are made on purpose are no news."""
    logs = [logging.getLogger("hookline.consumer"), logging.getLogger(asyncio.__name__)]
    before = [log.disabled for log in logs]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log, was in zip(logs, before, strict=True):
            log.disabled = was
