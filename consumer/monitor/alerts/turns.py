"""Which of several monitors on one store looks at the alerts and tells them: one at a time.

Who has the turn counts a beat up at each look. Another takes it when the beat has stood still for
long enough by its own clock, so that no two clocks are compared. Two that take it at once cannot
both have it. A monitor that cannot ask goes on as it was: rather told twice than never.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Protocol

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """Who has it, and how often it was confirmed."""

    holder: str
    beat: int


class TurnStore(Protocol):
    """Of one environment. StoreUnavailable from each if it cannot be had now."""

    def turn(self) -> Turn | None:
        """As it is; None if nobody has it."""

    def take_turn(self, holder: str, instead_of: Turn | None) -> Turn | None:
        """Take or confirm it; None if it is not any more as it was when it was looked at."""

    def give_turn_back(self, turn: Turn) -> None:
        """So that another need not wait; nothing if somebody else has it."""


class Turns:
    """One monitor's part of it; `ours` at each look."""

    def __init__(
        self,
        store: TurnStore,
        name: str,
        lost_after_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name`: the same after a restart, so that this one goes on at once; another's is not."""
        self._store = store
        self._name = name
        # Another of this name is another, and a take whose answer was lost is still ours.
        self._holder = f"{name} {secrets.token_hex(4)}"
        self._lost_after_s = lost_after_s
        self._clock_s = clock_s
        #: What we have; None: another has it, or nobody knows yet.
        self._mine: Turn | None = None
        self._seen: Turn | None = None
        self._seen_s: float | None = None

    def ours(self) -> bool:
        """Whether this monitor has the turn for the look that follows; StoreError: not known."""
        before, self._seen = self._seen, None
        # Raising leaves nothing seen: while nobody can ask, no beat stands still.
        found, now_s = self._store.turn(), self._clock_s()
        first = self._seen_s is None
        if first or found != before:
            self._seen_s = now_s
        self._seen = found
        known = found is not None and (
            found.holder == self._holder
            # Before a restart, which only the first look can be after.
            or (first and found.holder.rpartition(" ")[0] == self._name)
        )
        lost = found is None or now_s - (self._seen_s or 0.0) >= self._lost_after_s
        self._mine = self._store.take_turn(self._holder, found) if known or lost else None
        return self._mine is not None

    def give_back(self) -> None:
        """At a clean end."""
        if self._mine is not None:
            self._store.give_turn_back(self._mine)
            self._mine = None
