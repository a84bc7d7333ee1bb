"""Handlers that wait 2 ms for something outside: many keys at once beside one a partition."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.consumer import events
from benchmarks.consumer.candidates import Candidate, Job, script, start_hookline
from benchmarks.consumer.watching import Measured, watch
from benchmarks.figures import plain, ratios, spread, table
from benchmarks.options import NotBelievable, Options
from tests.parts.kafka import VERSION, KafkaBroker
from tests.parts.process import Process

_KEYS: Final = 1_000
_CONCURRENCY: Final = 256
_OURS: Final = "hookline"
_SEQUENTIAL: Final = "one at a time per partition"
#: Field, head of its column, digits.
_COLUMNS: Final = (
    ("events_per_s", "events/s", 0),
    ("cpu_us", "CPU µs/event", 0),
    ("rss_mb", "peak RSS MB", 0),
)


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if a key's order was broken."""
    rounds = options.chosen("rounds", 3, 1)
    count = options.chosen("events", 60_000, 20_000)
    candidates = [
        Candidate(name=_OURS, store="sqlite", start=_start),
        script(_SEQUENTIAL, "", Path(sys.executable), "sequential.py", {}, most=count // 6),
    ]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-bench-")))
        broker = stack.enter_context(KafkaBroker())
        log = events.fill(broker, "bench-io", count, keys=_KEYS, copies=0.0)
        print(f"{rounds} rounds, in turn; {count:,} events, {_KEYS:,} keys, "
              f"{events.PARTITIONS} partitions, 2 ms an event, concurrency {_CONCURRENCY}; "
              f"Kafka {VERSION}, one broker", flush=True)  # fmt: skip
        measured: dict[str, list[Measured]] = {c.name: [] for c in candidates}
        for number in range(-1, rounds):
            for candidate in candidates:
                one = _measure(broker, log, folder, candidate, number)
                # The first round only warms Kafka up.
                if number >= 0:
                    measured[candidate.name].append(one)
        return _report(measured)


def _start(job: Job) -> Process:
    handlers = "benchmarks.consumer.external_handlers:sleeping"
    return start_hookline(job, handlers, concurrency=_CONCURRENCY)


def _measure(
    broker: KafkaBroker, log: events.Log, folder: Path, candidate: Candidate, number: int
) -> Measured:
    name = f"{candidate.name}-{number}".replace(" ", "-")
    own = folder / name
    own.mkdir()
    expected = min(log.events, candidate.most or log.events)
    job = Job(broker=broker, log=log, group=name, url=f"sqlite:///{own}/store.db", folder=own,
              expected=expected)  # fmt: skip
    process = candidate.start(job)
    try:
        taken = watch(process, job, candidate.name, lambda: 0, 1.0)
    finally:
        process.stop()
    breaches = own / "breaches"
    if breaches.exists():
        raise NotBelievable(f"{candidate.name}: order broken:\n{breaches.read_text()[:500]}")
    return taken


def _report(measured: dict[str, list[Measured]]) -> dict[str, Any]:
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
    ratio = ratios(values[_OURS]["events_per_s"], values[_SEQUENTIAL]["events_per_s"])
    print(f"\nevents/s, {_OURS} / {_SEQUENTIAL}: {ratio.text(1)}; the order of every key kept")
    others = spread([one.others_cores for rounds in measured.values() for one in rounds])
    print(f"meanwhile other programs used {others.text(1)} cores of this machine")
    return {
        "figures": {name: plain(of) for name, of in spreads.items()},
        "ratios": plain({"events_per_s": ratio}),
        "rounds": values,
    }
