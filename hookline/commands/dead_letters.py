"""`hookline dead-letters`: what was given up on, and what to do with it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from consumer.stores.operations import Filter, Operations, StoredLetter
from hookline.commands.auditing import command_audit, some
from hookline.commands.config import config_option
from hookline.commands.letter_filter import ago, filter_options, lines, make_filter, printable
from hookline.processes.stores import operations
from hookline.settings.loading import load
from schemas.codec import EVENT
from schemas.errors import CodecError, ConfigurationError

_PAGE: Final = 200
_BAR_FROM: Final = 20
#: Each may be some megabytes.
_LETTERS_AT_ONCE: Final = 20
_SHOWN: Final = 10


class Chosen(NamedTuple):
    """Letters by their numbers, and a line about each of the first: there may be very many."""

    numbers: list[int]
    first: list[str]

    def add(self, stored: StoredLetter) -> None:
        """One more."""
        self.numbers.append(stored.number)
        if len(self.first) < _SHOWN:
            event_type = stored.event_type or "(not readable)"
            about = f"{stored.letter.reason}  {event_type}  {stored.resource_key}"
            self.first.append(f"{stored.number}  {printable(about)}")


@click.group("dead-letters")
def command() -> None:
    """See, redrive or discard what the consumer group gave up on."""


@command.command("list")
@config_option
@filter_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_(config: Path | None, limit: int, as_json: bool, **options: Any) -> None:
    """List dead letters, the oldest first."""
    wanted = make_filter(options)
    with operations(config) as store:
        total = store.count(wanted)
        letters = store.letters(wanted, 0, limit)
    if as_json:
        for stored in letters:
            click.echo(json.dumps(_summary(stored)))
        return
    if not letters:
        click.echo("no dead letters" + ("" if wanted == Filter() else " of this kind"))
        return
    lines(
        ("number", "died", "reason", "attempts", "request id", "type", "resource"),
        [
            (
                str(stored.number),
                ago(stored.letter.died_at_us),
                stored.letter.reason,
                str(stored.letter.attempts),
                stored.letter.request_id.hex() if stored.letter.request_id else "-",
                stored.event_type or "-",
                stored.resource_key or "-",
            )
            for stored in letters
        ],
    )
    if total > len(letters):
        click.echo(f"{len(letters)} of {total}; --limit shows more")


@command.command("show")
@config_option
@click.argument("number", type=int)
@click.option("--payload", is_flag=True, help="Print the payload too: it may hold personal data.")
def show(config: Path | None, number: int, payload: bool) -> None:
    """Show one dead letter: why it died, and where it came from."""
    with operations(config) as store:
        stored = store.letter(number)
    if stored is None:
        raise ConfigurationError(
            f"there is no dead letter {number}: `hookline dead-letters list` shows their numbers"
        )
    table = Table(box=None, show_header=False)
    for name, value in _summary(stored).items():
        # Not as markup: most of it comes from outside.
        table.add_row(Text(name, style="dim"), Text(printable(str(value))))
    Console().print(table)
    if payload:
        click.echo(_payload(stored, terminal=sys.stdout.isatty()))


@command.command("redrive")
@config_option
@filter_options
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="With no filter and no number.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--rate", type=click.FloatRange(0.01), help="At most so many a second.")
def redrive(
    config: Path | None,
    numbers: tuple[int, ...],
    everything: bool,
    dry_run: bool,
    rate: float | None,
    **options: Any,
) -> None:
    """Handle dead letters again: they are parked and due now, so each key keeps its order.

    The consumer that owns their partition takes them within consumer.parking.scan_ms.
    """
    wanted = make_filter(options)
    with operations(config) as store:
        chosen = _choose(store, wanted, numbers, everything, "redrive")
        if dry_run:
            _say(chosen, "would be redriven")
            return
        done = 0
        audit = command_audit(load(config, os.environ))
        with audit.change("dead_letter.redrive", **_about(chosen, wanted)) as change:
            try:
                for number in _paced(chosen.numbers, rate, "redriving"):
                    done += store.redrive([number], int(time.time() * 1000))
            finally:
                change.note(done=done)
    click.echo(f"{done} redriven; see `hookline parked list` and `hookline dead-letters list`")


@command.command("discard")
@config_option
@filter_options
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="With no filter and no number.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(
    config: Path | None,
    numbers: tuple[int, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Delete dead letters from the store for good (their topic keeps its copy for a while)."""
    wanted = make_filter(options)
    with operations(config) as store:
        chosen = _choose(store, wanted, numbers, everything, "discard")
        _say(chosen, "would be discarded" if dry_run else "to discard")
        if dry_run or not chosen.numbers:
            return
        if not yes:
            click.confirm("Discard them for good?", abort=True)
        done = 0
        audit = command_audit(load(config, os.environ))
        with audit.change("dead_letter.discard", **_about(chosen, wanted)) as change:
            try:
                for start in range(0, len(chosen.numbers), _PAGE):
                    done += store.discard(chosen.numbers[start : start + _PAGE])
            finally:
                change.note(done=done)
    click.echo(f"{done} discarded")


