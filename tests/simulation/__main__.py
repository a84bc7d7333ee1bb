"""`python -m tests.simulation`: many schedules, or one by its seed with what happened in it."""

from __future__ import annotations

import os
import sys
import time

import click

from tests.simulation.explore import HASH_SEED, Found, Simulator, explore
from tests.simulation.sabotage import SABOTAGES


@click.command()
@click.option("--schedules", default=20_000, show_default=True)
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
@click.option("--seed", type=int, help="Run this one; with --schedules, the first.")
@click.option("--sabotage", type=click.Choice(sorted(SABOTAGES)), help="Break a promise first.")
@click.option("-v", "--verbose", is_flag=True, help="Print what happens in the one schedule.")
def main(
    schedules: int, processes: int, seed: int | None, sabotage: str | None, verbose: bool
) -> None:
    """Simulate schedules of crashes, rebalances and faults, and check what was promised."""
    context = click.get_current_context()
    many = context.get_parameter_source("schedules") is not click.core.ParameterSource.DEFAULT
    if seed is not None and not many:
        _replay(seed, sabotage, verbose)
        return
    told_s = time.monotonic()

    def tell(found: Found) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= 15:
            told_s = time.monotonic()
            click.echo(f"{found.schedules} schedules, {len(found.failures)} violations", err=True)

    first = 0 if seed is None else seed
    found = explore(
        first, schedules, processes, sabotage=sabotage, stop_at_failure=bool(sabotage), tell=tell
    )
    for failure in found.failures[:20]:
        click.echo(f"seed {failure.seed}: {failure.what}")
    click.echo(found)
    sys.exit(1 if found.failures else 0)


def _replay(seed: int, sabotage: str | None, verbose: bool) -> None:
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    if sabotage:
        SABOTAGES[sabotage]()
    simulator = Simulator()
    problem: Exception | None = None
    try:
        simulator.run(seed, verbose=verbose)
    except Exception as error:
        problem = error
    for line in simulator.world.trace or []:
        click.echo(line)
    click.echo(
        f"seed {seed}: {type(problem).__name__}: {problem}"
        if problem
        else f"seed {seed}: 0 violations, {simulator.world.steps} steps, "
        f"{simulator.world.now:.0f} s of simulated time"
    )
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
