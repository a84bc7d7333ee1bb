"""What the monitor's store takes in a second, and how long its answers take over many rows.

Rows are decoded from messages as the log holds them, in batches as `LogReader` makes them. They
come in at the rate of a busy day; then each question of the console is asked three times.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import table
from benchmarks.options import NotBelievable, Options
from consumer.monitor.contract import (
    EventFilter,
    MonitorStore,
    Range,
    RequestFilter,
    Scope,
    Span,
)
from consumer.monitor.postgres import PostgresMonitor
from consumer.monitor.reader import BATCH_ROWS
from consumer.monitor.sqlite import SqliteMonitor
from schemas.execution import Execution, Reception
from schemas.execution_batch import (
    EXECUTIONS,
    RECEPTIONS,
    decode_rows,
    executions_of,
    receptions_of,
)
from tests.monitor import made_up
from tests.parts.postgres import PostgresServer

_NOW_US: Final = 1_764_028_800_000_000
_ENVIRONMENT: Final = made_up.ENVIRONMENT
_DAYS: Final = 30.0
_A_MESSAGE: Final = 500
_HOUR_US: Final = 3_600_000_000


def run(options: Options) -> dict[str, Any]:
    """Measure, print, and return the figures; NotBelievable if a count is not that of the rows."""
    events = options.chosen("events", 1_000_000, 50_000)
    figures: dict[str, Any] = {}
    for name in options.only or ("sqlite", "postgres"):
        with ExitStack() as stack:
            store, bytes_used = _open(name, stack)
            figures[name] = _measure(store, bytes_used, events)
    names = list(figures)
    first = figures[names[0]]
    print(f"{events:,} executions over {_DAYS:g} days, and the requests that brought them")
    print(table(["", *names], [[key, *(figures[name][key] for name in names)] for key in first]))
    return figures


def _open(name: str, stack: ExitStack) -> tuple[MonitorStore, Callable[[], int]]:
    if name == "sqlite":
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "monitor.db"
        lite = SqliteMonitor(path)
        stack.callback(lite.close)
        return lite, lambda: sum(file.stat().st_size for file in path.parent.iterdir())
    server = stack.enter_context(PostgresServer())
    monitor = PostgresMonitor(server.dsn)
    stack.callback(monitor.close)
    return monitor, lambda: int(server.query("SELECT pg_database_size('postgres')"))


def _measure(store: MonitorStore, bytes_used: Callable[[], int], events: int) -> dict[str, str]:
    # A burst of a few seconds: the rate that a busy log comes in at.
    burst = 100_000
    messages = list(_messages(made_up.rows(burst, until_us=_NOW_US, days=0.0001, seed=7)))
    began_s = time.perf_counter()
    rows = _append(store, messages)
    rate = rows / (time.perf_counter() - began_s)
    empty = bytes_used()
    began_s = time.perf_counter()
    rest = max(0, events - burst)
    filled = made_up.fill(store, made_up.rows(rest, until_us=_NOW_US, days=_DAYS))
    loaded_s = time.perf_counter() - began_s
    store.record(made_up.gauges(_NOW_US))
    whole = Range(_NOW_US - int(_DAYS * 24) * _HOUR_US, _NOW_US + _HOUR_US)
    found = store.total(Scope(environment=_ENVIRONMENT), whole).counts.events
    if found != burst + rest:
        raise NotBelievable(f"{burst + rest} executions were written and {found} are counted")
    return {
        "rows/s, decoded and written": f"{rate:,.0f}",
        "bytes a row, with its sums (a month)": f"{(bytes_used() - empty) / max(1, filled):,.0f}",
        "s to load the month": f"{loaded_s:,.0f}",
        **{name: f"{_ms(ask):.0f} ms" for name, ask in _questions(store).items()},
    }


def _messages(rows: Iterator[Execution | Reception]) -> Iterator[bytes]:
    while some := list(islice(rows, 2 * _A_MESSAGE)):
        events = [row for row in some if isinstance(row, Execution)]
        requests = [row for row in some if isinstance(row, Reception)]
        if events:
            yield EXECUTIONS.encode(executions_of(events))
        if requests:
            yield RECEPTIONS.encode(receptions_of(requests))


def _append(store: MonitorStore, messages: list[bytes]) -> int:
    total, offset, place = 0, None, 0
    while place < len(messages):
        rows: list[Execution | Reception] = []
        while place < len(messages) and len(rows) < BATCH_ROWS:
            rows += decode_rows(messages[place])
            place += 1
        store.append(rows, "burst", {0: Span(offset, place)})
        offset = place
        total += len(rows)
    return total


def _questions(store: MonitorStore) -> dict[str, Callable[[], object]]:
    def overview(hours: float, **scope: str) -> Callable[[], object]:
        within = Range(_NOW_US - int(hours * _HOUR_US), _NOW_US)
        return lambda: store.overview(Scope(environment=_ENVIRONMENT, **scope), within)

    def events(**wanted: Any) -> Callable[[], object]:
        return lambda: store.events(EventFilter(environment=_ENVIRONMENT, **wanted))

    busiest = made_up.connections(20)[0].connection
    month = Range(_NOW_US - 720 * _HOUR_US, _NOW_US)
    some = store.events(EventFilter(environment=_ENVIRONMENT)).rows[-1]
    return {
        "overview and last week, 15 min": overview(0.25),
        "overview and last week, 6 h": overview(6),
        "overview and last week, 24 h": overview(24),
        "overview and last week, 7 days": overview(24 * 7),
        "overview and last week, 30 days": overview(720),
        "the same of a connection": overview(720, connection=busiest),
        "the same of an event type": overview(720, event_type="push"),
        "totals of connections, 30 days": lambda: store.connection_totals(_ENVIRONMENT, month),
        "health of connections": lambda: store.health(_ENVIRONMENT, _NOW_US),
        "events: the latest": events(),
        "events: of a connection": events(connection=busiest),
        "events: of a tenant, ten days ago": events(
            tenant="globex", range=Range(_NOW_US - 264 * _HOUR_US, _NOW_US - 240 * _HOUR_US)
        ),
        "events: of a resource": events(resource_id=some.resource_id),
        "events: by the provider's id": events(event_id=some.event_id),
        "events: dead letters of a connection": events(
            connection=busiest, outcomes=("dead_lettered",)
        ),
        "events: retried": events(retried=True),
        "requests: refused": lambda: store.requests(
            RequestFilter(environment=_ENVIRONMENT, refused=True)
        ),
        "a request by its id": lambda: store.request(_ENVIRONMENT, some.request_id),
        "a gauge over a day": lambda: store.gauges(
            _ENVIRONMENT, "lag_events", Range(_NOW_US - 24 * _HOUR_US, _NOW_US)
        ),
    }


def _ms(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began_s = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(times)
