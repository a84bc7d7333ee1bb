"""`hookline doctor`: everything that must be right, looked at, each line with its mend."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from hookline.commands.config import config_option
from hookline.commands.letter_filter import printable
from hookline.doctor import machine, records, secrets_and_stores
from hookline.doctor.cluster import Cluster
from hookline.doctor.findings import Finding, State, broken, ok, warning
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.telemetry.redaction import Redactor
from schemas.errors import ConfigurationError, SecretError

_MARKS: Final = {
    State.OK: ("✓", "green"),
    State.WARNING: ("!", "yellow"),
    State.BROKEN: ("✗", "red"),
}


_OF_KAFKA: Final = ("kafka", "rights", "topics", "schemas", "clock")
ROOMS: Final = ("secrets", *_OF_KAFKA, "store", "spool", "ports", "files", "traces")


@click.command("doctor")
@config_option
@click.argument("rooms", nargs=-1, type=click.Choice(ROOMS), metavar="[ROOM]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--read-only", is_flag=True, help="Write nothing; the broker's clock is not asked.")
def command(config: Path | None, rooms: tuple[str, ...], as_json: bool, read_only: bool) -> None:
    """Check settings, secrets, Kafka, topics, rights, stores, clock, ports and disks from here.

    Only some of it: ROOM is one of secrets, kafka, rights, topics, schemas, clock, store, spool,
    ports, files, traces. For the broker's time it writes two empty batches to the execution log.
    Exit code 0 if nothing is broken, 1 otherwise; no secret is shown.
    """
    redactor = Redactor()
    found: list[Finding] = []
    began_s = time.monotonic()
    wanted = frozenset(rooms or ROOMS)
    for finding in _all(config, redactor, wanted, read_only):
        # The second line of defence: an error of somebody else's library may quote anything.
        safe = Finding(
            finding.room,
            finding.state,
            printable(redactor.redact(finding.text)),
            printable(redactor.redact(finding.mend)),
        )
        found.append(safe)
        if not as_json:
            _show(safe)
    counts = {state: sum(f.state is state for f in found) for state in State}
    if as_json:
        rows = [
            {"room": f.room, "state": f.state.value, "text": f.text, "mend": f.mend} for f in found
        ]
        click.echo(json.dumps({"findings": rows} | {s.value: n for s, n in counts.items()}))
    else:
        click.echo(
            f"{counts[State.BROKEN]} broken, {counts[State.WARNING]} warnings, "
            f"{counts[State.OK]} ok in {time.monotonic() - began_s:.1f} s"
        )
    sys.exit(1 if counts[State.BROKEN] else 0)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    click.secho(f"{mark} ", fg=colour, bold=True, nl=False)
    click.echo(f"{finding.room:<12} {finding.text}")
    if finding.mend:
        click.secho(f"{'':15}→ {finding.mend}", dim=True)


def _all(
    config: Path | None, redactor: Redactor, rooms: frozenset[str], read_only: bool
) -> Iterator[Finding]:
    try:
        settings = load(config, os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            yield broken("settings", problem, "hookline config check")
        return
    yield ok("settings", f"all are good, environment {settings.environment}")
    resolver = resolver_for(os.environ, redactor, settings.credentials)
    if "secrets" in rooms:
        yield from secrets_and_stores.secrets(settings, resolver)
    if of_kafka := rooms.intersection(_OF_KAFKA):
        try:
            properties = settings.kafka.resolved_properties(resolver)
        except SecretError as error:
            yield broken("kafka", f"its secret cannot be had: {error}", "hookline secrets check")
        else:
            yield from _kafka(Cluster(settings, properties), of_kafka, read_only)
    if "store" in rooms:
        yield from secrets_and_stores.store(settings, resolver)
        yield from secrets_and_stores.monitor_store(settings, resolver)
    for name, look in (
        ("spool", machine.spool),
        ("ports", machine.ports),
        ("files", machine.files),
    ):
        if name in rooms:
            yield from look(settings)
    if "traces" in rooms:
        yield from machine.traces(os.environ)


def _kafka(cluster: Cluster, rooms: frozenset[str], read_only: bool) -> Iterable[Finding]:
    findings, answers = cluster.reach()
    yield from findings
    if not answers:
        left = ", ".join(room for room in _OF_KAFKA[1:] if room in rooms)
        if left:
            yield warning("kafka", f"not looked at: {left}")
        return
    rights = list(cluster.rights())
    if "rights" in rooms:
        yield from rights
    if "topics" in rooms:
        yield from cluster.topics()
    if "schemas" in rooms:
        yield from records.schemas(cluster.settings, cluster.properties)
    if "clock" in rooms and not read_only:
        yield from cluster.clock()
