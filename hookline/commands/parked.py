"""`hookline parked`: keys whose events are held because an earlier one keeps failing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from consumer.stores.contract import ParkedKey, Partition
from consumer.stores.operations import Operations
from hookline.commands.auditing import command_audit, some
from hookline.commands.config import config_option
from hookline.commands.letter_filter import ago, lines, printable
from hookline.processes.stores import operations
from hookline.settings.loading import load
from schemas.errors import ConfigurationError

_PAGE: Final = 200


@click.group("parked")
def command() -> None:
    """See which keys are parked, and try them again at once."""


@command.command("list")
@config_option
@click.option("--connection", default="", help="One connection.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_(config: Path | None, connection: str, limit: int, as_json: bool) -> None:
    """List parked keys: how many events each holds, and when it is tried again."""
    with operations(config) as store:
        keys = [key for key, _ in zip(_keys(store, connection), range(limit), strict=False)]
        rows = [_row(store, key) for key in keys]
        more = len(store.parked_keys(connection, _place(keys[-1]), 1)) if keys else 0
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    if not rows:
        click.echo("nothing is parked" + (f" of connection {connection}" if connection else ""))
        return
    lines(
        ("events", "since", "attempts", "next try", "reason", "first event", "resource"),
        [
            (
                str(row["events"]),
                ago(row["since_ms"] * 1000),
                str(row["attempts"]),
                _in(row["retry_at_ms"] / 1000 - time.time()),
                row["reason"],
                row["event_type"],
                row["key"],
            )
            for row in rows
        ],
    )
    if more:
        click.echo(f"the first {len(rows)}; --limit shows more")


@command.command("retry")
@config_option
@click.argument("keys", nargs=-1)
@click.option("--connection", default="", help="All keys of one connection.")
@click.option("--all", "everything", is_flag=True, help="Every parked key.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def retry(
    config: Path | None, keys: tuple[str, ...], connection: str, everything: bool, dry_run: bool
) -> None:
    """Try parked keys again now, in their order; KEYS as `hookline parked list` shows them.

    Each key's first event runs first, and the others only when it has succeeded.
    """
    if not (keys or connection or everything):
        raise ConfigurationError("say which to retry: keys, --connection, or --all")
    with operations(config) as store:
        found = [k for k in _keys(store, connection) if not keys or _names(k.key) & set(keys)]
        if unknown := set(keys).difference(*(_names(k.key) for k in found)):
            raise ConfigurationError(
                f"not parked: {', '.join(sorted(unknown))}; `hookline parked list` shows what is"
            )
        events = sum(key.events for key in found)
        if dry_run:
            click.echo(f"{len(found)} keys with {events} events would be tried again")
            return
        audit = command_audit(load(config, os.environ))
        target = some([_text(key.key) for key in found])
        with audit.change("parked.retry", target, connection=connection, keys=len(found)) as change:
            done = store.retry([_place(key) for key in found], int(time.time() * 1000))
            change.note(done=done)
    click.echo(f"{done} keys with {events} events are due now")


def _keys(store: Operations, connection: str) -> Iterator[ParkedKey]:
    after: tuple[Partition, bytes] | None = None
    while page := store.parked_keys(connection, after, _PAGE):
        yield from page
        after = _place(page[-1])


def _place(key: ParkedKey) -> tuple[Partition, bytes]:
    return key.partition, key.key


def _in(wait_s: float) -> str:
    return f"in {wait_s:.0f} s" if wait_s > 0 else "due"


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _names(key: bytes) -> set[str]:
    """A key as it is, and as the list shows it."""
    return {_text(key), printable(_text(key))}


def _row(store: Operations, key: ParkedKey) -> dict[str, Any]:
    first = store.parked_events(key.partition, key.key, 1)
    return {
        "key": _text(key.key),
        "events": key.events,
        "attempts": key.attempts,
        "retry_at_ms": key.retry_at_ms,
        "partition": str(key.partition),
        "since_ms": first[0].parked_at_ms if first else 0,
        "event_type": first[0].event_type if first else "",
        "reason": first[0].reason if first else "",
        "request_id": first[0].request_id.hex() if first else "",
    }
