"""What a replay did: the tables it left, what became of each event, which calls were made."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

import msgspec

from schemas.dead_letter import DeadLetter
from schemas.event import Event


class Delivery(msgspec.Struct, frozen=True):
    """One copy of an event and what became of it: applied, duplicate, stale, parked, …"""

    event: Event
    outcome: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a handler, also of one whose effect was taken back later."""

    handler: str
    events: tuple[Event, ...]
    #: Whether it got a transaction; one without acts outside, each call for itself.
    transactional: bool
    #: What it raised; None if it returned.
    error: BaseException | None = None

    @property
    def idempotency_key(self) -> str:
        """What an external handler sends along: the same in each call for the same event."""
        return self.events[0].idempotency_key


class Report(msgspec.Struct, kw_only=True):
    """The end of a replay."""

    #: A copy in memory of the store's database: the handlers' tables, to assert on.
    connection: sqlite3.Connection
    #: In the order in which they ended.
    deliveries: list[Delivery]
    calls: list[Call]
    dead_letters: list[DeadLetter]
    #: How often a handler failed and its event was tried again.
    retries: int
    #: How many steps there were at which it could have crashed.
    steps: int
    #: How many statements handlers ran, also in vain.
    statements: int
    #: What the schedule did, in words.
    story: list[str]

    @property
    def outcomes(self) -> Counter[str]:
        """How many deliveries came to each outcome."""
        return Counter(delivery.outcome for delivery in self.deliveries)

    def of(self, event: Event) -> list[str]:
        """What became of each copy of an event."""
        return [d.outcome for d in self.deliveries if d.event.dedupe_id == event.dedupe_id]

    def rows(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(sql, parameters).fetchall()

    @property
    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table of the handlers, its rows sorted."""
        found = self.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        names = [name for (name,) in found if not name.startswith(("hookline_", "sqlite_"))]
        return {name: sorted(self.rows(f'SELECT * FROM "{name}"'), key=repr) for name in names}

    @property
    def external_calls(self) -> list[Call]:
        """The calls of handlers without a transaction."""
        return [call for call in self.calls if not call.transactional]

    @property
    def errors(self) -> list[BaseException]:
        """What handlers raised, of their own."""
        return [call.error for call in self.calls if call.error is not None]
