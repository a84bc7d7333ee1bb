"""Whether Kafka takes events now: a small state machine without clock or I/O.

It falls at the first sign that acknowledgements do not come, and rises only on proof: a probe
that found a leader for every partition, or an acknowledgement.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FIRST_PROBE_S: Final = 0.25
MAX_PROBE_S: Final = 2.0


class State(StrEnum):
    """Unproven until the first proof, so that a gateway is not ready before Kafka is."""

    UNPROVEN = "unproven"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"


class Availability:
    """Feed it what happens. `acknowledged`, `probed` and `failed` say whether the state changed."""

    def __init__(self, now_s: float) -> None:
        self.state = State.UNPROVEN
        self.reason = "Kafka has not answered yet"
        self._backoff_s = FIRST_PROBE_S
        self._probe_at_s = now_s
        self._suspected = False

    @property
    def available(self) -> bool:
        """Whether to try to publish at all."""
        return self.state is State.AVAILABLE

    def probe_due(self, now_s: float) -> bool:
        """Whether to ask Kafka now; each yes counts as a probe and moves the next one away."""
        if (self.available and not self._suspected) or now_s < self._probe_at_s:
            return False
        self._probe_at_s = now_s + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, MAX_PROBE_S)
        return True

    def acknowledged(self) -> bool:
        """A delivery was acknowledged: the only full proof."""
        self._backoff_s = FIRST_PROBE_S
        return self._rise()

    def probed(self, problem: str) -> bool:
        """A probe ended; an empty `problem` is enough to try again.

        It does not reset the backoff: a cluster that answers metadata and acknowledges nothing
        (too few in-sync replicas) must not be tried at the pace of its probes.
        """
        if problem:
            return self.failed(problem)
        return self._rise()

    def suspect(self) -> None:
        """Something hints that Kafka is away, but proves nothing: ask."""
        self._suspected = True

    def failed(self, reason: str) -> bool:
        """An acknowledgement is overdue, or a probe met a problem."""
        changed = self.available
        self.state, self.reason = State.UNAVAILABLE, reason
        return changed

    def _rise(self) -> bool:
        changed = not self.available
        self.state, self.reason, self._suspected = State.AVAILABLE, "", False
        return changed
