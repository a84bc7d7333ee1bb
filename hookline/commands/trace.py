"""`hookline trace`: everything that is known of one request, from its id."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from consumer.monitor.contract import FINE
from consumer.monitor.trace_links import trace_link
from hookline.commands.config import config_option
from hookline.commands.letter_filter import printable
from hookline.commands.trace_sources import story_of, with_store
from hookline.commands.trace_story import (
    Step,
    Told,
    as_json,
    execution_steps,
    key_of,
    next_steps,
    reception_steps,
)
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.telemetry.redaction import Redactor
from schemas import request_id as request_ids
from schemas.errors import ConfigurationError
from schemas.execution import Execution, Reception

_BAR: Final = 32


@click.command("trace")
@config_option
@click.argument("request_id")
@click.option(
    "--within",
    "within_s",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0.5, 3600),
    help="Seconds to search the execution log for.",
)
@click.option("--json", "as_json_", is_flag=True, help="One JSON object.")
def command(config: Path | None, request_id: str, within_s: float, as_json_: bool) -> None:
    """Show every step of REQUEST_ID (the answer's X-Request-ID), with its time and its place.

    Exit code 0 if anything is known of it, 1 otherwise.
    """
    wanted = _parsed(request_id)
    settings = load(config, os.environ)
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    story, remark = story_of(settings, resolver, wanted, within_s)
    told = with_store(settings, resolver, wanted, story)
    link = trace_link(settings.telemetry.trace_url, told.request_id)
    known = bool(story.receptions or story.executions or told.letters or told.parked)
    if as_json_:
        click.echo(json.dumps(as_json(told, link) | {"remark": remark}))
    elif known:
        _show(told, link)
    else:
        click.echo(_unknown(wanted, settings.topics.executions))
    if remark:
        click.secho(remark, fg="yellow", err=True)
    sys.exit(0 if known else 1)


def _parsed(text: str) -> bytes:
    # As people paste it: a traceparent, quotes, dashes.
    parts = text.strip().strip("\"'").split("-")
    digits = parts[1] if len(parts) == 4 and len(parts[1]) == 32 else "".join(parts)
    try:
        return request_ids.parse(digits)
    except ValueError:
        raise ConfigurationError(
            "a request id is 32 hex digits, as the answer's X-Request-ID and every log line have it"
        ) from None


def _unknown(request_id: bytes, topic: str) -> str:
    made_ms = request_ids.unix_ms(request_id)
    lines = [f"nothing is known of {request_id.hex()}"]
    if abs(made_ms / 1000 - time.time()) > 10 * 365 * 86_400:
        lines.append("its first 12 digits are no time of ours: it is hardly one of Hookline's ids")
    else:
        lines.append(
            f"it was made at {_moment(made_ms * 1000)}: topic {topic} may keep less than that, "
            "telemetry.executions may leave it out, or another environment has it"
        )
    return "\n".join(lines)


def _show(told: Told, link: str | None) -> None:
    rows: Sequence[Reception | Execution] = told.story.receptions or told.story.executions
    click.secho(f"request {told.request_id}", bold=True)
    if rows:
        first = rows[0]
        name = first.connection or "(no known connection)"
        of = "  ".join(filter(None, (first.provider, first.tenant and f"tenant {first.tenant}")))
        click.echo(printable(f"  {_moment(first.received_at_us)}  {name}  {of}".rstrip()))
    for row in told.story.receptions:
        _show_reception(row)
    for number, execution in enumerate(told.story.executions):
        _show_execution(execution, gateway=not told.story.receptions and number == 0)
    for stored in told.letters:
        letter = stored.letter
        click.echo()
        _line(f"dead letter {stored.number}  {letter.reason}  {letter.detail}", "red")
    for item in told.parked:
        click.echo()
        wait_s = item.retry_at_ms / 1000 - time.time()
        due = f"in {wait_s:.0f} s" if wait_s > 0 else "now"
        _line(f"parked  {item.reason}  {item.attempts} attempts, next {due}", "yellow")
    if link:
        click.echo(f"\ntrace: {link}")
    following = next_steps(told)
    if following:
        click.echo()
        for line in following:
            _line(f"next: {line}", "cyan")


def _show_reception(row: Reception) -> None:
    click.echo()
    place = "spool" if row.events and row.offset < 0 else f"partition {row.partition}@{row.offset}"
    to = f"  → {place}" if row.events else ""
    head = f"gateway {row.instance}  {row.status} {row.outcome}{to}"
    head += f"  answered in {_ms(row.total_ns)}"
    _line(head, "red" if row.refused else "green")
    _waterfall(reception_steps(row))


def _show_execution(row: Execution, *, gateway: bool) -> None:
    click.echo()
    place = f"{row.topic}[{row.partition}]@{row.offset}"
    failed = f" after {row.failures} failed calls" if row.failures else ""
    reason = f" ({row.reason})" if row.reason else ""
    back = ", back from parking" if row.was_parked else ""
    _line(
        f"group {row.group}  {row.instance}  {place}  {row.outcome}{reason}{failed}{back}  "
        f"end to end {_ms(row.end_to_end_ns)}",
        "green" if row.outcome in FINE else "red",
    )
    _line(f"  {row.event_type}  {row.event_id}  {key_of(row)}")
    left_out = row.failures - len(row.attempts)
    _waterfall(execution_steps(row, gateway=gateway))
    if left_out > 0:
        _line(f"  {left_out} more failed calls are not kept")


def _waterfall(steps: list[Step]) -> None:
    if not steps:
        return
    begin_us = min(step.began_us for step in steps)
    end_us = max(step.began_us + step.duration_ns // 1000 for step in steps)
    whole_us = max(1, end_us - begin_us)
    for step in steps:
        at = min(_BAR - 1, (step.began_us - begin_us) * _BAR // whole_us)
        length = max(1, min(_BAR - at, round(step.duration_ns / 1000 * _BAR / whole_us)))
        bar = " " * at + "█" * length + " " * (_BAR - at - length)
        name = f"{'  ' if step.of else ''}{step.name}"
        offset = f"+{_ms((step.began_us - begin_us) * 1000)}"
        click.echo(f"  {name:<12}{offset:>12}{_ms(step.duration_ns):>12}  ", nl=False)
        click.secho(bar, fg="red" if step.failed else "blue", nl=False)
        click.echo(f"  {printable(step.note)}".rstrip())


def _line(text: str, colour: str | None = None) -> None:
    click.secho(printable(text), fg=colour)


def _ms(duration_ns: int) -> str:
    ms = duration_ns / 1e6
    if ms < 10:
        return f"{ms:.2f} ms"
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:,.1f} s"


def _moment(unix_us: int) -> str:
    moment = datetime.fromtimestamp(unix_us / 1e6, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
