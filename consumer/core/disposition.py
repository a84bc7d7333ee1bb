"""What becomes of an event: a table from (what happened, policy) to what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What came of one attempt; safe as a metric label."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    UNHANDLED = "unhandled"
    TRANSIENT = "transient"
    EXHAUSTED = "exhausted"
    PERMANENT = "permanent"
    POISON = "poison"
    DEAD_LETTERED = "dead_lettered"


class Policy(StrEnum):
    """What to do with an event that keeps failing."""

    #: Hold its lane and keep trying; other lanes go on.
    BLOCK = "block"
    #: Keep it as a dead letter; its lane goes on.
    SKIP = "skip"


class Action(StrEnum):
    """What the engine does next."""

    DONE = "done"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


_O, _A = Outcome, Action

TABLE: Final[dict[tuple[Outcome, Policy], Action]] = {
    (_O.APPLIED, Policy.BLOCK): _A.DONE,
    (_O.APPLIED, Policy.SKIP): _A.DONE,
    (_O.DUPLICATE, Policy.BLOCK): _A.DONE,
    (_O.DUPLICATE, Policy.SKIP): _A.DONE,
    (_O.UNHANDLED, Policy.BLOCK): _A.DONE,
    (_O.UNHANDLED, Policy.SKIP): _A.DONE,
    (_O.DEAD_LETTERED, Policy.BLOCK): _A.DONE,
    (_O.DEAD_LETTERED, Policy.SKIP): _A.DONE,
    (_O.TRANSIENT, Policy.BLOCK): _A.RETRY,
    (_O.TRANSIENT, Policy.SKIP): _A.RETRY,
    (_O.EXHAUSTED, Policy.BLOCK): _A.RETRY,
    (_O.EXHAUSTED, Policy.SKIP): _A.DEAD_LETTER,
    # No retry helps these; held back, they would hold their lane for ever.
    (_O.PERMANENT, Policy.BLOCK): _A.DEAD_LETTER,
    (_O.PERMANENT, Policy.SKIP): _A.DEAD_LETTER,
    (_O.POISON, Policy.BLOCK): _A.DEAD_LETTER,
    (_O.POISON, Policy.SKIP): _A.DEAD_LETTER,
}


def dispose(outcome: Outcome, policy: Policy) -> Action:
    """The action for an outcome under a policy."""
    return TABLE[outcome, policy]
