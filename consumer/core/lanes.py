"""The order of effects: one lane per resource key, at most one run of a lane in flight.

Events wait in their lane; ready lanes are served in turn, so that a busy, slow or failing
entity delays only itself.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from enum import Enum
from typing import Generic, TypeVar

import msgspec

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")


class Work(Enum):
    """What an event needs; a run holds events of one sort only."""

    TRANSACTION = "transaction"
    EXTERNAL = "external"
    THREAD = "thread"


class _Waiting(msgspec.Struct, Generic[T], gc=False):
    item: T
    size_bytes: int
    work: Work


class _Lane(msgspec.Struct, Generic[P, T], eq=False):
    partition: P
    key: bytes
    waiting: deque[_Waiting[T]]
    in_flight: bool = False
    #: The ticket of its rest; 0 while it does not rest.
    rest: int = 0
    #: In a ready queue; such an entry is skipped when the lane turns out not to be ready.
    queued: bool = False
    dropped: bool = False

    @property
    def idle(self) -> bool:
        return not (self.in_flight or self.rest or self.dropped)


class Run(msgspec.Struct, Generic[P, T], eq=False):
    """Consecutive events of one lane, handed out together; give it back with `finish`."""

    lane: _Lane[P, T]
    items: list[T]

    @property
    def partition(self) -> P:
        """The partition of all its events."""
        return self.lane.partition

    @property
    def key(self) -> bytes:
        """The key of all its events."""
        return self.lane.key


class Lanes(Generic[P, T]):
    """All lanes of one consumer, bounded in events and bytes by who feeds them (`full`)."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lanes: dict[P, dict[bytes, _Lane[P, T]]] = {}
        self._count = 0
        self._ready: dict[Work, deque[_Lane[P, T]]] = {work: deque() for work in Work}
        self._delayed: list[tuple[float, int, _Lane[P, T]]] = []
        self._ticket = 0
        #: How many lanes rest until their next attempt.
        self.resting = 0
        self.events = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether the feeder must stop: waiting and in-flight events reach a bound."""
        return self.events >= self._max_events or self.bytes >= self._max_bytes

    @property
    def free_bytes(self) -> int:
        """How many bytes are left until the bound; 0 beyond it."""
        return max(0, self._max_bytes - self.bytes)

    @property
    def partitions(self) -> set[P]:
        """The partitions that have an event waiting or in flight."""
        return {partition for partition, lanes in self._lanes.items() if lanes}

    def add(self, partition: P, key: bytes, item: T, size_bytes: int, work: Work) -> None:
        """Put an event at the end of its lane."""
        lanes = self._lanes.get(partition)
        lane = lanes.get(key) if lanes is not None else None
        if lane is None:
            lane = self._make(partition, key)
        lane.waiting.append(_Waiting(item, size_bytes, work))
        self.events += 1
        self.bytes += size_bytes
        # An event in flight stays at the head, so a lane of one event was empty.
        if len(lane.waiting) == 1:
            self._queue(lane)

    def take(self, work: Work, max_events: int, max_per_lane: int = 1) -> list[Run[P, T]]:
        """Runs of ready lanes in turn, at most `max_events` in all; their lanes are in flight.

        Events stay counted, and stay at the head of their lane, until `finish`.
        """
        ready = self._ready[work]
        runs: list[Run[P, T]] = []
        while ready and max_events > 0:
            lane = ready.popleft()
            lane.queued = False
            if not lane.idle or not lane.waiting:
                continue
            if lane.waiting[0].work is not work:
                # Its head has changed since it was queued.
                self._queue(lane)
                continue
            items: list[T] = []
            for waiting in lane.waiting:
                if waiting.work is not work or len(items) >= min(max_per_lane, max_events):
                    break
                items.append(waiting.item)
            max_events -= len(items)
            lane.in_flight = True
            runs.append(Run(lane, items))
        return runs

    def hold(self, partition: P, key: bytes) -> Run[P, T] | None:
        """An empty run of a lane, so that nothing of it runs until `finish`; None if it is busy.

        The lane is made if it is not there; the rest of one that rests is over.
        """
        lane = self._lanes.get(partition, {}).get(key)
        if lane is None:
            lane = self._make(partition, key)
        elif lane.in_flight:
            return None
        self._end_rest(lane)
        lane.in_flight = True
        return Run(lane, [])

    def finish(
        self,
        run: Run[P, T],
        done: int,
        retry_at: float | None = None,
        *,
        discard: int = 0,
        front: Sequence[tuple[T, int, Work]] = (),
    ) -> bool:
        """Give a run back: its first `done` events leave, the others stay at the head.

        With `retry_at` the lane rests until `wake` is called with that time. `discard` more
        leave, undone. `front` (item, bytes, work) is put before what waits. False if the lane
        was dropped meanwhile: whatever became of the run no longer concerns us.
        """
        lane = run.lane
        if lane.dropped:
            return False
        if not lane.in_flight:
            raise ValueError("a run is given back once")
        lane.in_flight = False
        for _ in range(done + discard):
            waiting = lane.waiting.popleft()
            self.events -= 1
            self.bytes -= waiting.size_bytes
        for item, size_bytes, work in reversed(front):
            lane.waiting.appendleft(_Waiting(item, size_bytes, work))
            self.events += 1
            self.bytes += size_bytes
        if not lane.waiting:
            del self._lanes[lane.partition][lane.key]
            self._count -= 1
            lane.dropped = True
        elif retry_at is None:
            self._queue(lane)
        else:
            self._ticket += 1
            lane.rest = self._ticket
            self.resting += 1
            heapq.heappush(self._delayed, (retry_at, self._ticket, lane))
        return True

    def reclassify(self, run: Run[P, T], work: Work) -> None:
        """Say that the head event of a run in hand now needs another sort of work."""
        run.lane.waiting[0].work = work

    def wake(self, now: float) -> None:
        """Make ready the lanes whose `retry_at` has come."""
        while self._delayed and self._delayed[0][0] <= now:
            _, ticket, lane = heapq.heappop(self._delayed)
            if lane.rest == ticket and not lane.dropped:
                self._end_rest(lane)
                self._queue(lane)

    def next_wake(self) -> float | None:
        """The earliest `retry_at`, or None if no lane rests."""
        return self._delayed[0][0] if self._delayed else None

    def ready(self, work: Work) -> bool:
        """Whether `take` would give something."""
        return any(lane.idle for lane in self._ready[work])

    def heads(self) -> Iterator[T]:
        """The first event of every lane."""
        for lanes in self._lanes.values():
            for lane in lanes.values():
                if lane.waiting:
                    yield lane.waiting[0].item

    def drop(self, partition: P) -> int:
        """Forget a partition's lanes, in flight or not; how many events that were."""
        return sum(self._remove(lane) for lane in self._of(partition))

    def drop_waiting(self, partition: P) -> int:
        """Forget what of a partition is not in flight; runs in flight may still be finished."""
        dropped = 0
        for lane in self._of(partition):
            if not lane.in_flight:
                dropped += self._remove(lane)
        return dropped

    def in_flight(self, partition: P) -> int:
        """How many lanes of a partition have a run in flight."""
        return sum(lane.in_flight for lane in self._of(partition))

    def _end_rest(self, lane: _Lane[P, T]) -> None:
        if lane.rest:
            lane.rest = 0
            self.resting -= 1

    def _queue(self, lane: _Lane[P, T]) -> None:
        if not lane.queued:
            lane.queued = True
            self._ready[lane.waiting[0].work].append(lane)

    def _of(self, partition: P) -> list[_Lane[P, T]]:
        return list(self._lanes.get(partition, {}).values())

    def _make(self, partition: P, key: bytes) -> _Lane[P, T]:
        lane: _Lane[P, T] = _Lane(partition, key, deque())
        self._lanes.setdefault(partition, {})[key] = lane
        self._count += 1
        return lane

    def _remove(self, lane: _Lane[P, T]) -> int:
        self._end_rest(lane)
        lane.dropped = True
        del self._lanes[lane.partition][lane.key]
        self._count -= 1
        self.events -= len(lane.waiting)
        self.bytes -= sum(waiting.size_bytes for waiting in lane.waiting)
        return len(lane.waiting)
