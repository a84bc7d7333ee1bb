"""What one connection may use of this gateway, so that a flood of one leaves room for the others.

Counted is only what is verified: nobody without its secret can use up what a connection may. The
numbers are one event loop's; nothing here waits or reads a clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from producer.gateway import answers
from producer.gateway.answers import Refusal

_SECOND_NS: Final = 1_000_000_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one connection; None is no limit. Without `burst`, what the rate allows in a second."""

    rate_per_s: float | None = None
    burst: int | None = None
    max_in_flight_events: int | None = None
    max_in_flight_bytes: int | None = None

    def __bool__(self) -> bool:
        return (self.rate_per_s, self.max_in_flight_events, self.max_in_flight_bytes) != (
            *(None, None, None),
        )


class Usage:
    """One connection's numbers. Whoever adds to `events` and `size_bytes` takes it off again."""

    __slots__ = (
        *("events", "size_bytes", "_full_at_ns", "_interval_ns", "_reach_ns"),
        *("_max_events", "_max_bytes"),
    )

    def __init__(self, limits: Limits) -> None:
        #: Handed over and not known to be safe.
        self.events = 0
        self.size_bytes = 0
        self._max_events = limits.max_in_flight_events or sys.maxsize
        self._max_bytes = limits.max_in_flight_bytes or sys.maxsize
        rate_per_s = limits.rate_per_s
        #: Between two tokens; 0 without a rate.
        self._interval_ns = max(1, round(_SECOND_NS / rate_per_s)) if rate_per_s else 0
        burst = limits.burst or max(1, round(rate_per_s or 1))
        #: How long an empty bucket but for its last token takes to be full.
        self._reach_ns = (burst - 1) * self._interval_ns
        #: When the bucket is full again, which says how many tokens are missing now.
        self._full_at_ns = 0

    def over(self, now_ns: int) -> Refusal | None:
        """Why no more may be taken now; None takes a token. `now_ns` never goes back."""
        if self.events >= self._max_events or self.size_bytes >= self._max_bytes:
            return answers.TOO_MANY
        if self._interval_ns:
            full_at_ns = self._full_at_ns
            if full_at_ns < now_ns:
                full_at_ns = now_ns
            wait_ns = full_at_ns - now_ns - self._reach_ns
            if wait_ns > 0:
                return answers.rate_limited(-(-wait_ns // _SECOND_NS))
            self._full_at_ns = full_at_ns + self._interval_ns
        return None


class _Usages(dict[str, Usage]):
    """Makes what is not there."""

    def __init__(self, limits_of: Callable[[str], Limits]) -> None:
        super().__init__()
        self._limits_of = limits_of

    def __missing__(self, connection_id: str) -> Usage:
        usage = self[connection_id] = Usage(self._limits_of(connection_id))
        return usage


class ConnectionLimits:
    """The usage of each connection that has sent something; at most as many as there are."""

    def __init__(self, limits: Limits, overrides: Mapping[str, Limits] | None = None) -> None:
        """`overrides`: other limits for the connections of these ids."""
        self._limits = limits
        self._overrides = dict(overrides or {})
        self._usages = _Usages(self.limits_of)
        #: The connection's numbers; only for one that there is. No call of ours on the hot path.
        self.usage: Callable[[str], Usage] = self._usages.__getitem__

    def limits_of(self, connection_id: str) -> Limits:
        """What the connection may use."""
        return self._overrides.get(connection_id, self._limits)

    def forget(self, connection_id: str) -> None:
        """A connection was removed. From any thread; what it has in flight ends by itself."""
        self._usages.pop(connection_id, None)

    def in_flight(self) -> dict[str, int]:
        """Connection → events in flight, of those that have any. From any thread."""
        return {name: usage.events for name, usage in self._usages.copy().items() if usage.events}

    def __len__(self) -> int:
        return len(self._usages)
