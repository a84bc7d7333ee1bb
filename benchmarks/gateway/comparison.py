"""One run: all candidates at once on one broker, each loaded in turn, round after round."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from benchmarks.figures import plain, ratios, spread, table
from benchmarks.gateway import candidates
from benchmarks.gateway.candidates import CEILING, GO, OURS, RIVAL, Candidate
from benchmarks.gateway.load import Load, find_load
from benchmarks.options import NotBelievable, Options
from benchmarks.process_usage import cpu_us, others_cpu_us, peak_rss_bytes
from tests.parts.cache import PartMissing
from tests.parts.kafka import VERSION, KafkaBroker

#: A JVM that has just started compiles for half a minute, and takes the cores while it does.
_WARM_UP_SLICES: Final = 4


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate did in one round."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_mb: float
    others_cores: float


#: Field, head of its column, digits.
_COLUMNS: Final = (
    ("requests_per_s", "requests/s", 0),
    ("p50_ms", "p50 ms", 1),
    ("p99_ms", "p99 ms", 1),
    ("cpu_us", "CPU µs/webhook", 0),
    ("rss_mb", "peak RSS MB", 0),
)


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if a 200 was not kept."""
    options = replace(
        options, rounds=options.chosen("rounds", 5, 2), seconds=options.chosen("seconds", 4, 2)
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-bench-")))
        load = find_load(folder, options.load)
        broker = stack.enter_context(KafkaBroker())
        servers = [
            candidates.gateway(broker, folder),
            candidates.fastapi(broker, folder, options.rival_workers),
            candidates.constant(folder),
        ]
        try:
            servers.append(candidates.go(broker, folder))
        except PartMissing as missing:
            print(f"without the rival in Go, which is optional: {missing}")
        for server in servers:
            stack.callback(server.stop)
        print(
            f"{options.rounds} rounds of {options.seconds} s each in turn, after a warm-up; "
            f"{options.connections} connections, {load.name}; Kafka {VERSION}, one broker",
            flush=True,
        )
        return _measured(broker, servers, load, options)


def _measured(
    broker: KafkaBroker, servers: list[Candidate], load: Load, options: Options
) -> dict[str, Any]:
    slices: dict[str, list[Slice]] = {server.name: [] for server in servers}
    answered = dict.fromkeys(slices, 0)
    for _ in range(min(_WARM_UP_SLICES, options.rounds)):
        for server in servers:
            if server.topic:
                answered[server.name] += measure(server, load, options)[1]
    for number in range(options.rounds):
        # Each goes first in turn, so that none is always the one after another.
        first = number % len(servers)
        for server in servers[first:] + servers[:first]:
            measured, oks = measure(server, load, options)
            slices[server.name].append(measured)
            answered[server.name] += oks
    kept = {
        server.name: _kept(broker, server, answered[server.name])
        for server in servers
        if server.topic
    }
    return _report(slices, answered, kept)


def measure(server: Candidate, load: Load, options: Options) -> tuple[Slice, int]:
    """One slice, and how many were answered 200; NotBelievable for any other answer."""
    before_us, others_us = cpu_us(server.process.pid), others_cpu_us()
    seen = load.run(server.port, options.connections, options.seconds)
    used_us = cpu_us(server.process.pid) - before_us
    others_us = others_cpu_us() - others_us
    if seen.refused or seen.broken or not seen.answered:
        raise NotBelievable(
            f"{server.name}: of {seen.answered} answers {seen.refused} were not 200, and "
            f"{seen.broken} connections broke or timed out\n{server.process.tail()}"
        )
    measured = Slice(
        requests_per_s=seen.answered / seen.duration_us * 1e6,
        p50_ms=seen.p50_us / 1000,
        p99_ms=seen.p99_us / 1000,
        cpu_us=used_us / seen.answered,
        rss_mb=peak_rss_bytes(server.process.pid) / 1e6,
        others_cores=max(0.0, others_us / seen.duration_us),
    )
    return measured, seen.answered


def _kept(broker: KafkaBroker, server: Candidate, answered: int) -> int:
    kept = candidates.records(broker, server.topic)
    if kept < answered:
        raise NotBelievable(f"{server.name}: answered {answered} with 200, Kafka has {kept}")
    return kept


def _report(
    slices: dict[str, list[Slice]], answered: dict[str, int], kept: dict[str, int]
) -> dict[str, Any]:
    values = {
        name: {field: [getattr(one, field) for one in rounds] for field, _, _ in _COLUMNS}
        for name, rounds in slices.items()
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
    against = {
        other: {
            field: ratios(values[OURS][field], values[other][field]) for field, _, _ in _COLUMNS
        }
        for other in (RIVAL, GO, CEILING)
        if other in values
    }
    print("\nratio, pair by pair")
    rows = [
        [f"{OURS} / {other}", *(of[field].text(2) for field, _, _ in _COLUMNS)]
        for other, of in against.items()
    ]
    print(table(["", *(head for _, head, _ in _COLUMNS)], rows))
    print()
    for name, count in kept.items():
        print(f"{name}: {answered[name]:,} answered 200, {count:,} records in Kafka, 0 others")
    others = spread([one.others_cores for rounds in slices.values() for one in rounds])
    print(f"meanwhile other programs used {others.text(1)} cores of this machine")
    return {
        "others_cores": msgspec.to_builtins(others),
        "figures": {name: plain(of) for name, of in spreads.items()},
        "ratios": {name: plain(of) for name, of in against.items()},
        "rounds": values,
        "answered": answered,
        "records": kept,
    }
