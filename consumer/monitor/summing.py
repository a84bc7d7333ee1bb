"""Questions about sums: series over time, totals, a connection's health; for every database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from consumer.monitor.buckets import US, WEEK_S, Cut, Piece, cut, whole
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
from consumer.monitor.sketch import Bins, add, quantiles, unpack

_SHARES: Final = (0.5, 0.95, 0.99)
_NOTHING: Final = Latency()


def overview(
    run: Run, at: str, scope: Scope, asked: Range, measures: Sequence[str], last_week: bool
) -> Overview:
    """See `Questions.overview`."""
    kept = kept_from(run, at)
    now = cut(asked, kept)
    before = now.earlier(WEEK_S)
    # Its sums may be gone already: then there is none, rather than one of zeros.
    cuts = [now, before] if last_week and before.is_kept(kept) else [now]
    found = _overviews(run, at, _series(run, at, scope), cuts, measures)
    return found[0] if len(cuts) == 1 else replace(found[0], last_week=found[1])


def total(run: Run, at: str, scope: Scope, asked: Range, measures: Sequence[str]) -> Bucket:
    """See `Questions.total`."""
    one = whole(asked, kept_from(run, at))
    return _overviews(run, at, _series(run, at, scope), [one], measures)[0].total


def connection_totals(run: Run, at: str, environment: str, asked: Range) -> list[ConnectionTotal]:
    """See `Questions.connection_totals`."""
    one = whole(asked, kept_from(run, at))
    series = {
        number: (connection, provider)
        for number, connection, provider in run(
            f"SELECT no, connection, provider FROM {at}series WHERE environment = ? AND level = ?",
            (environment, CONNECTION),
        )
    }
    names: dict[int, str] = dict(run(f"SELECT no, name FROM {at}names", ()))
    tenants: dict[str, str] = dict(
        run(f"SELECT connection, tenant FROM {at}connections WHERE environment = ?", (environment,))
    )
    providers: dict[str, str] = {}
    counts: dict[str, dict[str, int]] = {}
    for piece in one.pieces:
        for number, name, count in run(
            f"SELECT series, name, sum(n) FROM {at}counts WHERE grain_s = ?"
            f" AND series IN ({_in(series)}) AND at_s >= ? AND at_s < ? GROUP BY series, name",
            piece,
        ):
            connection, provider = series[number]
            providers[connection] = provider
            some = counts.setdefault(connection, {})
            some[names[name]] = some.get(names[name], 0) + int(count)
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
    rhythm: dict[str, tuple[Bins, int]] = {}
    for connection, longest_ns, packed in run(
        f"SELECT connection, longest_ns, packed FROM {at}pauses WHERE environment = ? AND day >= ?",
        (environment, now_us // (86_400 * US) - RHYTHM_DAYS),
    ):
        bins, longest = rhythm.get(connection, ({}, 0))
        unpack(packed, bins)
        rhythm[connection] = bins, max(longest, longest_ns)
    heard = run(
        "SELECT connection, tenant, provider, received_us, committed_us, error_us, refused_us"
        f" FROM {at}connections WHERE environment = ? ORDER BY connection",
        (environment,),
    )
    received = {row[0]: row[3] for row in heard if row[3]}
    expected = _expected(run, at, environment, received, now_us // US)
    found = []
    for connection, tenant, provider, *times in heard:
        received_us, committed_us, error_us, refused_us = times
        bins, longest = rhythm.get(connection, ({}, 0))
        pauses, (usual_ns, long_ns) = quantiles(bins, (0,), (0.5, 0.99)).get(0, (0, [0, 0]))
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
                pauses=pauses,
                usual_pause_ns=usual_ns,
                long_pause_ns=long_ns,
                longest_pause_ns=longest,
                expected=expected.get(connection, 0),
            )
        )
    return found


def _expected(
    run: Run, at: str, environment: str, received_us: Mapping[str, int], now_s: int
) -> dict[str, int]:
    """What came a week before the present silence of each connection; of a silence that is longer
    than a week, before its last week."""
    series: dict[str, list[int]] = {}
    for number, connection in run(
        f"SELECT no, connection FROM {at}series WHERE environment = ? AND level = ?",
        (environment, CONNECTION),
    ):
        series.setdefault(connection, []).append(number)
    names: dict[int, str] = dict(run(f"SELECT no, name FROM {at}names", ()))
    found = {}
    for connection, at_us in received_us.items():
        since_s = max(at_us // US, now_s - WEEK_S)
        # A short silence in ten minutes, a long one in hours: whole ones that lie within it.
        grain_s = 600 if now_s - since_s <= 86_400 else 3600
        since_s = since_s // grain_s * grain_s + grain_s
        until_s = now_s // grain_s * grain_s
        if since_s >= until_s:
            continue
        counts = _counts(
            {
                names[name]: int(count)
                for name, count in run(
                    f"SELECT name, sum(n) FROM {at}counts WHERE grain_s = ?"
                    f" AND series IN ({_in(series.get(connection, ()))})"
                    " AND at_s >= ? AND at_s < ? GROUP BY name",
                    (grain_s, since_s - WEEK_S, until_s - WEEK_S),
                )
            }
        )
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


def _overviews(
    run: Run, at: str, series: list[int], cuts: Sequence[Cut], measures: Sequence[str]
) -> list[Overview]:
    """Of several ranges with buckets of one length; what they share is added up once."""
    wanted = {number: name for number, name in enumerate(MEASURES) if name in measures}
    if len(wanted) < len(set(measures)):
        raise ValueError(f"measures are {', '.join(MEASURES)}")
    grid = cuts[0].since_s, cuts[0].bucket_s
    counts: dict[int, dict[str, int]] = {}
    bins: dict[int, Bins] = {}
    for piece in _united([piece for one in cuts for piece in one.pieces]):
        _add_counts(run, at, series, piece, grid, counts)
        if wanted:
            _add_sketches(run, at, series, piece, grid, bins)
    made: dict[int, Bucket] = {}
    found = []
    for one in cuts:
        places = range(one.since_s, one.until_s, one.bucket_s)
        for at_s in places:
            if at_s not in made:
                made[at_s] = _bucket(at_s, counts.get(at_s, {}), bins.get(at_s, {}), wanted)
        buckets = tuple(made[at_s] for at_s in places)
        found.append(
            Overview(
                range=one.range,
                bucket_s=one.bucket_s,
                buckets=buckets,
                total=buckets[0] if len(buckets) == 1 else _all(places, counts, bins, wanted),
            )
        )
    return found


def _all(
    places: Sequence[int],
    counts: Mapping[int, Mapping[str, int]],
    bins: Mapping[int, Bins],
    wanted: Mapping[int, str],
) -> Bucket:
    all_counts: dict[str, int] = {}
    all_bins: Bins = {}
    for at_s in places:
        for name, count in counts.get(at_s, {}).items():
            all_counts[name] = all_counts.get(name, 0) + count
        add(all_bins, bins.get(at_s, {}))
    return _bucket(places[0], all_counts, all_bins, wanted)


def _united(pieces: Sequence[Piece]) -> list[Piece]:
    """The same pieces, but that those of one grain which overlap are one."""
    united: list[Piece] = []
    for piece in sorted(pieces):
        last = united[-1] if united else None
        if last is not None and last.grain_s == piece.grain_s and piece.since_s <= last.until_s:
            united[-1] = last._replace(until_s=max(last.until_s, piece.until_s))
        else:
            united.append(piece)
    return united


def _in(series: Iterable[int]) -> str:
    # Our own numbers; as values, a database would have to be asked how many it takes.
    return ", ".join(map(str, series)) or "NULL"


def _add_counts(
    run: Run, at: str, series: list[int], piece: Piece, grid: tuple[int, int],
    into: dict[int, dict[str, int]],
) -> None:  # fmt: skip
    for at_s, name, count in run(
        f"SELECT c.at_s, n.name, c.n FROM (SELECT at_s, name, sum(n) AS n FROM {at}counts"
        f" WHERE grain_s = ? AND series IN ({_in(series)}) AND at_s >= ? AND at_s < ?"
        f" GROUP BY at_s, name) AS c JOIN {at}names n ON n.no = c.name",
        piece,
    ):
        some = into.setdefault(at_s - (at_s - grid[0]) % grid[1], {})
        some[name] = some.get(name, 0) + int(count)


def _add_sketches(
    run: Run, at: str, series: list[int], piece: Piece, grid: tuple[int, int],
    into: dict[int, Bins],
) -> None:  # fmt: skip
    for at_s, packed in run(
        f"SELECT at_s, packed FROM {at}sketches WHERE grain_s = ?"
        f" AND series IN ({_in(series)}) AND at_s >= ? AND at_s < ?",
        piece,
    ):
        unpack(packed, into.setdefault(at_s - (at_s - grid[0]) % grid[1], {}))


def _bucket(at_s: int, counts: Mapping[str, int], bins: Bins, wanted: Mapping[int, str]) -> Bucket:
    found = quantiles(bins, wanted, _SHARES) if bins else {}
    return Bucket(
        at_us=at_s * US,
        counts=_counts(counts),
        latencies={
            name: Latency(found[number][0], *found[number][1]) if number in found else _NOTHING
            for number, name in wanted.items()
        },
    )


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
