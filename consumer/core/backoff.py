"""How long to wait before the next attempt: exponential with full jitter, inside a budget.

Full jitter (a uniform draw from nothing up to the exponential bound) spreads retries best:
AWS Architecture Blog, "Exponential Backoff and Jitter".
"""

from __future__ import annotations

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in seconds. `budget_s` is counted from the first failure of an event."""

    initial_s: float = 0.1
    max_s: float = 30.0
    budget_s: float = 300.0

    def bound_s(self, attempts: int) -> float:
        """The longest wait after so many failed attempts (1 or more)."""
        # Past 2**30 the bound is max_s anyway, and a huge exponent would overflow a float.
        return min(self.max_s, self.initial_s * 2.0 ** min(attempts - 1, 30))

    def delay_s(self, attempts: int, draw: float) -> float:
        """The wait after so many failed attempts; `draw` is uniform in [0, 1)."""
        return draw * self.bound_s(attempts)

    def exhausted(self, first_failure: float, now: float) -> bool:
        """Whether the budget is spent."""
        return now - first_failure >= self.budget_s
