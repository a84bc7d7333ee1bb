"""Schedules in every test run, and that the simulator sees each promise that is broken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.explore import HASH_SEED, explore
from tests.simulation.sabotage import SABOTAGES

SCHEDULES = int(os.environ.get("HOOKLINE_SIMULATIONS", "20000"))
#: What a run of any size must have met often, so that it proves something.
EXERCISED = (
    "crash: at any time", "crash: crash in a transaction", "crash: crash before commit",
    "crash: crash after commit", "crash: after an external effect", "fault: ambiguous commit",
    "fault: unavailable at begin", "fault: unavailable in the middle",
    "fault: unavailable at commit", "fault: statement failed", "fault: claimed meanwhile",
    "fault: claim unavailable", "rebalances", "losses", "zombies", "batches of a zombie", "fenced",
    "drained", "drain cut short", "operator: redriven", "operator: retry", "operator: discarded",
    "outcome parked", "outcome stale", "outcome refetched", "outcome duplicate",
    "outcome unhandled", "failed no_room", "external effects again", "full",
)  # fmt: skip


@pytest.mark.timeout(1800)
def test_no_schedule_breaks_a_promise_and_every_fault_is_met() -> None:
    found = explore(0, SCHEDULES, processes=os.cpu_count() or 1)
    print(found)
    first = found.failures[0] if found.failures else None
    assert first is None, f"python -m tests.simulation -v --seed {first.seed}: {first.what}"
    assert found.schedules == SCHEDULES
    if SCHEDULES >= 2_000:
        rare = {name: found.counts[name] for name in EXERCISED if found.counts[name] < 20}
        assert not rare, f"met too seldom: {rare}"


@pytest.mark.parametrize("sabotage", sorted(SABOTAGES))
def test_a_broken_promise_is_seen_within_a_few_hundred_schedules(sabotage: str) -> None:
    found = explore(0, 300, processes=1, sabotage=sabotage, stop_at_failure=True)
    assert found.failures, f"300 schedules did not see {sabotage}"
    print(f"{sabotage}: seed {found.failures[0].seed}: {found.failures[0].what}")


def test_a_seed_replays_the_same_schedule_each_time() -> None:
    command = [sys.executable, "-m", "tests.simulation", "-v", "--seed", "5"]
    first, second = (
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", HASH_SEED)
    )
    assert "0 violations" in first
    assert first.count("\n") > 20
    assert first == second
