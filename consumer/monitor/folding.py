"""Rows summed up: counts and sketches per grain of time and series. Pure; weights are counted.

A row is counted once, in the finest series that it belongs to; the coarser series and grains are
sums of the finer ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from consumer.monitor.buckets import GRAINS, US
from consumer.monitor.contract import FINE, MEASURES
from consumer.monitor.sketch import Bins, add, base, count
from schemas.execution import Execution, Reception

#: What a series is of: everything, or only what agrees in the fields that it names.
ALL, PROVIDER, CONNECTION, PROVIDER_TYPE, CONNECTION_TYPE = range(5)
#: Names of counters beside those of the outcomes.
RETRIED, REFUSED, UNAVAILABLE = "retried", "refused", "unavailable"
#: Before an event's and a request's outcome.
EVENT, REQUEST = "e:", "r:"

_BASE: Final = {name: base(number) for number, name in enumerate(MEASURES)}


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
        self.bins: Bins = {}

    def count(self, name: str, by: int) -> None:
        """Add to a counter."""
        self.counts[name] = self.counts.get(name, 0) + by

    def add(self, other: Cell) -> None:
        """Add another's sums."""
        counts = self.counts
        for name, by in other.counts.items():
            counts[name] = counts.get(name, 0) + by
        add(self.bins, other.bins)


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

    def of_event(self, row: Execution) -> None:
        """Note one of its events."""
        if row.received_at_us > 0:
            self.received.add(row.received_at_us)
        self.committed_us = max(self.committed_us, row.committed_at_us)
        if row.outcome not in FINE:
            self.error_us = max(self.error_us, row.committed_at_us)

    def of_request(self, row: Reception) -> None:
        """Note one of its requests."""
        if row.status < 400:
            self.received.add(row.received_at_us)
        else:
            # It may be anybody's: it does not break a silence.
            self.refused_us = max(self.refused_us, row.received_at_us)


class Folded(NamedTuple):
    """The sums of a batch: cells by (grain, beginning in s, series); connections by
    (environment, name)."""

    cells: dict[tuple[int, int, Series], Cell]
    heard: dict[tuple[str, str], Heard]


_Cells = dict[tuple[int, Series], Cell]
_MINUTE_US: Final = GRAINS[0] * US


def fold(rows: Sequence[Execution | Reception]) -> Folded:
    """Sum rows up."""
    heard: dict[tuple[str, str], Heard] = {}
    fine: _Cells = {}
    # What a request and its events both know is the request's, but in the series of event types,
    # which have no requests: there it comes from the events.
    by_both: dict[tuple[int, Series], Bins] = {}
    minutes: _Cells = {}
    for row in rows:
        if isinstance(row, Execution):
            series = Series(
                row.environment,
                CONNECTION_TYPE,
                row.connection,
                row.provider,
                row.event_type,
                row.group,
            )
            place = row.committed_at_us // _MINUTE_US, series
            cell = fine.get(place)
            if cell is None:
                cell = fine[place] = Cell()
                by_both[place] = {}
            _count_event(row, cell, by_both[place])
            if row.connection:
                _hear(heard, row).of_event(row)
        else:
            series = Series(row.environment, CONNECTION, row.connection, row.provider, "", "")
            place = row.received_at_us // _MINUTE_US, series
            cell = minutes.get(place)
            if cell is None:
                cell = minutes[place] = Cell()
            _count_request(row, cell)
            if row.connection:
                _hear(heard, row).of_request(row)
    _widen(fine, by_both, minutes)
    return Folded(_coarsen(minutes), heard)


