"""`make chaos`: prints the figures of a run and ends with 0 only if every promise was kept."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import click

from tests.chaos.alerts import AlertsPlan, run_alerts
from tests.chaos.consumers import ConsumerPlan, run_consumers
from tests.chaos.outage import MutedBroker, OutagePlan, run_outage
from tests.chaos.rotation import RotationPlan, run_rotation
from tests.chaos.run import Plan, run
from tests.chaos.sabotage import SABOTAGES
from tests.parts.kafka import KafkaBroker


@click.group()
def chaos() -> None:
    """Break Hookline under load and judge from outside."""


@chaos.command("webhooks")
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


@chaos.command("consumers")
@click.option("--store", type=click.Choice(["sqlite", "postgres", "redis"]), default="postgres")
@click.option("--events", default=100_000, show_default=True)
@click.option("--replicas", default=3, show_default=True, help="Always 1 with SQLite.")
@click.option("--rate", default=1_500.0, show_default=True, help="Events a second.")
@click.option("--kill-every", default=4.0, show_default=True, help="Seconds; 0: never.")
@click.option("--scale", is_flag=True, help="1 → replicas → 1 under load; nothing is killed.")
@click.option("--seed", default=1, show_default=True)
def consumers(
    store: str, events: int, replicas: int, rate: float, kill_every: float, scale: bool, seed: int
) -> None:
    """Kill replicas, the broker and the store while events are applied."""
    plan = ConsumerPlan(
        store=store,
        events=events,
        replicas=1 if store == "sqlite" else replicas,
        rate=rate,
        kill_every_s=0.0 if scale else kill_every,
        scale=scale,
        seed=seed,
    )
    with KafkaBroker() as broker:
        outcome = run_consumers(broker, plan, click.echo)
    click.echo(
        f"{store}: all done {outcome.took_s:.1f} s after the start, {outcome.parked} times a key "
        f"was parked, {outcome.fenced} times a replica was fenced"
    )
    click.echo(f"longest stall of a partition {outcome.stall_ms} ms ({outcome.stalled})")
    click.echo(outcome.verdict)
    sys.exit(0 if outcome.verdict.holds else 1)


@chaos.command("outage")
@click.option("--rate", default=500.0, show_default=True, help="Webhooks a second.")
@click.option("--outage", default=60.0, show_default=True, help="Seconds without a broker.")
@click.option("--kill", is_flag=True, help="kill -9 of the gateway in the outage and in the drain.")
@click.option("--full", is_flag=True, help="A spool that is full after some seconds.")
@click.option("--ack-loss", is_flag=True, help="The broker's last answers are lost, not its log.")
def outage(rate: float, outage: float, kill: bool, full: bool, ack_loss: bool) -> None:
    """Take Kafka away under load and check that the spool loses nothing."""
    plan = OutagePlan(rate=rate, outage_s=outage, kill=kill, full=full, ack_loss=ack_loss)
    with MutedBroker() if ack_loss else KafkaBroker() as broker:
        outcome = run_outage(broker, plan, click.echo)
    click.echo(outcome)
    sys.exit(0 if outcome.holds else 1)


@chaos.command("rotation")
@click.option("--gateways", default=3, show_default=True)
@click.option("--rotations", default=3, show_default=True)
@click.option("--senders", default=12, show_default=True, help="At once.")
@click.option("--revocations", default=5, show_default=True)
def rotation(gateways: int, rotations: int, senders: int, revocations: int) -> None:
    """Rotate secrets under load and revoke: no valid request refused, and how fast."""
    plan = RotationPlan(
        gateways=gateways, rotations=rotations, senders=senders, revocations=revocations
    )
    with KafkaBroker() as broker:
        outcome = run_rotation(broker, plan, click.echo)
    click.echo(outcome)
    late = max(outcome.secret_ms + outcome.connection_ms) >= 1000
    sys.exit(1 if outcome.refused_valid or late else 0)


@chaos.command("alerts")
@click.option("--factor", default=60.0, show_default=True, help="Durations are divided by it.")
@click.option("--short", is_flag=True, help="Without what needs minutes.")
@click.option("--table", type=click.Path(path_type=Path), help="Write the table there, too.")
def alerts(factor: float, short: bool, table: Path | None) -> None:
    """Bring a real cause about for each alert: how soon it is told, and that it is over."""
    outcome = run_alerts(AlertsPlan(factor=factor, short=short), click.echo)
    click.echo(outcome)
    click.echo(f"{len(outcome.cases)} alerts in {outcome.took_s:.0f} s")
    if outcome.missing:
        click.echo(f"not shown: {', '.join(outcome.missing)}")
    if table is not None:
        table.write_text(f"{outcome}\n")
    sys.exit(0 if outcome.holds else 1)


chaos()
