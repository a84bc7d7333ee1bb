"""Questions about single rows: searches with cursors, one request's story; for every database.

A search goes along one index, the latest first, and stops when a page is full. Where several
stretches of an index are wanted (some kinds, some outcomes), the first rows of each are merged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from consumer.monitor.contract import (
    MAX_PAGE,
    EventFilter,
    EventPage,
    Known,
    Range,
    RequestFilter,
    RequestPage,
    RequestStory,
)
from consumer.monitor.numbers import Run
from consumer.monitor.packed_rows import Kind, unpack_event, unpack_request

#: Up to so many stretches of an index are merged; beyond, one walks along all rows in time.
_MAX_STRETCHES: Final = 100
_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_KIND: Final = ", ".join(f"k.{name}" for name in Kind._fields)


class Dialect(NamedTuple):
    """How one database wants its searches."""

    #: Before the tables' names.
    at: str
    #: A condition that a text column is a value (twice, if `?` is there twice).
    same: str = "{column} = ?"
    #: Before a column that must not lead to its index.
    aside: str = ""


class _Table(NamedTuple):
    name: str
    columns: str
    #: The outcome that most rows have, which no index of outcomes holds; its number.
    usual: str
    usual_number: int


_EVENTS: Final = _Table(
    "events", "r.id, r.at_us, r.kind, r.request_id, r.outcome, r.resource_id, r.event_id, r.packed",
    "applied", 1,
)  # fmt: skip
_REQUESTS: Final = _Table(
    "requests", "r.id, r.at_us, r.kind, r.request_id, r.outcome, r.packed", "accepted", 2
)


def events(run: Run, how: Dialect, wanted: EventFilter, after: str, limit: int) -> EventPage:
    """See `Questions.events`."""
    kinds = _Where()
    kinds.equal("environment", wanted.environment)
    for column, value in (
        ("connection", wanted.connection),
        ("tenant", wanted.tenant),
        ("provider", wanted.provider),
        ("resource_type", wanted.resource_type),
        ("consumer_group", wanted.group),
    ):
        if value:
            kinds.equal(column, value)
    if wanted.event_type.endswith(".*"):
        start = wanted.event_type[:-1]
        kinds.add("substr(event_type, 1, ?) = ?", len(start), start)
    elif wanted.event_type:
        kinds.equal("event_type", wanted.event_type)
    kinds.add("topic <> ''")
    exact = [
        (column, value)
        for column, value in (("event_id", wanted.event_id), ("resource_id", wanted.resource_id))
        if value
    ]
    rows, following = _search(
        run, how, _EVENTS, kinds, exact, wanted.outcomes, wanted.retried, wanted.range, after, limit
    )
    names, known = _outcomes(run, how, rows, 4), _kinds(run, how, rows)
    return EventPage(
        tuple(
            unpack_event(known[kind], bytes(rid), names[outcome], at_us, resource, event, packed)
            for _, at_us, kind, rid, outcome, resource, event, packed in rows
        ),
        following,
    )


def requests(run: Run, how: Dialect, wanted: RequestFilter, after: str, limit: int) -> RequestPage:
    """See `Questions.requests`."""
    kinds = _Where()
    kinds.equal("environment", wanted.environment)
    if wanted.connection is not None:
        kinds.equal("connection", wanted.connection)
    for column, value in (("tenant", wanted.tenant), ("provider", wanted.provider)):
        if value:
            kinds.equal(column, value)
    kinds.add("topic = ''")
    rows, following = _search(
        run, how, _REQUESTS, kinds, [], wanted.outcomes, wanted.refused, wanted.range, after, limit
    )
    names, known = _outcomes(run, how, rows, 4), _kinds(run, how, rows)
    return RequestPage(
        tuple(
            unpack_request(known[kind], bytes(rid), names[outcome], at_us, packed)
            for _, at_us, kind, rid, outcome, packed in rows
        ),
        following,
    )


def request(run: Run, how: Dialect, environment: str, request_id: bytes) -> RequestStory:
    """See `Questions.request`."""

    def found(table: _Table) -> list[tuple[Any, ...]]:
        return run(
            f"SELECT {table.columns} FROM {how.at}{table.name} r JOIN {how.at}kinds k"
            " ON k.no = r.kind WHERE r.request_id = ? AND k.environment = ?"
            " ORDER BY r.at_us, r.id",
            (request_id, environment),
        )

    asked, done = found(_REQUESTS), found(_EVENTS)
    names = _outcomes(run, how, [*asked, *done], 4)
    kinds = _kinds(run, how, [*asked, *done])
    return RequestStory(
        tuple(
            unpack_request(kinds[kind], bytes(rid), names[outcome], at_us, packed)
            for _, at_us, kind, rid, outcome, packed in asked
        ),
        tuple(
            unpack_event(kinds[kind], bytes(rid), names[outcome], at_us, resource, event, packed)
            for _, at_us, kind, rid, outcome, resource, event, packed in done
        ),
    )


def known(run: Run, how: Dialect, environment: str) -> Known:
    """See `Questions.known`."""
    found: list[set[str]] = [set() for _ in range(5)]
    for row in run(
        "SELECT DISTINCT connection, tenant, provider, event_type, consumer_group"
        f" FROM {how.at}kinds WHERE environment = ?",
        (environment,),
    ):
        for names, name in zip(found, row, strict=True):
            if name:
                names.add(name)
    connections, tenants, providers, event_types, groups = (tuple(sorted(some)) for some in found)
    return Known(
        connections=connections,
        tenants=tenants,
        providers=providers,
        event_types=event_types,
        groups=groups,
    )


class _Where:
    """Conditions and their values."""

    def __init__(self) -> None:
        self.text = ""
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        self.text += f" AND {condition}" if self.text else condition
        self.values += values

    def equal(self, column: str, value: Any) -> None:
        self.add(f"{column} = ?", value)


def _search(
    run: Run,
    how: Dialect,
    table: _Table,
    kinds: _Where,
    exact: Sequence[tuple[str, str]],
    outcomes: Sequence[str],
    marked: bool,
    within: Range | None,
    after: str,
    limit: int,
) -> tuple[list[tuple[Any, ...]], str]:
    limit = max(1, min(limit, MAX_PAGE))
    numbers = _numbers(run, how, outcomes)
    if outcomes and not numbers:
        return [], ""
    stretches, by_kind = _stretches(run, how, table, kinds, exact, numbers, marked)
    rest = _Where()
    if not by_kind:
        column = f"{how.aside}r.kind"
        rest.add(f"{column} IN (SELECT no FROM {how.at}kinds WHERE {kinds.text})", *kinds.values)
    if numbers:
        rest.add(f"{how.aside}r.outcome IN ({', '.join(map(str, numbers))})")
    if marked:
        rest.add("r.marked = 1")
    for column, value in exact:
        condition = how.same.format(column=f"r.{column}")
        rest.add(condition, *[value] * condition.count("?"))
    if within is not None:
        rest.add("r.at_us >= ? AND r.at_us < ?", within.since_us, within.until_us)
    if after:
        place = _CURSOR.fullmatch(after)
        if place is None:
            raise ValueError("this is no cursor of ours: leave it out, to begin with the latest")
        rest.add("(r.at_us, r.id) < (?, ?)", int(place[1]), int(place[2]))
    parts, values = [], []
    for stretch in stretches:
        conditions = " AND ".join(part for part in (stretch, rest.text) if part) or "1 = 1"
        parts.append(
            f"SELECT * FROM (SELECT {table.columns} FROM {how.at}{table.name} r WHERE {conditions}"
            " ORDER BY r.at_us DESC, r.id DESC LIMIT ?) AS s"
        )
        values += [*rest.values, limit + 1]
    if not parts:
        return [], ""
    rows = run(
        f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS r"
        " ORDER BY r.at_us DESC, r.id DESC LIMIT ?",
        [*values, limit + 1],
    )
    if len(rows) <= limit:
        return rows, ""
    last = rows[limit - 1]
    return rows[:limit], f"{last[1]}-{last[0]}"


def _stretches(
    run: Run,
    how: Dialect,
    table: _Table,
    kinds: _Where,
    exact: Sequence[tuple[str, str]],
    outcomes: Sequence[int],
    marked: bool,
) -> tuple[list[str], bool]:
    """Which stretches of which index to go along, and whether they are of the kinds wanted."""
    if exact or marked:
        return [""], False
    if outcomes and table.usual_number not in outcomes:
        # SQLite takes an index over some rows only where its own condition is there word by word.
        unusual = f"r.outcome <> {table.usual_number}"
        return [f"r.outcome = {number} AND {unusual}" for number in outcomes], False
    found = run(
        f"SELECT no FROM {how.at}kinds WHERE {kinds.text} LIMIT ?",
        [*kinds.values, _MAX_STRETCHES + 1],
    )
    if len(found) > _MAX_STRETCHES:
        return [""], False
    return [f"r.kind = {number}" for (number,) in found], True


def _numbers(run: Run, how: Dialect, outcomes: Sequence[str]) -> list[int]:
    if not outcomes:
        return []
    marks = ", ".join("?" * len(outcomes))
    found = run(f"SELECT no FROM {how.at}names WHERE name IN ({marks}) ORDER BY no", outcomes)
    return [number for (number,) in found]


def _outcomes(
    run: Run, how: Dialect, rows: Sequence[tuple[Any, ...]], place: int
) -> dict[int, str]:
    if not rows:
        return {}
    numbers = ", ".join(str(number) for number in {row[place] for row in rows})
    return dict(run(f"SELECT no, name FROM {how.at}names WHERE no IN ({numbers})", ()))


def _kinds(run: Run, how: Dialect, rows: Sequence[tuple[Any, ...]]) -> dict[int, Kind]:
    if not rows:
        return {}
    numbers = ", ".join(str(number) for number in {row[2] for row in rows})
    found = run(f"SELECT k.no, {_KIND} FROM {how.at}kinds k WHERE k.no IN ({numbers})", ())
    return {number: Kind(*values) for number, *values in found}
