"""The handlers of the simulation: each does to an event what its fate says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from consumer.handlers.registration import Handlers
from consumer.stores.transaction import Transaction
from schemas.errors import PermanentError, RetryLater
from schemas.event import Event
from tests.simulation.plan import Entry, Fate, Kind

_ODD: Final[tuple[type[BaseException], ...]] = (
    KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit,
)  # fmt: skip


class Script:
    """A registry, made once a process; the schedule that runs says what its entries are."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.now: Callable[[], float] = lambda: 0.0
        self.handlers = handlers = Handlers()
        handlers.on(f"{Kind.PLAIN}.*")(self._plain)
        handlers.on(f"{Kind.ASYNC}.*")(self._async)
        handlers.batch(f"{Kind.BATCH}.*", max_size=3)(self._batch)
        handlers.on(f"{Kind.SKIP}.*", stale="skip")(self._plain)
        handlers.on(f"{Kind.DELETE}.*", stale="skip", deletes=True)(self._plain)
        handlers.on(f"{Kind.REFETCH}.*", stale="refetch", refetch=self._refetch)(self._plain)
        handlers.on(f"{Kind.EXTERNAL}.*")(self._external)
        handlers.on(f"{Kind.FETCHING}.*", stale="refetch", refetch=self._external)(self._external)

    def failure(self, entry: Entry) -> BaseException | None:
        """What this attempt at an entry raises."""
        entry.attempts += 1
        fails = entry.attempts <= entry.times
        match entry.fate:
            case Fate.FAILS_SOMETIMES if fails:
                return ValueError("for now")
            case Fate.FAILS_FOR_LONG if self.now() < entry.until_s:
                return ValueError("for long")
            case Fate.RETRY_LATER if fails:
                return RetryLater(after_s=None if entry.writes_first else 1.5)
            case Fate.ODD_EXCEPTION if fails:
                return _ODD[entry.number % len(_ODD)]()
            case Fate.PERMANENT | Fate.ENDS_TRANSACTION if not entry.mended:
                return PermanentError("for good")
        return None

    def _act(self, event: Event, tx: Transaction, kind: str) -> None:
        entry = self.entries[event.event_id]
        failure = self.failure(entry)
        if failure is None or entry.writes_first:
            tx.execute("INSERT INTO effects (entry, kind) VALUES (?, ?)", (entry.number, kind))
        if failure is not None:
            if entry.fate is Fate.ENDS_TRANSACTION:
                tx.execute("COMMIT")
            raise failure

    def _plain(self, event: Event, tx: Transaction) -> None:
        self._act(event, tx, "applied")

    async def _async(self, event: Event, tx: Transaction) -> None:
        self._act(event, tx, "applied")

    def _batch(self, events: list[Event], tx: Transaction) -> None:
        for event in events:
            self._act(event, tx, "applied")

    def _refetch(self, event: Event, tx: Transaction) -> None:
        self._act(event, tx, "refetched")

    def _external(self, event: Event) -> Any:
        raise AssertionError("external handlers are played by the replica")
