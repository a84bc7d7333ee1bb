"""One run: each candidate in turn consumes the same filled topic from its start to its end."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.consumer import events
from benchmarks.consumer.candidates import Candidate, Job, all_candidates
from benchmarks.consumer.effects import EffectsPlace, PostgresPlace, SqlitePlace
from benchmarks.consumer.watching import Measured, watch
from benchmarks.figures import plain, ratios, spread, table
from benchmarks.options import NotBelievable, Options
from tests.parts.kafka import VERSION, KafkaBroker
from tests.parts.postgres import PostgresServer

_OURS: Final = ("hookline sqlite", "hookline postgres")


#: Field, head of its column, digits.
_COLUMNS: Final = (
    ("events_per_s", "events/s", 0),
    ("cpu_us", "CPU µs/event", 1),
    ("server_us", "PostgreSQL µs/event", 1),
    ("rss_mb", "peak RSS MB", 0),
)


class _Run(msgspec.Struct, frozen=True):
    """Where all candidates of a run find what they need."""

    broker: KafkaBroker
    postgres: PostgresServer
    log: events.Log
    folder: Path


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if an effect was double or lost."""
    rounds = options.chosen("rounds", 3, 1)
    count = options.chosen("events", 200_000, 40_000)
    candidates = [c for c in all_candidates() if not options.only or c.name in options.only]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-bench-")))
        broker = stack.enter_context(KafkaBroker())
        postgres = stack.enter_context(PostgresServer())
        log = events.fill(broker, "bench-events", count)
        print(
            f"{rounds} rounds, in turn; {log.events:,} events of about 1.1 kB, {log.distinct:,} "
            f"distinct, {events.KEYS:,} keys, {events.PARTITIONS} partitions; "
            f"Kafka {VERSION}, one broker",
            flush=True,
        )
        this = _Run(broker, postgres, log, folder)
        for candidate in candidates[:1]:
            # The JVM compiles while it is first read from.
            _measure(this, candidate, "warm-up")
        measured: dict[str, list[Measured]] = {c.name: [] for c in candidates}
        for number in range(rounds):
            # Each goes first in turn, so that none is always the one after another.
            first = number % len(candidates)
            for candidate in candidates[first:] + candidates[:first]:
                one = _measure(this, candidate, f"r{number}")
                measured[candidate.name].append(one)
                print(f"  round {number + 1}, {candidate.name}: {one.events_per_s:,.0f} events/s, "
                      f"others {one.others_cores:.1f} cores", flush=True)  # fmt: skip
        return _report(measured, candidates)


def _measure(this: _Run, candidate: Candidate, label: str) -> Measured:
    name = f"{label}-{candidate.name}".replace(" ", "-").replace(",", "").replace("()", "")
    folder = this.folder / name
    folder.mkdir()
    place: EffectsPlace | None = None
    if candidate.store == "sqlite":
        place = SqlitePlace(folder / "store.db")
    elif candidate.store == "postgres":
        place = PostgresPlace(this.postgres, name.replace("-", "_").lower())
    log = this.log
    whole = log.events if candidate.counts == "messages" else log.distinct
    job = Job(
        broker=this.broker,
        log=log,
        group=name,
        url=place.url if place else "",
        folder=folder,
        expected=min(whole, candidate.most or whole),
    )
    process = candidate.start(job)
    try:
        server_us = place.server_cpu_us if place else lambda: 0
        taken = watch(process, job, candidate.name, server_us, log.events / whole)
    finally:
        process.stop()
    if place is not None:
        _check(candidate, job, place)
    return taken


def _check(candidate: Candidate, job: Job, place: EffectsPlace) -> None:
    found = place.count()
    right = found.rows == found.events
    if candidate.most:
        right &= job.expected <= found.events <= job.log.distinct
    else:
        right &= found.events == job.log.distinct
    if not right:
        raise NotBelievable(
            f"{candidate.name}: {found.rows:,} effects of {found.events:,} events; the topic has "
            f"{job.log.distinct:,}"
        )


def _report(measured: dict[str, list[Measured]], candidates: list[Candidate]) -> dict[str, Any]:
    values = {
        name: {field: [getattr(one, field) for one in rounds] for field, _, _ in _COLUMNS}
        for name, rounds in measured.items()
    }
    spreads = {
        name: {field: spread(column) for field, column in columns.items()}
        for name, columns in values.items()
    }
    print("\nmedian (lowest-highest)")
    rows = [
        [name, *(of[field].text(digits) for field, _, digits in _COLUMNS)]
        for name, of in spreads.items()
    ]
    print(table(["", *(head for _, head, _ in _COLUMNS)], rows))
    compared = [field for field, _, _ in _COLUMNS if field != "server_us"]
    against = {
        f"{ours} / {other.name}": {
            field: ratios(values[ours][field], values[other.name][field]) for field in compared
        }
        for ours in _OURS
        for other in candidates
        if ours in values and not other.name.startswith("hookline")
    }
    if against:
        print("\nratio, pair by pair")
        heads = [head for field, head, _ in _COLUMNS if field in compared]
        rows = [[name, *(of[field].text(2) for field in compared)] for name, of in against.items()]
        print(table(["", *heads], rows))
    print()
    for candidate in candidates:
        if candidate.store:
            what = "all effects" if not candidate.most else f"up to {candidate.most:,} effects"
            print(f"{candidate.name}: {what} there, each once")
    others = spread([one.others_cores for rounds in measured.values() for one in rounds])
    print(f"meanwhile other programs used {others.text(1)} cores of this machine")
    return {
        "others_cores": msgspec.to_builtins(others),
        "figures": {name: plain(of) for name, of in spreads.items()},
        "ratios": {name: plain(of) for name, of in against.items()},
        "rounds": values,
    }
