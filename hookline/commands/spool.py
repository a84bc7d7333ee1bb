"""`hookline spool`: what the gateway holds while Kafka is away, and draining it by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from credentials.resolver import Resolver
from hookline.commands.auditing import command_audit
from hookline.commands.config import config_option
from hookline.processes.process import resolver_for
from hookline.processes.spool_files import spool_files
from hookline.settings.loading import Settings, load
from hookline.telemetry.redaction import Redactor
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
    """Tell how much is held, in the files of all workers.

    Of a running gateway ask its metrics (`hookline_spool_…`).
    """
    settings = load(config, os.environ)
    found, locked = [], []
    for path in _paths(settings):
        try:
            file = SpoolFile(path, marks=False)
        except SpoolLocked:
            locked.append(path)
            continue
        try:
            found.append(_found(file, settings.spool.max_bytes))
        finally:
            file.close()
    if not found:
        raise _all_locked(locked)
    if as_json:
        click.echo(json.dumps(_together(settings, found, locked)))
        return
    for one in found:
        _tell(one)
    _tell_locked(locked)
    if any(one["events"] for one in found):
        click.echo("the next start of the gateway drains them, or `hookline spool drain`")
    if any(one["refused"] for one in found):
        click.echo("mend the cause, then `hookline spool drain --refused` tries them again")


def _found(file: SpoolFile, max_bytes: int) -> dict[str, Any]:
    totals = file.totals()
    return {
        "path": str(file.path),
        "events": totals.events,
        "bytes": totals.bytes,
        "max_bytes": max_bytes,
        "oldest_s": round(time.time() - totals.oldest_ms / 1000, 1) if totals.events else 0,
        "topics": file.by_topic(),
        "refused": totals.refused,
        "refused_bytes": totals.refused_bytes,
        "reasons": file.reasons(),
        "file_bytes": file.path.stat().st_size,
    }


def _together(
    settings: Settings, found: list[dict[str, Any]], locked: list[Path]
) -> dict[str, Any]:
    """The sums, and of what: a script need not know how many workers there are."""
    numbers = ("events", "bytes", "max_bytes", "refused", "refused_bytes", "file_bytes")
    return {
        "path": settings.spool.path,
        **{name: sum(one[name] for one in found) for name in numbers},
        "oldest_s": max(one["oldest_s"] for one in found),
        "topics": _added(one["topics"] for one in found),
        "reasons": _added(one["reasons"] for one in found),
        "files": found,
        "open_elsewhere": [str(path) for path in locked],
    }


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _tell(one: dict[str, Any]) -> None:
    if not one["events"]:
        click.echo(f"{one['path']} is empty")
    else:
        share = 100 * (one["bytes"] + one["refused_bytes"]) / one["max_bytes"]
        click.echo(
            f"{one['path']}: {one['events']} events, {one['bytes']} bytes ({share:.1f} % of "
            f"spool.max_bytes), the oldest {one['oldest_s']:.0f} s old"
        )
        for topic, events in one["topics"].items():
            click.echo(f"  {topic}: {events}")
    for reason, events in one["reasons"].items():
        click.echo(f"set aside, as Kafka refused them for good: {events} ({reason})")


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
    """Put all that is held on Kafka, in order, of all workers; exit code 1 if some is left."""
    settings = load(config, os.environ)
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    audit = command_audit(settings, resolver)
    paths = _paths(settings)
    left, locked = 0, []
    for path in paths:
        try:
            file = SpoolFile(path)
        except SpoolLocked:
            locked.append(path)
            continue
        if len(paths) > 1:
            click.echo(f"{path}:")
        if refused:
            put = file.requeue(file.totals().last_number + 1)
            click.echo(f"{put} refused events are tried again")
        with audit.change("spool.drain", path.name, urgent=True, refused=refused) as change:
            still = asyncio.run(_drain(settings, resolver, file, wait_s))
            change.note(left=still)
        left += still
    if len(locked) == len(paths):
        raise _all_locked(locked)
    _tell_locked(locked)
    sys.exit(1 if left or locked else 0)


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


def _paths(settings: Settings) -> list[Path]:
    if settings.spool.path is None:
        raise ConfigurationError("spool.path is not set: there is no spool")
    paths = spool_files(settings.spool.path)
    if not paths:
        raise ConfigurationError(
            f"spool.path: there is no file {settings.spool.path}; the gateway makes it at its "
            "first start"
        )
    return paths


def _tell_locked(locked: list[Path]) -> None:
    for path in locked:
        click.echo(f"{path} is open in a running gateway, which drains it by itself", err=True)


def _all_locked(locked: list[Path]) -> SpoolLocked:
    which = f"{locked[0]} is" if len(locked) == 1 else f"{', '.join(map(str, locked))} are"
    return SpoolLocked(
        f"{which} open in a running gateway, which drains by itself: see its metrics, "
        "hookline_spool_events and hookline_spool_circuit_open"
    )
