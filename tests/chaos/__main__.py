"""`make chaos`: prints the figures of a run and ends with 0 only if every promise was kept."""

from __future__ import annotations

import random
import sys

import click

from tests.chaos.run import Plan, run
from tests.chaos.sabotage import SABOTAGES
from tests.parts.kafka import KafkaBroker


@click.command()
@click.option("--webhooks", default=20_000, show_default=True)
@click.option("--connections", default=64, show_default=True)
@click.option("--kills", default=3, show_default=True, help="Of the gateway, and of the consumer.")
@click.option("--duplicates", default=0.05, show_default=True)
@click.option("--seed", type=int, help="Repeat what was random.")
@click.option("--sabotage", type=click.Choice(sorted(SABOTAGES)), help="Break a promise first.")
def main(
    webhooks: int,
    connections: int,
    kills: int,
    duplicates: float,
    seed: int | None,
    sabotage: str | None,
) -> None:
    """Kill gateway and consumer with -9 under load, then check what was promised."""
    seed = random.SystemRandom().randrange(10**9) if seed is None else seed
    plan = Plan(
        webhooks=webhooks,
        connections=connections,
        kills=kills,
        duplicates=duplicates,
        seed=seed,
        sabotage=sabotage or "",
    )
    click.echo(f"seed {seed}" + (f", sabotage {sabotage}" if sabotage else ""))
    with KafkaBroker() as broker:
        outcome = run(broker, plan, click.echo)
    click.echo("killed with -9: " + ", ".join(outcome.kills))
    click.echo(f"{outcome.records} records in the log, {outcome.verdict.effects} distinct events")
    for wrong in outcome.wrong[:5]:
        click.echo(f"wrong answer: {wrong}")
    click.echo(outcome.verdict)
    if outcome.verdict.from_nowhere:
        click.echo(f"{outcome.verdict.from_nowhere} effects of events that are not in the log")
    good = outcome.verdict.holds and not outcome.wrong and len(outcome.kills) == 2 * kills
    sys.exit(0 if good else 1)


main()
