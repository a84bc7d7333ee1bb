"""`Questions` over any SQL database: an adapter only says how a statement is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from consumer.monitor import gauging, searching, summing
from consumer.monitor.contract import (
    MEASURES,
    Bucket,
    ConnectionHealth,
    ConnectionTotal,
    EventFilter,
    EventPage,
    Gauge,
    GaugeSeries,
    Known,
    Overview,
    Range,
    RequestFilter,
    RequestPage,
    RequestStory,
    Scope,
)
from consumer.monitor.numbers import Run
from consumer.monitor.searching import Dialect


class SqlQuestions(ABC):
    """Answers `Questions`."""

    dialect: Dialect

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Run]:
        """A transaction that only reads; what it sees is of one moment."""

    @abstractmethod
    def _recording(self) -> AbstractContextManager[Run]:
        """A short transaction that writes gauges."""

    def overview(
        self,
        scope: Scope,
        range: Range,
        *,
        measures: Sequence[str] = MEASURES,
        last_week: bool = True,
    ) -> Overview:
        with self._reading() as run:
            return summing.overview(run, self.dialect.at, scope, range, measures, last_week)

    def total(self, scope: Scope, range: Range, *, measures: Sequence[str] = ()) -> Bucket:
        with self._reading() as run:
            return summing.total(run, self.dialect.at, scope, range, measures)

    def connection_totals(self, environment: str, range: Range) -> list[ConnectionTotal]:
        with self._reading() as run:
            return summing.connection_totals(run, self.dialect.at, environment, range)

    def health(self, environment: str, now_us: int) -> list[ConnectionHealth]:
        with self._reading() as run:
            return summing.health(run, self.dialect.at, environment, now_us)

    def known(self, environment: str) -> Known:
        with self._reading() as run:
            return searching.known(run, self.dialect, environment)

    def events(self, wanted: EventFilter, *, after: str = "", limit: int = 50) -> EventPage:
        with self._reading() as run:
            return searching.events(run, self.dialect, wanted, after, limit)

    def requests(self, wanted: RequestFilter, *, after: str = "", limit: int = 50) -> RequestPage:
        with self._reading() as run:
            return searching.requests(run, self.dialect, wanted, after, limit)

    def request(self, environment: str, request_id: bytes) -> RequestStory:
        with self._reading() as run:
            return searching.request(run, self.dialect, environment, request_id)

    def gauges(self, environment: str, name: str, range: Range) -> list[GaugeSeries]:
        with self._reading() as run:
            return gauging.gauges(run, self.dialect.at, environment, name, range)

    def latest_gauges(self, environment: str, name: str = "") -> list[Gauge]:
        with self._reading() as run:
            return gauging.latest(run, self.dialect.at, environment, name)

    def record(self, gauges: Sequence[Gauge]) -> None:
        if not gauges:
            return
        with self._recording() as run:
            gauging.record(run, self.dialect.at, gauges)
