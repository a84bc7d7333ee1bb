"""Records go to the client at once while they are few, and in bursts while they are many.

librdkafka sends a request for each partition's batch. A steady stream over twelve partitions is
thus a request for nearly every event, and each costs the broker as much as all of the gateway's
own work with it. Held for a moment, the events of a partition share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from producer.publish.pending import Pending

#: How many events a second are worth a millisecond of waiting: 2,000 a second wait for 5.
_RATE_FOR_A_MS: Final = 400.0
_SHORTEST_S: Final = 0.001


class Gathering:
    """First in, first out. `produce` hands one to the client and does not raise."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, produce: Callable[[Pending], None], max_hold_s: float
    ) -> None:
        self._loop = loop
        self._produce = produce
        self._max_hold_s = max_hold_s
        self._hold_s = 0.0
        self._held: list[Pending] = []
        self._count = 0

    def put(self, pending: Pending) -> None:
        """Hand it over, now or with those that come within the next milliseconds."""
        self._count += 1
        held = self._held
        # Not past those that wait, also when nothing is to wait any more.
        if not self._hold_s and not held:
            self._produce(pending)
            return
        held.append(pending)
        if len(held) == 1:
            self._loop.call_later(self._hold_s, self.release)

    def release(self) -> None:
        """Hand over all that wait."""
        held = self._held
        while held:
            # Another list: whoever is told of a refusal may put in more.
            self._held = []
            for pending in held:
                self._produce(pending)
            held = self._held

    def look(self, elapsed_s: float) -> None:
        """So long it is since the last look: how many came says how long the next ones wait."""
        rate = self._count / elapsed_s if elapsed_s > 0 else 0.0
        self._count = 0
        hold_s = min(self._max_hold_s, rate / _RATE_FOR_A_MS / 1000)
        self._hold_s = hold_s if hold_s >= _SHORTEST_S else 0.0
