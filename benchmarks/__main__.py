"""`make bench`: runs the parts that are named, or all, and prints what they measured.

Ends with 1 when a figure cannot be believed: a lost webhook, an answer other than 200, an effect
too many or too few.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import connect, console, gateway, monitor
from benchmarks.consumer import comparison, ids, io_bound, stuck
from benchmarks.gateway import soak, telemetry
from benchmarks.options import NotBelievable, Options
from tests.parts.cache import PartMissing

#: Each returns its figures for `--json`, after it has printed them.
PARTS: Final[dict[str, Callable[[Options], dict[str, Any]]]] = {
    "gateway": gateway.run,
    "telemetry": telemetry.run,
    "soak": soak.run,
    "consumer": comparison.run,
    "stuck": stuck.run,
    "io": io_bound.run,
    "ids": ids.run,
    "console": console.run,
    "monitor": monitor.run,
    "connect": connect.run,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--rounds", type=click.IntRange(1), help="Slices of each candidate, in turn.")
@click.option("--seconds", type=click.IntRange(1), help="How long a slice is.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1))
@click.option("--events", type=click.IntRange(1), help="How many a consumer gets, or ids a store.")
@click.option("--minutes", type=click.IntRange(1), help="How long a soak is.")
@click.option("--rate", type=click.IntRange(1), help="Requests a second of a soak.")
@click.option("--only", multiple=True, help="A consumer or store to measure; can be repeated.")
@click.option("--quick", is_flag=True, help="A minute or two, for a first look.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rival-workers", default=1, show_default=True, help="Processes of a rival server.")
@click.option("--load", type=click.Choice(["wrk", "own"]), help="The load generator.")
def main(
    parts: tuple[str, ...],
    rounds: int | None,
    seconds: int | None,
    connections: int,
    events: int | None,
    minutes: int | None,
    rate: int | None,
    only: tuple[str, ...],
    quick: bool,
    json_file: Path | None,
    rival_workers: int,
    load: str | None,
) -> None:
    """Measure PARTS beside rivals; all but the soak when none is named."""
    options = Options(
        rounds=rounds or 0,
        seconds=seconds or 0,
        events=events or 0,
        minutes=minutes or 0,
        rate=rate or 0,
        quick=quick,
        only=only,
        connections=connections,
        rival_workers=rival_workers,
        load=load or "",
    )
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    click.echo(", ".join(f"{name} {value}" for name, value in machine.items()))
    figures: dict[str, Any] = {"machine": machine}
    try:
        for part in dict.fromkeys(parts or (name for name in PARTS if name != "soak")):
            click.echo(f"\n{part}")
            figures[part] = PARTS[part](options)
    except (PartMissing, NotBelievable) as problem:
        click.echo(f"benchmark failed: {problem}", err=True)
        sys.exit(1)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


main()