def _choose(
    store: Operations, wanted: Filter, numbers: tuple[int, ...], everything: bool, verb: str
) -> Chosen:
    """The letters meant, the oldest first. Nothing chosen is not everything chosen."""
    chosen = Chosen([], [])
    if numbers:
        missing = []
        for number in sorted(set(numbers)):
            stored = store.letter(number)
            if stored is None:
                missing.append(str(number))
            else:
                chosen.add(stored)
        if missing:
            raise ConfigurationError(f"there is no dead letter {', '.join(missing)}")
        return chosen
    if wanted == Filter() and not everything:
        raise ConfigurationError(
            f"say which to {verb}: numbers, a filter such as --connection or --reason, or --all"
        )
    after = 0
    while page := store.letters(wanted, after, _LETTERS_AT_ONCE):
        for stored in page:
            chosen.add(stored)
        after = page[-1].number
    return chosen


def _about(chosen: Chosen, wanted: Filter) -> dict[str, Any]:
    """What the audit log has of it: which letters, and by which filter."""
    return {
        "target": some(chosen.numbers),
        "connection": wanted.connection,
        "chosen": len(chosen.numbers),
        **{n: v for n in ("reason", "event_type", "resource") if (v := getattr(wanted, n))},
    }


def _say(chosen: Chosen, what: str) -> None:
    count = len(chosen.numbers)
    click.echo(f"{count} {what}")
    for line in chosen.first:
        click.echo(f"  {line}")
    if count > _SHOWN:
        click.echo(f"  … and {count - _SHOWN} more")


def _paced(numbers: list[int], rate: float | None, what: str) -> Iterator[int]:
    console = Console(stderr=True)
    columns = (f"[dim]{what}[/]", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began_s = time.monotonic()
    with Progress(*columns, console=console, disable=len(numbers) < _BAR_FROM) as progress:
        bar = progress.add_task("", total=len(numbers))
        for n, number in enumerate(numbers):
            if rate is not None:
                time.sleep(max(0.0, began_s + n / rate - time.monotonic()))
            yield number
            progress.advance(bar)


def _summary(stored: StoredLetter) -> dict[str, Any]:
    letter = stored.letter
    died = datetime.fromtimestamp(letter.died_at_us / 1e6, UTC)
    return {
        "number": stored.number,
        "died_at": died.isoformat(timespec="milliseconds"),
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "request_id": letter.request_id.hex() if letter.request_id else "",
        "connection": letter.connection,
        "event_type": stored.event_type,
        "resource_key": stored.resource_key,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "bytes": len(letter.value or b""),
    }


def _payload(stored: StoredLetter, *, terminal: bool) -> str:
    value = stored.letter.value or b""
    try:
        value = EVENT.decode(value).payload
    except CodecError:
        click.echo("(it could not be decoded; these are its bytes as they came)", err=True)
        return value.hex()
    return _as_text(value, terminal=terminal)


def _as_text(value: bytes, *, terminal: bool) -> str:
    text = value.decode("utf-8", "backslashreplace")
    if not terminal:
        return text
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
