"""How a batch gets into a store: the same steps for every database, in one transaction of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from consumer.monitor.contract import Span
from consumer.monitor.folding import Folded, Heard, fold, pauses
from consumer.monitor.numbers import Numbers, Run
from consumer.monitor.packed_rows import kind_of, pack_event, pack_request
from consumer.monitor.sketch import Bins, add, pack, unpack
from schemas.errors import Fenced
from schemas.execution import Execution, Reception

#: (grain in s, series, beginning in s)
Place = tuple[int, int, int]


class Writer(Protocol):
    """One open transaction of a store that nobody else writes sums to."""

    def run(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a statement with `?` for its values."""

    def insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Put rows into a table, quickly."""

    def add_counts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add to counters: (grain_s, series, at_s, name, n)."""

    def sketches(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The packed sketches that are there."""

    def put_sketches(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write sketches in place of those that were there: (grain_s, series, at_s, packed)."""


EVENT_COLUMNS = "request_id, kind, outcome, marked, at_us, resource_id, event_id, packed"
REQUEST_COLUMNS = "request_id, kind, outcome, marked, at_us, packed"


def append(
    writer: Writer,
    at: str,
    numbers: Numbers,
    rows: Sequence[Execution | Reception],
    topic: str,
    spans: Mapping[int, Span],
) -> None:
    """All of a batch; Fenced before anything is written if the spans are not ours to count."""
    _advance(writer.run, at, topic, spans)
    _insert_rows(writer, numbers, rows)
    folded = fold(rows)
    _add_sums(writer, numbers, folded)
    for (environment, connection), heard in sorted(folded.heard.items()):
        _note_heard(writer.run, at, environment, connection, heard)


def _advance(run: Run, at: str, topic: str, spans: Mapping[int, Span]) -> None:
    there = offsets(run, at, topic)
    for partition, span in sorted(spans.items()):
        if there.get(partition) != span.first:
            raise Fenced(
                f"{topic}[{partition}] has been counted up to {there.get(partition)}, not "
                f"{span.first}: another monitor has this partition"
            )
        run(
            f"INSERT INTO {at}offsets (topic, partition, next_offset) VALUES (?, ?, ?)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
            (topic, partition, span.next),
        )


def offsets(run: Run, at: str, topic: str) -> dict[int, int]:
    """Up to where each partition has been counted."""
    found = run(f"SELECT partition, next_offset FROM {at}offsets WHERE topic = ?", (topic,))
    return dict(found)


def _insert_rows(writer: Writer, numbers: Numbers, rows: Iterable[Execution | Reception]) -> None:
    run = writer.run
    events: list[tuple[Any, ...]] = []
    requests: list[tuple[Any, ...]] = []
    for row in rows:
        kind_number, kind = numbers.kind(run, kind_of(row))
        outcome = numbers.name(run, row.outcome)
        if isinstance(row, Execution):
            events.append(
                (
                    row.request_id,
                    kind_number,
                    outcome,
                    int(row.failures > 0),
                    row.committed_at_us,
                    row.resource_id,
                    row.event_id,
                    pack_event(row, kind),
                )
            )
        else:
            requests.append(
                (
                    row.request_id,
                    kind_number,
                    outcome,
                    int(row.refused),
                    row.received_at_us,
                    pack_request(row),
                )
            )
    if events:
        writer.insert("events", EVENT_COLUMNS, events)
    if requests:
        writer.insert("requests", REQUEST_COLUMNS, requests)


def _add_sums(writer: Writer, numbers: Numbers, folded: Folded) -> None:
    run = writer.run
    counts: dict[tuple[int, int, int, int], int] = {}
    bins: dict[Place, Bins] = {}
    for (grain_s, at_s, series), cell in folded.cells.items():
        number = numbers.series(run, series)
        for name, by in cell.counts.items():
            counter = (grain_s, number, at_s, numbers.name(run, name))
            counts[counter] = counts.get(counter, 0) + by
        # Two series may be one: the store has a bound on them.
        place = (grain_s, number, at_s)
        into = bins.setdefault(place, cell.bins)
        if into is not cell.bins:
            add(into, cell.bins)
    writer.add_counts([(*counter, by) for counter, by in sorted(counts.items())])
    ordered = sorted(bins)
    for place, packed in writer.sketches(ordered).items():
        unpack(packed, bins[place])
    writer.put_sketches([(*place, pack(bins[place])) for place in ordered])


def _note_heard(run: Run, at: str, environment: str, connection: str, heard: Heard) -> None:
    before = run(
        f"SELECT received_us FROM {at}connections WHERE environment = ? AND connection = ?",
        (environment, connection),
    )
    before_us: int = before[0][0] if before else 0
    run(
        f"INSERT INTO {at}connections AS c (environment, connection, tenant, provider, received_us,"
        " committed_us, error_us, refused_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (environment, connection) DO UPDATE SET tenant = excluded.tenant,"
        " provider = excluded.provider, received_us = excluded.received_us,"
        f" {_LATER}",
        (
            environment,
            connection,
            heard.tenant,
            heard.provider,
            max(before_us, *heard.received, 0),
            heard.committed_us,
            heard.error_us,
            heard.refused_us,
        ),
    )
    for day, (bins, longest_ns) in pauses(before_us, heard.received).items():
        _add_pauses(run, at, (environment, connection, day), bins, longest_ns)


_LATER = ", ".join(
    f"{name} = CASE WHEN c.{name} > excluded.{name} THEN c.{name} ELSE excluded.{name} END"
    for name in ("committed_us", "error_us", "refused_us")
)


def _add_pauses(
    run: Run, at: str, place: tuple[str, str, int], bins: Bins, longest_ns: int
) -> None:
    there = run(
        f"SELECT longest_ns, packed FROM {at}pauses"
        " WHERE environment = ? AND connection = ? AND day = ?",
        place,
    )
    for longest, packed in there:
        unpack(packed, bins)
        longest_ns = max(longest_ns, longest)
    run(
        f"INSERT INTO {at}pauses (environment, connection, day, longest_ns, packed)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (environment, connection, day)"
        " DO UPDATE SET longest_ns = excluded.longest_ns, packed = excluded.packed",
        (*place, longest_ns, pack(bins)),
    )
