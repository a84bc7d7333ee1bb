"""Whether Kafka takes events now: a small state machine without clock or I/O.

It falls at the first sign that acknowledgements do not come, and rises only on proof.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Unproven until the first proof, so that a gateway is not ready before Kafka is."""

    UNPROVEN = "unproven"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"


class Availability:
    """Feed it what happens; each method says whether the state changed."""

    def __init__(self) -> None:
        self.state = State.UNPROVEN
        self.reason = "Kafka has not answered yet"

    @property
    def available(self) -> bool:
        """Whether to try to publish at all."""
        return self.state is State.AVAILABLE

    def proven(self) -> bool:
        """A delivery was acknowledged, or a probe saw a leader for every partition."""
        changed = self.state is not State.AVAILABLE
        self.state, self.reason = State.AVAILABLE, ""
        return changed

    def failed(self, reason: str) -> bool:
        """An acknowledgement is overdue, all brokers are down, or a probe failed."""
        changed = self.state is State.AVAILABLE
        self.state, self.reason = State.UNAVAILABLE, reason
        return changed
