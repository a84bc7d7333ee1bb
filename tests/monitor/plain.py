"""The same questions answered from all rows, as plainly as can be: what a store must agree with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

from msgspec.structs import replace

from consumer.monitor.contract import (
    FINE,
    RELATIVE_ERROR,
    Counts,
    EventFilter,
    Latency,
    Range,
    Scope,
)
from schemas.execution import Execution, Reception
from tests.monitor import made_up

Row = Execution | Reception
NOW_US = 1_764_000_000_000_000


def some_rows(count: int = 1500, *, days: float = 2.0, seed: int = 1) -> list[Row]:
    """Made-up rows of two environments, some of which stand for several."""
    random = Random(seed)
    return [
        replace(row, weight=random.choice((1, 1, 1, 7)))
        for environment, share in (("production", 3), ("staging", 1))
        for row in made_up.rows(
            count * share // 4,
            until_us=NOW_US,
            days=days,
            seed=seed + share,
            connection_count=6,
            environment=environment,
        )
    ]


def at_us(row: Row) -> int:
    return row.committed_at_us if isinstance(row, Execution) else row.received_at_us


def in_scope(rows: Iterable[Row], scope: Scope, within: Range) -> list[Row]:
    return [
        row
        for row in rows
        if row.environment == scope.environment
        and scope.connection in (None, row.connection)
        and scope.provider in (None, row.provider)
        and within.since_us <= at_us(row) < within.until_us
        and (
            scope.event_type is None
            or (isinstance(row, Execution) and row.event_type == scope.event_type)
        )
        and (scope.group is None or isinstance(row, Reception) or row.group == scope.group)
    ]


def counts(rows: Iterable[Row]) -> Counts:
    events: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    refused = unavailable = retried = 0
    for row in rows:
        if isinstance(row, Execution):
            events[row.outcome] += row.weight
            retried += row.weight * (row.failures > 0)
        else:
            requests[row.outcome] += row.weight
            refused += row.weight * (row.status >= 400)
            unavailable += row.weight * (row.status >= 500)
    return Counts(
        requests=requests.total(),
        refused=refused,
        unavailable=unavailable,
        events=events.total(),
        errors=sum(n for outcome, n in events.items() if outcome not in FINE),
        duplicates=events["duplicate"],
        stale=events["stale"],
        retried=retried,
        requests_by_outcome=dict(requests),
        events_by_outcome=dict(events),
    )


def values(rows: Iterable[Row], measure: str, *, typed: bool) -> list[int]:
    """Each value of a measure, as often as its row weighs, ascending."""
    found: list[int] = []
    for row in rows:
        value = _value(row, measure, typed)
        if value is not None:
            found += [max(0, value)] * row.weight
    return sorted(found)


def _value(row: Row, measure: str, typed: bool) -> int | None:
    if isinstance(row, Reception):
        if measure not in ("read", "verify", "identify", "encode", "publish", "answered"):
            return None
        value = row.total_ns if measure == "answered" else getattr(row, f"{measure}_ns")
        return value or None
    if measure in ("read", "verify", "identify"):
        return getattr(row, f"{measure}_ns") or None if typed else None
    if measure in ("handler", "commit"):
        return getattr(row, f"{measure}_ns") or None
    return {
        "queue": row.queue_ns,
        "lane": row.lane_ns,
        "end_to_end": row.end_to_end_ns,
        "stored": (row.in_kafka_at_us - row.received_at_us) * 1000,
        "delivery": (row.received_at_us - row.occurred_at_us) * 1000
        if row.occurred_at_us
        else None,
    }.get(measure)


def agrees(latency: Latency, exact: Sequence[int]) -> bool:
    """Whether a latency is that of these values, within its error."""
    if latency.count != len(exact):
        return False
    if not exact:
        return latency == Latency()
    for share, found in ((0.5, latency.p50_ns), (0.95, latency.p95_ns), (0.99, latency.p99_ns)):
        true = exact[int(share * (len(exact) - 1))]
        # Rounded to whole nanoseconds.
        if abs(found - true) > RELATIVE_ERROR * true + 1:
            return False
    return True


def search(rows: Iterable[Row], wanted: EventFilter) -> list[Execution]:
    """Executions that a filter takes, the latest first."""
    found = [
        row
        for row in rows
        if isinstance(row, Execution)
        and row.environment == wanted.environment
        and wanted.connection in ("", row.connection)
        and wanted.tenant in ("", row.tenant)
        and wanted.provider in ("", row.provider)
        and wanted.resource_type in ("", row.resource_type)
        and wanted.resource_id in ("", row.resource_id)
        and wanted.event_id in ("", row.event_id)
        and wanted.group in ("", row.group)
        and (
            wanted.event_type in ("", row.event_type)
            or (
                wanted.event_type.endswith(".*")
                and row.event_type.startswith(wanted.event_type[:-1])
            )
        )
        and (not wanted.outcomes or row.outcome in wanted.outcomes)
        and (not wanted.retried or row.failures > 0)
        and (
            wanted.range is None
            or wanted.range.since_us <= row.committed_at_us < wanted.range.until_us
        )
    ]
    return sorted(found, key=lambda row: row.committed_at_us, reverse=True)
