"""What becomes of an event: a table from (what happened, policy) to what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What came of one attempt; safe as a metric label."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    REFETCHED = "refetched"
    UNHANDLED = "unhandled"
    PARKED = "parked"
    DEAD_LETTERED = "dead_lettered"
    #: A failure that may pass, within the retry budget, and beyond it.
    TRANSIENT = "transient"
    EXHAUSTED = "exhausted"
    #: The same beyond the budget, while there is no room to park it.
    NO_ROOM = "no_room"
    #: The same of an event that is parked already: within the time that it may be, and beyond.
    PARKED_TRANSIENT = "parked_transient"
    PARKED_EXHAUSTED = "parked_exhausted"
    #: A failure that no retry can mend.
    PERMANENT = "permanent"
    POISON = "poison"


class Policy(StrEnum):
    """What to do with an event that keeps failing."""

    #: Hold it and all later events of its key in the store, try again in order; others go on.
    PARK = "park"
    #: Keep it as a dead letter; its lane goes on.
    SKIP = "skip"
    #: Hold its lane in memory and keep trying; other lanes go on.
    BLOCK = "block"
    #: End the process, for somebody to look.
    STOP = "stop"


class Action(StrEnum):
    """What the engine does next."""

    DONE = "done"
    RETRY = "retry"
    PARK = "park"
    #: It stays parked and is tried again later.
    POSTPONE = "postpone"
    DEAD_LETTER = "dead_letter"
    STOP = "stop"


_O, _A, _P = Outcome, Action, Policy

#: The same whatever the policy.
_ALWAYS: Final = {
    _O.APPLIED: _A.DONE,
    _O.DUPLICATE: _A.DONE,
    _O.STALE: _A.DONE,
    _O.REFETCHED: _A.DONE,
    _O.UNHANDLED: _A.DONE,
    _O.PARKED: _A.DONE,
    _O.DEAD_LETTERED: _A.DONE,
    _O.TRANSIENT: _A.RETRY,
    _O.NO_ROOM: _A.RETRY,
    _O.PARKED_TRANSIENT: _A.POSTPONE,
    _O.PARKED_EXHAUSTED: _A.DEAD_LETTER,
    # A payload that cannot be read says nothing of its sender's next one: the rest goes on.
    _O.POISON: _A.DEAD_LETTER,
}

TABLE: Final[dict[tuple[Outcome, Policy], Action]] = {
    **{(outcome, policy): action for outcome, action in _ALWAYS.items() for policy in Policy},
    (_O.EXHAUSTED, _P.PARK): _A.PARK,
    (_O.EXHAUSTED, _P.SKIP): _A.DEAD_LETTER,
    (_O.EXHAUSTED, _P.BLOCK): _A.RETRY,
    (_O.EXHAUSTED, _P.STOP): _A.STOP,
    # No retry helps these; held back, they would hold their lane for ever.
    (_O.PERMANENT, _P.PARK): _A.DEAD_LETTER,
    (_O.PERMANENT, _P.SKIP): _A.DEAD_LETTER,
    (_O.PERMANENT, _P.BLOCK): _A.DEAD_LETTER,
    (_O.PERMANENT, _P.STOP): _A.STOP,
}


def dispose(outcome: Outcome, policy: Policy) -> Action:
    """The action for an outcome under a policy."""
    return TABLE[outcome, policy]
