"""Questions about sums: series over time, totals, a connection's health; for every database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from consumer.monitor.buckets import US, WEEK_S, Cut, cut, whole
from consumer.monitor.contract import (
    FINE,
    MEASURES,
    RHYTHM_DAYS,
    Bucket,
    ConnectionHealth,
    ConnectionTotal,
    Counts,
    Latency,
    Overview,
    Range,
    Scope,
)
from consumer.monitor.expiring import kept_from
from consumer.monitor.folding import (
    ALL,
    CONNECTION,
    CONNECTION_TYPE,
    EVENT,
    PROVIDER,
    PROVIDER_TYPE,
    REFUSED,
    REQUEST,
    RETRIED,
    UNAVAILABLE,
)
from consumer.monitor.numbers import Run
from consumer.monitor.sketch import Bins, quantiles, unpack

_SHARES: Final = (0.5, 0.95, 0.99)
_NOTHING: Final = Latency()


def overview(
    run: Run, at: str, scope: Scope, asked: Range, measures: Sequence[str], last_week: bool
) -> Overview:
    """See `Questions.overview`."""
    kept = kept_from(run, at)
    now = cut(asked, kept)
    series = _series(run, at, scope)
    found = _overview(run, at, series, now, measures)
    before = now.earlier(WEEK_S)
    # Its sums may be gone already: then there is none, rather than one of zeros.
    if not last_week or kept.get(before.grain_s, 0) > before.since_s:
        return found
    return Overview(
        range=found.range,
        bucket_s=found.bucket_s,
        buckets=found.buckets,
        total=found.total,
        last_week=_overview(run, at, series, before, measures),
    )


def total(run: Run, at: str, scope: Scope, asked: Range, measures: Sequence[str]) -> Bucket:
    """See `Questions.total`."""
    one = whole(asked, kept_from(run, at))
    return _overview(run, at, _series(run, at, scope), one, measures).total


def connection_totals(run: Run, at: str, environment: str, asked: Range) -> list[ConnectionTotal]:
    """See `Questions.connection_totals`."""
    one = whole(asked, kept_from(run, at))
    rows = run(
        f"SELECT s.connection, min(s.provider), n.name, sum(c.n) FROM {at}series s"
        f" JOIN {at}counts c ON c.grain_s = ? AND c.series = s.no AND c.at_s >= ? AND c.at_s < ?"
        f" JOIN {at}names n ON n.no = c.name WHERE s.environment = ? AND s.level = ?"
        " GROUP BY s.connection, n.name",
        (one.grain_s, one.since_s, one.until_s, environment, CONNECTION),
    )
    tenants: dict[str, str] = dict(
        run(f"SELECT connection, tenant FROM {at}connections WHERE environment = ?", (environment,))
    )
    providers: dict[str, str] = {}
    counts: dict[str, dict[str, int]] = {}
    for connection, provider, name, count in rows:
        providers[connection] = provider
        counts.setdefault(connection, {})[name] = int(count)
    return [
        ConnectionTotal(
            connection=connection,
            tenant=tenants.get(connection, ""),
            provider=providers[connection],
            counts=_counts(counts[connection]),
        )
        for connection in sorted(counts)
    ]


def health(run: Run, at: str, environment: str, now_us: int) -> list[ConnectionHealth]:
    """See `Questions.health`."""
    rhythm: dict[str, tuple[dict[int, Bins], int]] = {}
    for connection, longest_ns, packed in run(
        f"SELECT connection, longest_ns, packed FROM {at}pauses WHERE environment = ? AND day >= ?",
        (environment, now_us // (86_400 * US) - RHYTHM_DAYS),
    ):
        bins, longest = rhythm.get(connection, ({}, 0))
        unpack(packed, bins)
        rhythm[connection] = bins, max(longest, longest_ns)
    expected = _expected(run, at, environment, now_us // US)
    found = []
    for connection, tenant, provider, *times in run(
        f"SELECT connection, tenant, provider, received_us, committed_us, error_us, refused_us"
        f" FROM {at}connections WHERE environment = ? ORDER BY connection",
        (environment,),
    ):
        received_us, committed_us, error_us, refused_us = times
        bins, longest = rhythm.get(connection, ({}, 0))
        usual, long = quantiles(bins.get(0, {}), (0.5, 0.99))
        found.append(
            ConnectionHealth(
                connection=connection,
                tenant=tenant,
                provider=provider,
                last_received_us=received_us,
                last_committed_us=committed_us,
                last_error_us=error_us,
                last_refused_us=refused_us,
                silent_ns=max(0, now_us - received_us) * 1000 if received_us else 0,
                pauses=sum(bins.get(0, {}).values()),
                usual_pause_ns=usual,
                long_pause_ns=long,
                longest_pause_ns=longest,
                expected=expected.get(connection, 0) if received_us else 0,
            )
        )
    return found


def _expected(run: Run, at: str, environment: str, now_s: int) -> dict[str, int]:
    """What came a week before the present silence of each connection; of a silence that is longer
    than a week, before its last week."""
    named: dict[str, dict[str, int]] = {}
    # A short silence in ten minutes, a long one in hours: whole ones that lie within it.
    for grain_s, shortest_s, longest_s in ((600, 0, 86_400), (3600, 86_400, WEEK_S)):
        since_us = f"CASE WHEN k.received_us < ? THEN ? ELSE k.received_us + {grain_s * US - 1} END"
        weeks_ago_us = (now_s - longest_s) * US
        rows = run(
            f"SELECT k.connection, n.name, sum(c.n) FROM {at}connections k"
            f" JOIN {at}series s ON s.environment = k.environment AND s.level = ?"
            f" AND s.connection = k.connection"
            f" JOIN {at}counts c ON c.grain_s = ? AND c.series = s.no"
            f" AND c.at_s >= ({since_us}) / {grain_s * US} * {grain_s} - {WEEK_S}"
            f" AND c.at_s <= ? JOIN {at}names n ON n.no = c.name"
            " WHERE k.environment = ? AND k.received_us <= ? AND k.received_us > ?"
            " GROUP BY k.connection, n.name",
            (
                CONNECTION,
                grain_s,
                weeks_ago_us,
                weeks_ago_us,
                now_s - WEEK_S - grain_s,
                environment,
                (now_s - shortest_s) * US,
                (now_s - longest_s) * US if longest_s < WEEK_S else 0,
            ),
        )
        for connection, name, count in rows:
            named.setdefault(connection, {})[name] = int(count)
    found = {}
    for connection, some in named.items():
        counts = _counts(some)
        found[connection] = max(counts.requests - counts.refused, counts.events)
    return found


def _series(run: Run, at: str, scope: Scope) -> list[int]:
    """The numbers of the series that make up a scope: disjoint ones of one level."""
    if scope.connection is None:
        if scope.event_type is None:
            level = ALL if scope.provider is None else PROVIDER
        else:
            level = PROVIDER_TYPE
    else:
        level = CONNECTION if scope.event_type is None else CONNECTION_TYPE
    where, values = "environment = ? AND level = ?", [scope.environment, level]
    for column in ("connection", "provider", "event_type"):
        if (value := getattr(scope, column)) is not None:
            where += f" AND {column} = ?"
            values.append(value)
    if scope.group is not None:
        # Requests are of no group: they count for each.
        where += " AND consumer_group IN (?, '')"
        values.append(scope.group)
    return [number for (number,) in run(f"SELECT no FROM {at}series WHERE {where}", values)]


def _overview(run: Run, at: str, series: list[int], one: Cut, measures: Sequence[str]) -> Overview:
    wanted = {number: name for number, name in enumerate(MEASURES) if name in measures}
    if unknown := set(measures) - set(MEASURES):
        raise ValueError(f"no such measure: {', '.join(sorted(unknown))}")
    counts = _sums(run, at, series, one)
    buckets = []
    in_all: dict[int, Bins] = {}
    sketches = _sketches(run, at, series, one) if wanted else {}
    for at_s in range(one.since_s, one.until_s, one.bucket_s):
        bins: dict[int, Bins] = {}
        for packed in sketches.get(at_s, ()):
            unpack(packed, bins, wanted)
        buckets.append(_bucket(at_s, counts.get(at_s, {}), bins, wanted))
        _add_all(in_all, bins)
    all_counts: dict[str, int] = {}
    for some in counts.values():
        for name, count in some.items():
            all_counts[name] = all_counts.get(name, 0) + count
    return Overview(
        range=one.range,
        bucket_s=one.bucket_s,
        buckets=tuple(buckets),
        total=_bucket(one.since_s, all_counts, in_all, wanted),
    )


def _in(series: list[int]) -> str:
    # Our own numbers; as values, a database would have to be asked how many it takes.
    return ", ".join(map(str, series)) or "NULL"


def _sums(run: Run, at: str, series: list[int], one: Cut) -> dict[int, dict[str, int]]:
    rows = run(
        f"SELECT c.bucket, n.name, c.n FROM (SELECT (at_s - ?) / ? AS bucket, name, sum(n) AS n"
        f" FROM {at}counts WHERE grain_s = ? AND series IN ({_in(series)}) AND at_s >= ?"
        f" AND at_s < ? GROUP BY 1, 2) AS c JOIN {at}names n ON n.no = c.name",
        (one.since_s, one.bucket_s, one.grain_s, one.since_s, one.until_s),
    )
    counts: dict[int, dict[str, int]] = {}
    for bucket, name, count in rows:
        counts.setdefault(one.since_s + bucket * one.bucket_s, {})[name] = int(count)
    return counts


def _sketches(run: Run, at: str, series: list[int], one: Cut) -> dict[int, list[bytes]]:
    rows = run(
        f"SELECT at_s, packed FROM {at}sketches WHERE grain_s = ? AND series IN ({_in(series)})"
        " AND at_s >= ? AND at_s < ?",
        (one.grain_s, one.since_s, one.until_s),
    )
    found: dict[int, list[bytes]] = {}
    for at_s, packed in rows:
        place = at_s - (at_s - one.since_s) % one.bucket_s
        found.setdefault(place, []).append(packed)
    return found


def _add_all(into: dict[int, Bins], more: Mapping[int, Bins]) -> None:
    for measure, bins in more.items():
        known = into.get(measure)
        if known is None:
            into[measure] = dict(bins)
            continue
        get = known.get
        for number, count in bins.items():
            known[number] = get(number, 0) + count


def _bucket(
    at_s: int, counts: Mapping[str, int], bins: Mapping[int, Bins], wanted: Mapping[int, str]
) -> Bucket:
    latencies = {}
    for number, name in wanted.items():
        some = bins.get(number)
        latencies[name] = (
            Latency(sum(some.values()), *quantiles(some, _SHARES)) if some else _NOTHING
        )
    return Bucket(at_us=at_s * US, counts=_counts(counts), latencies=latencies)


def _counts(named: Mapping[str, int]) -> Counts:
    events = _by_outcome(named, EVENT)
    requests = _by_outcome(named, REQUEST)
    return Counts(
        requests=sum(requests.values()),
        refused=named.get(REFUSED, 0),
        unavailable=named.get(UNAVAILABLE, 0),
        events=sum(events.values()),
        errors=sum(count for outcome, count in events.items() if outcome not in FINE),
        duplicates=events.get("duplicate", 0),
        stale=events.get("stale", 0),
        retried=named.get(RETRIED, 0),
        requests_by_outcome=requests,
        events_by_outcome=events,
    )


def _by_outcome(named: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count for name, count in named.items() if name.startswith(prefix)
    }
