"""The options that choose dead letters, and times as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

from consumer.stores.operations import Filter

F = TypeVar("F", bound=Callable[..., Any])

_AGE: Final = re.compile(r"(\d+)\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Moment(click.ParamType[int]):
    """A time: ISO 8601, or how long ago (`30m`, `2h`, `7d`); as Unix µs."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Unix µs; an error that shows both forms for anything else."""
        if isinstance(value, int):
            return value
        if match := _AGE.fullmatch(value):
            moment = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        else:
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                self.fail(
                    "write a time such as 2026-11-24T09:00:00Z, or an age such as 30m, 2h, 7d"
                )
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000)


def filter_options(function: F) -> F:
    """The options of `Filter`; they reach the command as keyword arguments."""
    for option in (
        click.option("--until", type=Moment(), help="Died before: a time, or an age such as 1h."),
        click.option("--since", type=Moment(), help="Died at or after: a time, or an age."),
        click.option("--reason", default="", help="Such as permanent, exhausted, undecodable."),
        click.option("--resource", default="", help="A resource key or its end, such as issue/42."),
        click.option("--type", "event_type", default="", help="An event type; may end in .*"),
        click.option("--connection", default="", help="One connection."),
    ):
        function = option(function)
    return function


def make_filter(options: dict[str, Any]) -> Filter:
    """The filter of what `filter_options` gave."""
    return Filter(
        connection=options["connection"],
        event_type=options["event_type"],
        resource=options["resource"],
        reason=options["reason"],
        since_us=options["since"],
        until_us=options["until"],
    )


def ago(unix_us: int) -> str:
    """How long ago, in the largest whole unit."""
    seconds = max(0, int(datetime.now(UTC).timestamp() - unix_us / 1_000_000))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"


def printable(text: str) -> str:
    """A text from outside as a terminal may get it: what controls or hides something is escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, a line each however long: for the eye, and for grep."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    for number, row in enumerate((header, *rows)):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.secho(text.rstrip(), dim=number == 0)
