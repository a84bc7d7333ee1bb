"""What the execution log and traces cost the gateway: the same one with and without them."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from benchmarks.figures import plain, ratios, spread, table
from benchmarks.gateway import candidates
from benchmarks.gateway.candidates import Candidate
from benchmarks.gateway.comparison import measure
from benchmarks.gateway.load import find_load
from benchmarks.options import Options
from tests.parts.kafka import VERSION, KafkaBroker
from tests.parts.process import free_port

_WITHOUT: Final = "neither"
_WARM_UP_SLICES: Final = 3


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures."""
    options = replace(
        options, rounds=options.chosen("rounds", 6, 2), seconds=options.chosen("seconds", 3, 2)
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-bench-")))
        load = find_load(folder, options.load)
        broker = stack.enter_context(KafkaBroker())
        port = free_port()
        sink = Candidate(
            *("sink", port, ""),
            [sys.executable, "-m", "benchmarks.gateway.otlp_sink", str(port)],
            folder,
            {},
        )
        stack.callback(sink.stop)
        otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        log_off: dict[str, Any] = {"executions": {"sample": "off"}}
        variants: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
            _WITHOUT: (log_off, {}),
            "execution log": ({}, {}),
            "log, traces": ({}, otlp),
            "log, all traced": ({"max_traces_per_s": 100_000}, otlp),
        }
        servers = []
        for name, (telemetry, environ) in variants.items():
            changed = {"telemetry": telemetry}
            servers.append(candidates.gateway(broker, folder, name, changed, environ))
            stack.callback(servers[-1].stop)
        print(
            f"{options.rounds} rounds of {options.seconds} s each in turn, after a warm-up; "
            f"{options.connections} connections, {load.name}; Kafka {VERSION}, one broker",
            flush=True,
        )
        used: dict[str, list[float]] = {server.name: [] for server in servers}
        others = 0.0
        for number in range(-_WARM_UP_SLICES, options.rounds):
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                measured, _ = measure(server, load, options)
                if number >= 0:
                    used[server.name].append(measured.cpu_us)
                    others = max(others, measured.others_cores)
    spreads = {name: spread(values) for name, values in used.items()}
    by = {name: ratios(values, used[_WITHOUT]) for name, values in used.items()}
    rows = [[name, one.text(0), by[name].text(2)] for name, one in spreads.items()]
    print()
    print(table(["", "CPU µs/webhook", "by neither, pair by pair"], rows))
    print(f"\nmeanwhile other programs used at most {others:.1f} cores of this machine")
    return {"cpu_us": plain(spreads), "ratio": plain(by)}
