"""Rows summed up: counts and sketches per grain of time and series. Pure; weights are counted.

A row is counted once, in the finest series that it belongs to; the coarser series and grains are
sums of the finer ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from consumer.monitor.buckets import GRAINS, US
from consumer.monitor.contract import FINE, MEASURES
from consumer.monitor.sketch import Bins, add, bins_of
from schemas.execution import Execution, Reception

#: What a series is of: everything, or only what agrees in the fields that it names.
ALL, PROVIDER, CONNECTION, PROVIDER_TYPE, CONNECTION_TYPE = range(5)
#: Names of counters beside those of the outcomes.
RETRIED, REFUSED, UNAVAILABLE = "retried", "refused", "unavailable"
#: Before an event's and a request's outcome.
EVENT, REQUEST = "e:", "r:"

_NUMBER: Final = {name: number for number, name in enumerate(MEASURES)}
#: These a request and its events both know. They are the request's, but in the series of event
#: types, which have no requests.
_BOTH_KNOW: Final = frozenset(_NUMBER[name] for name in ("read", "verify", "identify"))


class Series(NamedTuple):
    """What a sum is of; fields that its level does not name are empty."""

    environment: str
    level: int
    connection: str
    provider: str
    event_type: str
    group: str


class Cell:
    """The sums of one series in one stretch of time."""

    __slots__ = ("bins", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        #: By the number of the measure in MEASURES.
        self.bins: dict[int, Bins] = {}

    def count(self, name: str, by: int) -> None:
        """Add to a counter."""
        self.counts[name] = self.counts.get(name, 0) + by

    def add(self, other: Cell, without: frozenset[int] = frozenset()) -> None:
        """Add another's sums."""
        for name, by in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + by
        for measure, bins in other.bins.items():
            if measure not in without:
                add(self.bins.setdefault(measure, {}), bins)


class Heard:
    """What a batch says of one connection."""

    __slots__ = ("committed_us", "error_us", "provider", "received", "refused_us", "tenant")

    def __init__(self, tenant: str, provider: str) -> None:
        self.tenant = tenant
        self.provider = provider
        #: When its authentic requests and its events were received.
        self.received: set[int] = set()
        self.committed_us = 0
        self.error_us = 0
        self.refused_us = 0


class Folded(NamedTuple):
    """The sums of a batch: cells by (grain, beginning in s, series); connections by
    (environment, name)."""

    cells: dict[tuple[int, int, Series], Cell]
    heard: dict[tuple[str, str], Heard]


_Cells = dict[tuple[int, Series], Cell]
_MINUTE_US: Final = GRAINS[0] * US


def fold(rows: Sequence[Execution | Reception]) -> Folded:
    """Sum rows up."""
    events: dict[tuple[int, str, str, str, str, str], list[Execution]] = {}
    requests: dict[tuple[int, str, str, str], list[Reception]] = {}
    for row in rows:
        if isinstance(row, Execution):
            place = (
                row.committed_at_us // _MINUTE_US,
                row.environment,
                row.connection,
                row.provider,
                row.event_type,
                row.group,
            )
            events.setdefault(place, []).append(row)
        else:
            key = (
                row.received_at_us // _MINUTE_US,
                row.environment,
                row.connection,
                row.provider,
            )
            requests.setdefault(key, []).append(row)
    heard: dict[tuple[str, str], Heard] = {}
    fine: _Cells = {}
    minutes: _Cells = {}
    for (minute, environment, connection, provider, event_type, group), found in events.items():
        series = Series(environment, CONNECTION_TYPE, connection, provider, event_type, group)
        fine[minute, series] = _of_events(found)
        if connection:
            _hear_events(heard, environment, connection, found)
    for (minute, environment, connection, provider), asked in requests.items():
        series = Series(environment, CONNECTION, connection, provider, "", "")
        minutes[minute, series] = _of_requests(asked)
        if connection:
            _hear_requests(heard, environment, connection, asked)
    _widen(fine, minutes)
    return Folded(_coarsen(minutes), heard)


def _of_events(rows: Sequence[Execution]) -> Cell:
    cell = Cell()
    weighted = any(row.weight != 1 for row in rows)
    for row in rows:
        cell.count(EVENT + row.outcome, row.weight)
        if row.failures:
            cell.count(RETRIED, row.weight)

    def measure(name: str, values: list[int], of: Sequence[Execution]) -> None:
        weights = [row.weight for row in of] if weighted else None
        if bins := bins_of(values, weights):
            cell.bins[_NUMBER[name]] = bins

    for name, field in _EVENT_STEPS:
        there = [row for row in rows if getattr(row, field) > 0]
        measure(name, [getattr(row, field) for row in there], there)
    measure("lane", [row.lane_ns for row in rows], rows)
    timed = [row for row in rows if row.occurred_at_us > 0 < row.received_at_us]
    measure("delivery", [(row.received_at_us - row.occurred_at_us) * 1000 for row in timed], timed)
    timed = [row for row in rows if row.in_kafka_at_us > 0]
    measure("queue", [(row.polled_at_us - row.in_kafka_at_us) * 1000 for row in timed], timed)
    timed = [row for row in rows if row.received_at_us > 0]
    measure(
        "end_to_end", [(row.committed_at_us - row.received_at_us) * 1000 for row in timed], timed
    )
    timed = [row for row in timed if row.in_kafka_at_us > 0]
    measure("stored", [(row.in_kafka_at_us - row.received_at_us) * 1000 for row in timed], timed)
    return cell


