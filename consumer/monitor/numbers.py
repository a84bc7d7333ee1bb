"""Numbers in place of names: what rows have in common is written once. Bounded in both directions.

Rule: a number is only given inside the writer's transaction. If that is rolled back, the writer
throws this away and learns the numbers anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from consumer.monitor.folding import Series
from consumer.monitor.packed_rows import OTHER, Kind
from schemas.errors import StoreUnavailable

#: Runs a statement with `?` for its values, and gives its rows.
Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

#: Beyond these, what a sender has a say in (types of events and resources) is one of `OTHER`.
MAX_KINDS: Final = 50_000
MAX_SERIES: Final = 20_000
#: Beyond these, connections and groups too: nobody has so many, so something is wrong.
_HARD: Final = 10


class Numbers:
    """The numbers of kinds, series and names in one store; `at` comes before its tables' names."""

    def __init__(
        self, at: str, *, max_kinds: int = MAX_KINDS, max_series: int = MAX_SERIES
    ) -> None:
        self._at = at
        self._max_kinds = max_kinds
        self._max_series = max_series
        self._kinds: dict[tuple[str, ...], tuple[int, Kind]] = {}
        self._series: dict[Series, int] = {}
        self._names: dict[str, int] = {}

    @property
    def given(self) -> int:
        """How many numbers there are; another writer's are missing if the store has more."""
        return len(self._kinds) + len(self._series) + len(self._names)

    def load(self, run: Run) -> None:
        """Learn those that are there."""
        fields = ", ".join(Kind._fields)
        for number, *values in run(f"SELECT no, {fields} FROM {self._at}kinds", ()):
            kind = Kind(*values)
            self._kinds[kind] = number, kind
        for number, *values in run(f"SELECT no, {_SERIES} FROM {self._at}series", ()):
            self._series[Series(*values)] = number
        self._names = {
            name: number for number, name in run(f"SELECT no, name FROM {self._at}names", ())
        }

    def kind(self, run: Run, fields: tuple[str, ...]) -> tuple[int, Kind]:
        """A kind's number, and the kind that is kept in its place."""
        found = self._kinds.get(fields)
        if found is None:
            kept = Kind(*fields)
            if len(self._kinds) >= self._max_kinds and kept.event_type:
                kept = kept._replace(event_type=OTHER, resource_type=OTHER)
            found = self._kinds.get(kept)
            if found is None:
                self._check(len(self._kinds), self._max_kinds, "kinds of rows")
                number = len(self._kinds) + 1
                self._insert(run, "kinds", (number, *kept))
                found = self._kinds[kept] = number, kept
        return found

    def series(self, run: Run, series: Series) -> int:
        """A series' number."""
        found = self._series.get(series)
        if found is None:
            kept = series
            if len(self._series) >= self._max_series and series.event_type:
                kept = series._replace(event_type=OTHER)
            found = self._series.get(kept)
            if found is None:
                self._check(len(self._series), self._max_series, "series")
                found = self._series[kept] = len(self._series) + 1
                self._insert(run, "series", (found, *kept))
        return found

    def name(self, run: Run, name: str) -> int:
        """A counter's or an outcome's number."""
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = len(self._names) + 1
            self._insert(run, "names", (found, name))
        return found

    def _insert(self, run: Run, table: str, values: tuple[Any, ...]) -> None:
        marks = ", ".join("?" * len(values))
        run(f"INSERT INTO {self._at}{table} VALUES ({marks})", values)

    def _check(self, count: int, bound: int, what: str) -> None:
        if count >= bound * _HARD:
            raise StoreUnavailable(
                f"the monitor's store has {count} {what} and takes no new ones: give it a new "
                "database (monitor.store); what is in Kafka is counted again"
            )


_SERIES: Final = "environment, level, connection, provider, event_type, consumer_group"
