"""What the consumer's store holds back, counted within bounds."""

from __future__ import annotations

from typing import Final

from console.pages.attention import Held
from console.visit import Parts
from consumer.stores.operations import Filter
from schemas.errors import HooklineError

#: Parked keys that are counted; more is said to be more.
MAX_COUNTED: Final = 500


def held(parts: Parts) -> Held:
    """The counts, or why they are not known: a page about other things shows anyway."""
    try:
        with parts.operations() as store:
            letters = store.count(Filter())
            keys = store.parked_keys("", None, MAX_COUNTED + 1)
    except HooklineError as error:
        return Held(problem=str(error))
    counted = keys[:MAX_COUNTED]
    return Held(
        dead_letters=letters,
        parked_keys=len(counted),
        parked_events=sum(key.events for key in counted),
        more=len(keys) > MAX_COUNTED,
    )