#: 0 stands for a step that there was not.
_EVENT_STEPS: Final = (
    ("read", "read_ns"),
    ("verify", "verify_ns"),
    ("identify", "identify_ns"),
    ("handler", "handler_ns"),
    ("commit", "commit_ns"),
)
_REQUEST_STEPS: Final = (
    ("read", "read_ns"),
    ("verify", "verify_ns"),
    ("identify", "identify_ns"),
    ("encode", "encode_ns"),
    ("publish", "publish_ns"),
    ("answered", "total_ns"),
)


def _of_requests(rows: Sequence[Reception]) -> Cell:
    cell = Cell()
    weighted = any(row.weight != 1 for row in rows)
    for row in rows:
        cell.count(REQUEST + row.outcome, row.weight)
        if row.status >= 400:
            cell.count(REFUSED, row.weight)
            if row.status >= 500:
                cell.count(UNAVAILABLE, row.weight)
    for name, field in _REQUEST_STEPS:
        there = [row for row in rows if getattr(row, field) > 0]
        weights = [row.weight for row in there] if weighted else None
        if bins := bins_of([getattr(row, field) for row in there], weights):
            cell.bins[_NUMBER[name]] = bins
    return cell


def _hear_events(
    heard: dict[tuple[str, str], Heard], environment: str, connection: str, rows: list[Execution]
) -> None:
    one = heard.get((environment, connection))
    if one is None:
        one = heard[environment, connection] = Heard(rows[0].tenant, rows[0].provider)
    one.received.update(row.received_at_us for row in rows if row.received_at_us > 0)
    one.committed_us = max(one.committed_us, *(row.committed_at_us for row in rows))
    wrong = (row.committed_at_us for row in rows if row.outcome not in FINE)
    one.error_us = max(one.error_us, *wrong, 0)


def _hear_requests(
    heard: dict[tuple[str, str], Heard], environment: str, connection: str, rows: list[Reception]
) -> None:
    one = heard.get((environment, connection))
    if one is None:
        one = heard[environment, connection] = Heard(rows[0].tenant, rows[0].provider)
    # What was refused may be anybody's: it does not break a silence.
    one.received.update(row.received_at_us for row in rows if row.status < 400)
    refused = (row.received_at_us for row in rows if row.status >= 400)
    one.refused_us = max(one.refused_us, *refused, 0)


def _widen(fine: _Cells, minutes: _Cells) -> None:
    """Add the finest series, and the connections' in `minutes`, up to those above them."""

    def into(minute: int, series: Series, cell: Cell, without: frozenset[int]) -> None:
        found = minutes.get((minute, series))
        if found is None:
            found = minutes[minute, series] = Cell()
        found.add(cell, without)

    nothing: frozenset[int] = frozenset()
    for (minute, series), cell in fine.items():
        by_type = series._replace(level=PROVIDER_TYPE, connection="")
        into(minute, by_type, cell, nothing)
        into(minute, series._replace(level=CONNECTION, event_type=""), cell, _BOTH_KNOW)
    for (minute, series), cell in _at(minutes, CONNECTION):
        into(minute, series._replace(level=PROVIDER, connection=""), cell, nothing)
    for (minute, series), cell in _at(minutes, PROVIDER):
        into(minute, series._replace(level=ALL, provider=""), cell, nothing)
    minutes.update(fine)


def _at(cells: _Cells, level: int) -> Iterable[tuple[tuple[int, Series], Cell]]:
    return [(place, cell) for place, cell in cells.items() if place[1].level == level]


def _coarsen(minutes: _Cells) -> dict[tuple[int, int, Series], Cell]:
    cells = {
        (GRAINS[0], minute * GRAINS[0], series): cell for (minute, series), cell in minutes.items()
    }
    finer = list(cells.items())
    for grain_s in GRAINS[1:]:
        coarser: dict[tuple[int, int, Series], Cell] = {}
        for (_, at_s, series), cell in finer:
            place = (grain_s, at_s // grain_s * grain_s, series)
            found = coarser.get(place)
            if found is None:
                found = coarser[place] = Cell()
            found.add(cell)
        cells.update(coarser)
        finer = list(coarser.items())
    return cells


def pauses(before_us: int, received: Iterable[int]) -> dict[int, tuple[Bins, int]]:
    """The pauses that end with one of these times, by the day (UTC) of their end, with the longest.

    Only what is later than all before it ends a pause: the log's partitions are not in step.
    """
    found: dict[int, list[int]] = {}
    for at_us in sorted(received):
        if at_us > before_us:
            if before_us:
                found.setdefault(at_us // (86_400 * US), []).append((at_us - before_us) * 1000)
            before_us = at_us
    return {day: (bins_of(some, None), max(some)) for day, some in found.items()}
