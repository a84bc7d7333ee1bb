"""Made-up executions and receptions that look like real ones: a day's rhythm, busy and quiet
connections, slow stretches, failures, refusals. The same seed makes the same rows.

As a program it fills a SQLite file: `python -m tests.monitor.made_up state/monitor.db 100000`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from consumer.monitor.contract import Gauge, MonitorStore, Span
from schemas import request_id
from schemas.execution import Attempt, Execution, Reception

ENVIRONMENT: Final = "production"
TOPIC: Final = "hookline.executions"
_US: Final = 1_000_000
_TYPES: Final = {
    "github": (("push", "repository"), ("issues.opened", "issue"), ("pull_request.closed", "pull")),
    "stripe": (("invoice.paid", "invoice"), ("charge.failed", "charge"), ("payout.paid", "payout")),
    "shopify": (("orders/create", "order"), ("products/update", "product")),
    "slack": (("message", "channel"), ("reaction_added", "message")),
    "linear": (("Issue.update", "issue"), ("Comment.create", "comment")),
}  # fmt: skip
_TENANTS: Final = ("acme", "globex", "initech", "umbrella", "hooli")
_REFUSALS: Final = (
    ("signature_refused", 401, 0.5),
    ("signature_missing", 401, 0.2),
    ("too_many_requests", 429, 0.2),
    ("not_found", 404, 0.1),
)


class Made(NamedTuple):
    """A connection that is made up."""

    connection: str
    tenant: str
    provider: str
    #: Its share of the traffic.
    share: float
    #: It says nothing after this much of the time.
    silent_after: float


def connections(count: int) -> list[Made]:
    """The made-up connections: the first is the busiest, the last goes silent."""
    providers = list(_TYPES)
    made = []
    for number in range(count):
        provider = providers[number % len(providers)]
        tenant = _TENANTS[(number // len(providers)) % len(_TENANTS)]
        last = number == count - 1 and count > 1
        made.append(
            Made(
                f"{tenant}-{provider}-{number}",
                tenant,
                provider,
                1 / (number + 1) ** 0.8,
                0.97 if last else 1.0,
            )
        )
    return made


def rows(
    executions: int,
    *,
    until_us: int,
    days: float = 30,
    seed: int = 1,
    connection_count: int = 20,
    environment: str = ENVIRONMENT,
) -> Iterator[Execution | Reception]:
    """So many executions (and the requests that brought them) before `until_us`, in log order."""
    random = Random(seed)
    made = connections(connection_count)
    shares = [one.share for one in made]
    since_us = until_us - int(days * 86_400 * _US)
    hours = max(1, round(days * 24))
    weights = [_rhythm(since_us + hour * 3600 * _US) for hour in range(hours)]
    scale = executions / sum(weights)
    owed = 0.0
    done = 0
    hour_us = (until_us - since_us) // hours
    for hour, weight in enumerate(weights):
        owed += weight * scale
        count = (executions if hour == hours - 1 else int(owed)) - done
        done += count
        begin_us = since_us + hour * hour_us
        times = sorted(begin_us + int(random.random() * hour_us) for _ in range(count))
        # An evening on which a handler is slow and fails.
        trouble = 0.6 < (hour + 0.5) / hours < 0.6 + max(2 / hours, 0.003)
        for at_us, one in zip(times, random.choices(made, shares, k=count), strict=True):
            if (at_us - since_us) / (until_us - since_us) > one.silent_after:
                one = made[0]
            yield from _one(random, at_us, one, environment, done, trouble)


def _rhythm(at_us: int) -> float:
    """Twelve times as much at three in the afternoon as at three at night, half at weekends."""
    hours = at_us / (3600 * _US)
    day = 0.54 + 0.46 * math.cos((hours % 24 - 15) / 24 * 2 * math.pi)
    return day * (0.5 if int(hours // 24 + 4) % 7 in (0, 6) else 1.0)


def _one(
    random: Random, at_us: int, one: Made, environment: str, number: int, trouble: bool
) -> Iterator[Execution | Reception]:
    rid = request_id.make(at_us // 1000, random.getrandbits(80).to_bytes(10, "big"))
    luck = random.random()
    ns = random.lognormvariate
    read_ns, verify_ns, identify_ns = int(ns(10.3, 0.4)), int(ns(9.6, 0.3)), int(ns(10.0, 0.4))
    publish_ns = int(ns(15.2, 0.5))
    total_ns = read_ns + verify_ns + identify_ns + 12_000 + publish_ns
    if luck < 0.01:
        yield _refused(random, rid, at_us, one, environment)
    partition, offset = random.randrange(12), number * 1000 + int(luck * 1000)
    yield Reception(
        request_id=rid,
        environment=environment,
        connection=one.connection,
        tenant=one.tenant,
        provider=one.provider,
        instance=f"gateway-{partition % 2}:7",
        outcome="accepted",
        status=200,
        received_at_us=at_us,
        read_ns=read_ns,
        verify_ns=verify_ns,
        identify_ns=identify_ns,
        encode_ns=12_000,
        publish_ns=publish_ns,
        total_ns=total_ns,
        events=1,
        partition=partition,
        offset=offset,
    )
    types = _TYPES[one.provider]
    event_type, resource_type = types[int(random.random() ** 2 * len(types))]
    slow = trouble and one.share == 1.0
    outcome, reason, failures = _outcome(random, 0.3 if slow else 0.0)
    in_kafka_at_us = at_us + total_ns // 1000
    polled_at_us = in_kafka_at_us + int(ns(7.5, 0.8))
    lane_ns = int(ns(11.5, 1.0)) + failures * 400_000_000
    handler_ns = 0 if outcome in ("duplicate", "stale") else int(ns(17.5 if slow else 14.5, 0.7))
    commit_ns = int(ns(15.0, 0.4))
    yield Execution(
        request_id=rid,
        environment=environment,
        tenant=one.tenant,
        connection=one.connection,
        provider=one.provider,
        event_type=event_type,
        event_id=f"{one.provider[:3]}_{random.getrandbits(64):016x}",
        resource_type=resource_type,
        resource_id=str(int(random.paretovariate(0.6)) % 100_000),
        source="webhook" if luck < 0.97 else "poll",
        group="hookline",
        instance=f"consumer-{partition % 3}:7",
        topic="hookline.events",
        partition=partition,
        offset=offset,
        outcome=outcome,
        reason=reason,
        occurred_at_us=0 if one.provider == "github" else at_us - int(ns(12.5, 0.9)),
        received_at_us=at_us,
        in_kafka_at_us=in_kafka_at_us,
        polled_at_us=polled_at_us,
        committed_at_us=polled_at_us + (lane_ns + handler_ns + commit_ns) // 1000,
        read_ns=read_ns,
        verify_ns=verify_ns,
        identify_ns=identify_ns,
        lane_ns=lane_ns,
        handler_ns=handler_ns,
        commit_ns=commit_ns,
        failures=failures,
        attempts=tuple(
            Attempt(
                number=attempt + 1,
                began_at_us=polled_at_us + attempt * 400_000,
                duration_ns=30_000_000,
                outcome="transient",
                error_type="TimeoutError",
            )
            for attempt in range(failures)
        ),
    )


def _outcome(random: Random, more: float) -> tuple[str, str, int]:
    luck = random.random()
    if luck < 0.003 + more / 3:
        return "dead_lettered", "permanent", 1
    if luck < 0.006 + more * 2 / 3:
        return "parked", "exhausted", 3
    if luck < 0.018 + more:
        return "applied", "", random.choice((1, 1, 2))
    if luck > 0.985:
        return "duplicate", "", 0
    return ("stale", "", 0) if luck > 0.98 else ("applied", "", 0)


def _refused(random: Random, rid: bytes, at_us: int, one: Made, environment: str) -> Reception:
    shares = [share for _, _, share in _REFUSALS]
    ((outcome, status, _),) = random.choices(_REFUSALS, shares)
    unknown = outcome == "not_found"
    return Reception(
        request_id=rid[:6] + bytes(reversed(rid[6:])),
        environment=environment,
        connection="" if unknown else one.connection,
        tenant="" if unknown else one.tenant,
        provider="" if unknown else one.provider,
        instance="gateway-0:7",
        outcome=outcome,
        status=status,
        received_at_us=at_us,
        read_ns=int(random.lognormvariate(10.3, 0.4)),
        verify_ns=0 if unknown else int(random.lognormvariate(9.6, 0.3)),
        total_ns=int(random.lognormvariate(11.3, 0.4)),
    )


def gauges(until_us: int, *, hours: int = 24, environment: str = ENVIRONMENT) -> list[Gauge]:
    """Lag of three partitions, every minute of the last hours."""
    random = Random(hours)
    return [
        Gauge(
            environment=environment,
            name="lag_events",
            at_us=until_us - minute * 60 * _US,
            value=float(int(random.expovariate(0.1))),
            labels={"group": "hookline", "topic": "hookline.events", "partition": str(partition)},
        )
        for minute in range(hours * 60, 0, -1)
        for partition in range(3)
    ]


def fill(
    store: MonitorStore, made: Iterator[Execution | Reception], batch_rows: int = 20_000
) -> int:
    """Append rows as if each batch were one message of partition 0; how many rows it were."""
    count = 0
    first = store.offsets(TOPIC).get(0)
    batch: Sequence[Execution | Reception]
    while batch := list(islice(made, batch_rows)):
        following = (first or 0) + 1
        store.append(batch, TOPIC, {0: Span(first, following)})
        first = following
        count += len(batch)
    return count


def main(path: str, executions: str = "100000", days: str = "30") -> None:
    """Fill a SQLite file with rows up to now."""
    from consumer.monitor.sqlite import SqliteMonitor

    now_us = time.time_ns() // 1000
    store = SqliteMonitor(Path(path))
    began_s = time.monotonic()
    count = fill(store, rows(int(executions), until_us=now_us, days=float(days)))
    store.record(gauges(now_us))
    store.close()
    print(f"{count} rows in {time.monotonic() - began_s:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
