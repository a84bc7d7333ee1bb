"""Which keys have parked events, and when each is tried again.

A key is parked when its first event has spent its retry budget: that event and all later ones
of the key are held in the store, in order, and the partition moves on. What is here is only the
owner's memory of it: a count and a time for each key. Rule: the counts are the store's, told by
what was committed.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec

P = TypeVar("P", bound=Hashable)


class _Key(msgspec.Struct):
    events: int
    attempts: int
    #: When it is due; None while its events are being loaded or run.
    due: float | None
    ticket: int = 0


class Parking(Generic[P]):
    """The parked keys of the owned partitions, bounded per partition; times in seconds."""

    def __init__(self, *, max_keys: int, max_events: int) -> None:
        self._max_keys = max_keys
        self._max_events = max_events
        self._keys: dict[P, dict[bytes, _Key]] = {}
        self._events: dict[P, int] = {}
        self._heap: list[tuple[float, int, P, bytes]] = []
        self._ticket = 0

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    @property
    def events(self) -> int:
        """All parked events."""
        return sum(self._events.values())

    def count(self, partition: P, key: bytes) -> int:
        """How many events of a key are parked."""
        state = self._keys.get(partition, {}).get(key)
        return state.events if state else 0

    def attempts(self, partition: P, key: bytes) -> int:
        """How often the first event of a key was tried in vain since it was parked."""
        state = self._keys.get(partition, {}).get(key)
        return state.attempts if state else 0

    def holds(self, partition: P, key: bytes) -> bool:
        """Whether later events of this key must queue behind parked ones."""
        keys = self._keys.get(partition)
        return keys is not None and key in keys

    def room(self, partition: P, key: bytes) -> bool:
        """Whether one more event of this key may be parked."""
        keys = self._keys.get(partition)
        if keys is None:
            return self._max_keys > 0 and self._max_events > 0
        return self._events[partition] < self._max_events and (
            key in keys or len(keys) < self._max_keys
        )

    def learn(self, partition: P, key: bytes, events: int, attempts: int, due: float) -> None:
        """What the store says of a key: at a claim, or after an operator has changed it."""
        if events <= 0:
            self._forget(partition, key)
            return
        state = self._keys.setdefault(partition, {}).get(key)
        if state is None:
            state = self._keys[partition][key] = _Key(0, attempts, due)
            running = False
        else:
            running = state.due is None
        self._events[partition] = self._events.get(partition, 0) + events - state.events
        state.events = events
        if not running:
            state.attempts = attempts
            self._schedule(partition, key, state, due)

    def recount(self, partition: P, key: bytes, events: int) -> None:
        """How many events of a key in hand there are, as its load has shown."""
        state = self._keys.get(partition, {}).get(key)
        if state is not None:
            self._events[partition] += events - state.events
            state.events = events

    def added(self, partition: P, key: bytes, events: int, due: float) -> None:
        """Events were parked; a key that had none is due at `due`."""
        keys = self._keys.setdefault(partition, {})
        state = keys.get(key)
        if state is None:
            state = keys[key] = _Key(0, 0, due)
            self._schedule(partition, key, state, due)
        state.events += events
        self._events[partition] = self._events.get(partition, 0) + events

    def removed(self, partition: P, key: bytes, events: int, left: int = 0) -> None:
        """Parked events of a key are done; with its last one the key is free.

        `left`: how many of those that are loaded are not done. The key keeps at least these,
        whatever the count says: after an answer that was lost it may have them counted already.
        """
        state = self._keys.get(partition, {}).get(key)
        if state is None:
            return
        remain = max(state.events - events, left, 0)
        self._events[partition] += remain - state.events
        state.events = remain
        state.attempts = 0
        if remain == 0:
            self._forget(partition, key)

    def take_due(self, now: float, limit: int) -> list[tuple[P, bytes]]:
        """At most `limit` keys whose time has come; each is in hand until `put_back`."""
        found: list[tuple[P, bytes]] = []
        while self._heap and len(found) < limit and self._heap[0][0] <= now:
            _, ticket, partition, key = heapq.heappop(self._heap)
            state = self._keys.get(partition, {}).get(key)
            if state is not None and state.ticket == ticket and state.due is not None:
                state.due = None
                found.append((partition, key))
        return found

    def put_back(self, partition: P, key: bytes, due: float) -> None:
        """A key taken by `take_due` is to be tried at `due`, if it is still parked."""
        state = self._keys.get(partition, {}).get(key)
        if state is not None:
            self._schedule(partition, key, state, due)

    def failed(self, partition: P, key: bytes) -> int:
        """Count an attempt in vain; how many that makes for the key's first event."""
        state = self._keys.get(partition, {}).get(key)
        if state is None:
            return 1
        state.attempts += 1
        return state.attempts

    def next_due(self) -> float | None:
        """No key is due before this time; None if nothing waits."""
        return self._heap[0][0] if self._heap else None

    def drop(self, partition: P) -> None:
        """Forget a partition that is no longer ours."""
        self._keys.pop(partition, None)
        self._events.pop(partition, None)

    def _schedule(self, partition: P, key: bytes, state: _Key, due: float) -> None:
        self._ticket += 1
        state.ticket = self._ticket
        state.due = due
        heapq.heappush(self._heap, (due, self._ticket, partition, key))

    def _forget(self, partition: P, key: bytes) -> None:
        keys = self._keys.get(partition)
        if keys is not None and (state := keys.pop(key, None)) is not None:
            self._events[partition] -= state.events