def _count_event(row: Execution, cell: Cell, both: Bins) -> None:
    weight = row.weight
    cell.count(EVENT + row.outcome, weight)
    if row.failures:
        cell.count(RETRIED, weight)
    for at, value in (
        (_READ, row.read_ns),
        (_VERIFY, row.verify_ns),
        (_IDENTIFY, row.identify_ns),
    ):
        if value > 0:
            count(both, at, value, weight)
    bins = cell.bins
    # 0 stands for a step that there was not.
    if row.handler_ns > 0:
        count(bins, _HANDLER, row.handler_ns, weight)
    if row.commit_ns > 0:
        count(bins, _COMMIT, row.commit_ns, weight)
    count(bins, _LANE, row.lane_ns, weight)
    received_us, in_kafka_us = row.received_at_us, row.in_kafka_at_us
    if in_kafka_us > 0:
        count(bins, _QUEUE, (row.polled_at_us - in_kafka_us) * 1000, weight)
    if received_us > 0:
        count(bins, _END_TO_END, (row.committed_at_us - received_us) * 1000, weight)
        if in_kafka_us > 0:
            count(bins, _STORED, (in_kafka_us - received_us) * 1000, weight)
        if row.occurred_at_us > 0:
            count(bins, _DELIVERY, (received_us - row.occurred_at_us) * 1000, weight)


def _count_request(row: Reception, cell: Cell) -> None:
    weight = row.weight
    cell.count(REQUEST + row.outcome, weight)
    if row.status >= 400:
        cell.count(REFUSED, weight)
        if row.status >= 500:
            cell.count(UNAVAILABLE, weight)
    for at, value in (
        (_READ, row.read_ns),
        (_VERIFY, row.verify_ns),
        (_IDENTIFY, row.identify_ns),
        (_ENCODE, row.encode_ns),
        (_PUBLISH, row.publish_ns),
        (_ANSWERED, row.total_ns),
    ):
        if value > 0:
            count(cell.bins, at, value, weight)


_READ, _VERIFY, _IDENTIFY = _BASE["read"], _BASE["verify"], _BASE["identify"]
_ENCODE, _PUBLISH, _ANSWERED = _BASE["encode"], _BASE["publish"], _BASE["answered"]
_QUEUE, _LANE, _HANDLER, _COMMIT = (_BASE[n] for n in ("queue", "lane", "handler", "commit"))
_DELIVERY, _STORED, _END_TO_END = _BASE["delivery"], _BASE["stored"], _BASE["end_to_end"]


def _hear(heard: dict[tuple[str, str], Heard], row: Execution | Reception) -> Heard:
    one = heard.get((row.environment, row.connection))
    if one is None:
        one = heard[row.environment, row.connection] = Heard(row.tenant, row.provider)
    return one


def _widen(fine: _Cells, by_both: Mapping[tuple[int, Series], Bins], minutes: _Cells) -> None:
    """Add the finest series, and the connections' in `minutes`, up to those above them."""

    def into(minute: int, series: Series) -> Cell:
        found = minutes.get((minute, series))
        if found is None:
            found = minutes[minute, series] = Cell()
        return found

    for (minute, series), cell in fine.items():
        into(minute, series._replace(level=CONNECTION, event_type="")).add(cell)
        # Other measures than the cell's own.
        cell.bins.update(by_both[minute, series])
        into(minute, series._replace(level=PROVIDER_TYPE, connection="")).add(cell)
    for (minute, series), cell in _at(minutes, CONNECTION):
        into(minute, series._replace(level=PROVIDER, connection="")).add(cell)
    for (minute, series), cell in _at(minutes, PROVIDER):
        into(minute, series._replace(level=ALL, provider="")).add(cell)
    minutes.update(fine)


def _at(cells: _Cells, level: int) -> list[tuple[tuple[int, Series], Cell]]:
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
    found: dict[int, tuple[Bins, int]] = {}
    for at_us in sorted(received):
        if at_us > before_us:
            if before_us:
                pause_ns = (at_us - before_us) * 1000
                day = at_us // (86_400 * US)
                bins, longest_ns = found.get(day, ({}, 0))
                count(bins, 0, pause_ns, 1)
                found[day] = bins, max(longest_ns, pause_ns)
            before_us = at_us
    return found
