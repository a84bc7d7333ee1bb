"""A circuit breaker as a pure state machine: whether a target is called now, or rests.

Results of calls that began before the last change of state are ignored: a straggler neither
opens a circuit again nor closes one.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

import msgspec

from schemas.errors import ConfigurationError


class State(StrEnum):
    """CLOSED lets every call through, OPEN none, HALF_OPEN one that probes the target."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a target rests, and for how long."""

    #: So many failures one after the other open it.
    consecutive_failures: int = 5
    #: So does this share of failures among the last `window` calls, once there were so many.
    failure_rate: float = 0.5
    window: int = 50
    #: The first rest; each probe in vain doubles it, up to `max_rest_s`.
    rest_s: float = 5.0
    max_rest_s: float = 60.0
    #: A probe that has not ended for so long is taken for lost, and the next call is a probe.
    probe_lost_after_s: float = 120.0

    def __post_init__(self) -> None:
        if self.consecutive_failures < 1 or self.window < 1 or not 0 < self.failure_rate <= 1:
            raise ConfigurationError(
                "circuit: consecutive_failures and window are 1 or more, failure_rate is above 0 "
                "and at most 1"
            )
        if not 0 < self.rest_s <= self.max_rest_s or self.probe_lost_after_s <= 0:
            raise ConfigurationError(
                "circuit: rest_s and probe_lost_after_s are above 0, rest_s at most max_rest_s"
            )


class Permit(msgspec.Struct, frozen=True):
    """A call may be made; give it back with its result."""

    generation: int
    probe: bool = False


class Wait(msgspec.Struct, frozen=True):
    """No call now; ask again in so many seconds."""

    after_s: float


class Circuit:
    """One target's circuit. `now_s` is monotonic; calls come from one thread."""

    def __init__(self, policy: CircuitPolicy) -> None:
        self._policy = policy
        self._state = State.CLOSED
        self._generation = 0
        self._in_a_row = 0
        self._recent: deque[bool] = deque(maxlen=policy.window)
        self._rests = 0
        self._open_until_s = 0.0
        self._probe_began_s = 0.0

    @property
    def state(self) -> State:
        """The state; OPEN until the next call is asked for, also when its rest is over."""
        return self._state

    def ask(self, now_s: float) -> Permit | Wait:
        """A permit for one call, or how long to wait."""
        if self._state is State.CLOSED:
            return Permit(self._generation)
        if self._state is State.OPEN:
            left_s = self._open_until_s - now_s
            if left_s > 0:
                return Wait(left_s)
        else:
            left_s = self._probe_began_s + self._policy.probe_lost_after_s - now_s
            if left_s > 0:
                # The probe mostly ends soon; nobody needs to wait until it is given up.
                return Wait(min(left_s, self._policy.rest_s))
        self._enter(State.HALF_OPEN)
        self._probe_began_s = now_s
        return Permit(self._generation, probe=True)

    def succeeded(self, permit: Permit) -> None:
        """The target answered as a working one does."""
        if permit.generation != self._generation:
            return
        self._in_a_row = 0
        self._recent.append(True)
        if self._state is State.HALF_OPEN:
            self._rests = 0
            self._enter(State.CLOSED)

    def failed(self, permit: Permit, now_s: float, rest_s: float = 0.0) -> None:
        """The call failed; `rest_s`: for how long the target itself asks not to be called."""
        if permit.generation != self._generation:
            return
        self._in_a_row += 1
        self._recent.append(False)
        if self._state is State.HALF_OPEN or self._too_many():
            self._open(now_s, rest_s)

    def unused(self, permit: Permit, now_s: float) -> None:
        """The call ended without saying anything of the target, say, it was cancelled."""
        if permit.generation == self._generation and permit.probe:
            self._enter(State.OPEN)
            self._open_until_s = now_s

    def _too_many(self) -> bool:
        policy = self._policy
        if self._in_a_row >= policy.consecutive_failures:
            return True
        failures = self._recent.count(False)
        full = len(self._recent) == policy.window
        return full and failures >= policy.failure_rate * policy.window

    def _open(self, now_s: float, rest_s: float) -> None:
        policy = self._policy
        # 2**32 rests are more than any max_rest_s: the exponent stays small.
        doubled_s = min(policy.max_rest_s, policy.rest_s * 2.0 ** min(self._rests, 32))
        self._rests += 1
        self._enter(State.OPEN)
        self._open_until_s = now_s + max(doubled_s, rest_s)

    def _enter(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._in_a_row = 0
        self._recent.clear()
