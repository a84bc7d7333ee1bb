"""`hookline spool`: what the gateway holds while Kafka is away, and draining it by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from credentials.resolver import Resolver
from hookline.config_command import config_option
from hookline.process import resolver_for
from hookline.redaction import Redactor
from hookline.settings import Settings, load
from producer.publish.publisher import KafkaPublisher
from producer.publish.spool import Spool
from producer.publish.spool_file import SpoolFile
from producer.publish.spooling_sink import SpoolingSink
from schemas.errors import ConfigurationError, SpoolLocked


@click.group("spool")
def command() -> None:
    """See what waits for Kafka in the gateway's spool, and drain it while no gateway runs."""


@command.command("status")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(config: Path | None, as_json: bool) -> None:
    """Tell how much the file holds; of a running gateway ask its metrics (`hookline_spool_…`)."""
    settings = load(config, os.environ)
    file = _open(settings)
    try:
        totals = file.totals()
        found: dict[str, Any] = {
            "path": str(file.path),
            "events": totals.events,
            "bytes": totals.bytes,
            "max_bytes": settings.spool.max_bytes,
            "oldest_s": round(time.time() - totals.oldest_ms / 1000, 1) if totals.events else 0,
            "topics": file.by_topic(),
            "refused": totals.refused,
            "refused_bytes": totals.refused_bytes,
            "reasons": file.reasons(),
            "file_bytes": file.path.stat().st_size,
        }
    finally:
        file.close()
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found["events"]:
        click.echo(f"{found['path']} is empty")
    else:
        share = 100 * (totals.bytes + totals.refused_bytes) / settings.spool.max_bytes
        click.echo(
            f"{found['path']}: {totals.events} events, {totals.bytes} bytes ({share:.1f} % of "
            f"spool.max_bytes), the oldest {found['oldest_s']:.0f} s old"
        )
        for topic, events in found["topics"].items():
            click.echo(f"  {topic}: {events}")
        click.echo("the next start of the gateway drains them, or `hookline spool drain`")
    for reason, events in found["reasons"].items():
        click.echo(f"set aside, as Kafka refused them for good: {events} ({reason})")
    if totals.refused:
        click.echo("mend the cause, then `hookline spool drain --refused` tries them again")


@command.command("drain")
@config_option
@click.option("--refused", is_flag=True, help="Also what Kafka refused before, behind the others.")
@click.option(
    "--wait",
    "wait_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Give up when so many seconds pass without one more in Kafka.",
)
def drain(config: Path | None, refused: bool, wait_s: float) -> None:
    """Put all that the file holds on Kafka, in order; exit code 1 if some is left."""
    settings = load(config, os.environ)
    file = _open(settings)
    if refused:
        put = file.requeue(file.totals().last_number + 1)
        click.echo(f"{put} refused events are tried again")
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    left = asyncio.run(_drain(settings, resolver, file, wait_s))
    sys.exit(1 if left else 0)


async def _drain(settings: Settings, resolver: Resolver, file: SpoolFile, wait_s: float) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    spool = Spool(file, max_bytes=settings.spool.max_bytes)
    sink = SpoolingSink(spool)
    publisher = KafkaPublisher(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        topics=(settings.topics.events, settings.topics.quarantine),
        properties=settings.kafka.resolved_properties(resolver),
        ack_deadline_s=settings.publish.ack_deadline_ms / 1000,
        fatal=lambda reason: stop.set(),
        fallback=sink,
    )
    sink.start(publisher)
    total, before, moved_s = spool.events, spool.events, loop.time()
    refused_before = spool.refused
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("into Kafka", total=total)
        while spool.events and not stop.is_set() and loop.time() - moved_s < wait_s:
            if spool.events < before:
                before, moved_s = spool.events, loop.time()
            progress.update(task, completed=total - spool.events)
            await asyncio.sleep(0.05)
        progress.update(task, completed=total - spool.events)
    _, reason = publisher.ready()
    await sink.close(settings.publish.ack_deadline_ms / 1000)
    left, set_aside = spool.events, spool.refused - refused_before
    click.echo(f"{total - left - set_aside} of {total} are in Kafka")
    if set_aside:
        click.echo(f"{set_aside} are set aside, as Kafka refuses them: `hookline spool status`")
    if left:
        click.echo(f"{left} are left in the spool{f': {reason}' if reason else ''}", err=True)
    return left


def _open(settings: Settings) -> SpoolFile:
    if settings.spool.path is None:
        raise ConfigurationError("spool.path is not set: there is no spool")
    path = Path(settings.spool.path)
    if not path.exists():
        raise ConfigurationError(
            f"spool.path: there is no file {path}; the gateway makes it at its first start"
        )
    try:
        return SpoolFile(path)
    except SpoolLocked as error:
        raise SpoolLocked(
            f"{path} is open in a running gateway, which drains it by itself: see its metrics, "
            "hookline_spool_events and hookline_spool_circuit_open"
        ) from error
