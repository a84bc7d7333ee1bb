"""`hookline audit`: who changed what, when and from where, as the audit topic has it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import click
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from hookline.commands.config import config_option
from hookline.commands.letter_filter import Moment, lines
from hookline.processes.access import audit_access
from hookline.processes.process import resolver_for
from hookline.settings.loading import Settings, load
from hookline.telemetry.redaction import Redactor
from producer.connections.clients import PARTITION
from schemas.access_codec import AUDIT
from schemas.audit import AuditedChange, AuditRecord, changes
from schemas.errors import CodecError, TopicError

_TIMEOUT_S: Final = 30.0
#: A result is written soon after its intent; what was begun before `--since` is read, too.
_BEFORE_US: Final = 3_600_000_000
MAX_RECORDS: Final = 200_000


@click.group("audit")
def command() -> None:
    """See who changed what, when and from where."""


@command.command("list")
@config_option
@click.option("--since", type=Moment(), default="7d", show_default=True, help="A time, or an age.")
@click.option("--until", type=Moment(), help="Before: a time, or an age such as 1h.")
@click.option("--who", default="", help="user@host or a token's id; * stands for anything.")
@click.option("--action", default="", help="Such as connection.pause, or connection.*")
@click.option("--target", default="", help="What it was done to; * stands for anything.")
@click.option("--connection", default="", help="One connection.")
@click.option("--request", default="", help="One request id.")
@click.option("--outcome", type=click.Choice(["done", "failed", "unknown"]))
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_(
    config: Path | None,
    since: int,
    until: int | None,
    limit: int,
    as_json: bool,
    **wanted: str | None,
) -> None:
    """List changes, the newest last. `unknown`: begun, and nobody has said how it ended."""
    settings = load(config, os.environ)
    records = list(_read(settings, since - _BEFORE_US))
    found = [
        change
        for change in changes(records)
        if change.intent.at_us >= since
        and (until is None or change.intent.at_us < until)
        and change.intent.environment == settings.environment
        and _matches(change, wanted)
    ]
    shown = found[-limit:]
    if as_json:
        for change in shown:
            click.echo(json.dumps(_as_json(change)))
        return
    if not shown:
        click.echo("no change of this kind; --since looks back further")
        return
    lines(
        ("when", "outcome", "who", "via", "action", "on", "details", "request id"),
        [_row(change) for change in shown],
    )
    if len(found) > len(shown):
        click.echo(f"the last {len(shown)} of {len(found)}; --limit shows more")


def _read(settings: Settings, since_us: int) -> Iterator[AuditRecord]:
    """Records from a time on, in their order; TopicError with the next step if that fails."""
    access = audit_access(settings, resolver_for(os.environ, Redactor(), settings.credentials))
    consumer = access.reader(50)
    try:
        if problem := access.problem(consumer, 10.0):
            raise TopicError(problem)
        start = TopicPartition(access.topic, PARTITION, max(0, since_us // 1000))
        # No record since then: the offset is the end.
        consumer.assign(consumer.offsets_for_times([start], timeout=10.0))
        yield from _decoded(consumer, access.topic)
    except KafkaException as error:
        raise TopicError(f"topic {access.topic} cannot be read: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _decoded(consumer: Consumer, topic: str) -> Iterator[AuditRecord]:
    unreadable = count = 0
    until_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < until_s:
        message = consumer.poll(0.5)
        if message is None:
            continue
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                break
            raise KafkaException(error)
        count += 1
        if count > MAX_RECORDS:
            raise TopicError(
                f"more than {MAX_RECORDS} records on {topic} since then: look at a later time with "
                "--since"
            )
        try:
            yield AUDIT.decode(message.value() or b"")
        except CodecError:
            unreadable += 1
    else:
        raise TopicError(f"topic {topic} could not be read to its end within {_TIMEOUT_S:g} s")
    if unreadable:
        click.echo(f"{unreadable} records cannot be read: upgrade this command", err=True)


def _matches(change: AuditedChange, wanted: dict[str, str | None]) -> bool:
    intent = change.intent
    texts = {
        "who": (intent.who, intent.who_name),
        "action": (intent.action,),
        "target": (intent.target, intent.details.get("token", "")),
        "connection": (intent.connection,),
        "request": (intent.request_id.hex(),),
        "outcome": (change.outcome,),
    }
    if change.result is not None:
        texts["target"] += (change.result.details.get("token", ""),)
    return all(
        not pattern or any(fnmatchcase(text, pattern) for text in texts[name])
        for name, pattern in wanted.items()
    )


def _row(change: AuditedChange) -> tuple[str, ...]:
    intent, details = change.intent, _details(change)
    when = datetime.fromtimestamp(intent.at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    who = f"{intent.who} ({intent.who_name})" if intent.who_name else intent.who
    via = f"{intent.via} {intent.from_where}" if intent.via == "console" else intent.via
    error = change.result.error_type if change.result is not None else ""
    outcome = f"{change.outcome}: {error}" if error else change.outcome
    told = " ".join(f"{name}={value}" for name, value in sorted(details.items()))
    return (when, outcome, who, via, intent.action, intent.target or "-", told or "-",
            intent.request_id.hex())  # fmt: skip


def _details(change: AuditedChange) -> dict[str, str]:
    return (change.result or change.intent).details


def _as_json(change: AuditedChange) -> dict[str, Any]:
    intent = change.intent
    return {
        "at": datetime.fromtimestamp(intent.at_us / 1e6, UTC).isoformat(timespec="milliseconds"),
        "outcome": change.outcome,
        "error_type": change.result.error_type if change.result is not None else "",
        "took_ms": (change.result.at_us - intent.at_us) // 1000 if change.result else None,
        "who": intent.who,
        "who_name": intent.who_name,
        "via": intent.via,
        "from": intent.from_where,
        "action": intent.action,
        "target": intent.target,
        "connection": intent.connection,
        "details": _details(change),
        "request_id": intent.request_id.hex(),
        "change_id": intent.change_id.hex(),
        "environment": intent.environment,
    }
