"""How long each page of the console takes with a million executions behind it.

The rows are made up over 30 days and appended to a SQLite store as the monitor does it; each page
is then asked for over a socket, and what is counted is from the request to the last byte of its
answer. HOOKLINE_CONSOLE_BENCH names a folder in which the rows stay for the next run.
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import httpx
import uvicorn

from benchmarks.options import NotBelievable, Options
from consumer.monitor.contract import EventFilter
from consumer.monitor.sqlite import SqliteMonitor
from tests.console.stage import FixedDirectory, Stage, facts, letter, parked_event
from tests.monitor.made_up import ENVIRONMENT, fill, gauges, rows

EXECUTIONS: Final = 1_000_000
#: What the slowest of a page's answers may take.
LIMIT_MS: Final = 300.0
_DAYS: Final = 30.0


def run(options: Options) -> dict[str, Any]:
    """Milliseconds of each page: the first answer, the median and the slowest."""
    executions = options.events or (50_000 if options.quick else EXECUTIONS)
    rounds = options.rounds or (5 if options.quick else 20)
    kept = os.environ.get("HOOKLINE_CONSOLE_BENCH")
    with tempfile.TemporaryDirectory(prefix="hookline-console-") as passing:
        folder = Path(kept) if kept else Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        now_us = _filled(folder, executions)
        return _measured(folder, now_us, rounds, executions)


def _filled(folder: Path, executions: int) -> int:
    """The rows, unless a folder that is kept has them; when they end."""
    ends = folder / "ends"
    if ends.exists():
        return int(ends.read_text())
    now_us = time.time_ns() // 1000
    began_s = time.monotonic()
    store = SqliteMonitor(folder / "monitor.db")
    try:
        count = fill(store, rows(executions, until_us=now_us, days=_DAYS))
        store.record(gauges(now_us, hours=24))
    finally:
        store.close()
    ends.write_text(str(now_us))
    click.echo(f"  {count:,} rows appended in {time.monotonic() - began_s:.0f} s")
    return now_us


def _measured(folder: Path, now_us: int, rounds: int, executions: int) -> dict[str, Any]:
    stage = Stage(folder, [], directory=FixedDirectory(facts(now_us)), now_us=now_us)
    stage.bury(*(letter(number, now_us) for number in range(1, 200)))
    stage.park(*(parked_event(number, now_us) for number in range(200)))
    newest = stage.monitor.events(EventFilter(environment=ENVIRONMENT), limit=1).rows[0]
    paths = {
        **{f"overview {key}": f"/?range={key}" for key in ("15m", "1h", "6h", "24h", "7d", "30d")},
        "connections": "/connections?range=30d",
        "connection": f"/connections/{newest.connection}?range=30d",
        "request": f"/requests/{newest.request_id.hex()}",
        "events": "/events",
        "events that failed": "/events?outcome=errors",
        "events of a resource": f"/events?resource={newest.resource_type}/{newest.resource_id}",
        "events of a rare kind": "/events?outcome=poison&type=nothing&connection=acme-github-0",
        "requests refused": "/requests?refused=1",
        "dead letters": "/dead-letters",
        "parked": "/parked",
        "alerts": "/alerts",
    }
    figures: dict[str, Any] = {"executions": executions}
    try:
        with _served(stage) as url, httpx.Client(base_url=url, timeout=60) as client:
            client.headers["accept"] = "text/html"
            client.post("/sign-in", data={"token": stage.token(), "next": "/"})
            click.echo(f"  {'page':<24}{'first':>9}{'median':>9}{'slowest':>9}  ms")
            for name, path in paths.items():
                took = [_timed(client, path) for _ in range(rounds)]
                first, median, slowest = took[0], statistics.median(took), max(took)
                click.echo(f"  {name:<24}{first:9.1f}{median:9.1f}{slowest:9.1f}")
                figures[name] = {"first_ms": first, "median_ms": median, "slowest_ms": slowest}
    finally:
        stage.close()
    slow = [
        name for name, found in figures.items()
        if isinstance(found, dict) and found["slowest_ms"] > LIMIT_MS
    ]  # fmt: skip
    click.echo(f"  slower than {LIMIT_MS:.0f} ms: {', '.join(slow) or 'none'}")
    return figures


def _timed(client: httpx.Client, path: str) -> float:
    began_ns = time.perf_counter_ns()
    answer = client.get(path)
    took_ms = (time.perf_counter_ns() - began_ns) / 1e6
    if answer.status_code != 200:
        raise NotBelievable(f"{path} was answered {answer.status_code}")
    return took_ms


@contextmanager
def _served(stage: Stage) -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            stage.app, log_level="warning", lifespan="off", loop="uvloop", http="httptools",
            timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    # As the console's process does at its start.
    began_s = time.monotonic()
    stage.app.state.warmer.warm()
    click.echo(f"  asked beforehand in {(time.monotonic() - began_s) * 1000:.0f} ms")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
