"""Who gives no answer: a place as a whole (a Vault, a region, a key vault), or one secret alone.

Bookkeeping of a cache, under its lock. A place that is away is tried by one caller at a time; a
secret at which its place fails, while it answers for others, is tried by itself and costs them
nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from credentials.reference import Reference

#: Remembered; the oldest is forgotten.
_MAX_PLACES: Final = 256
#: Between two tries for a secret that fails alone: doubled up to here.
_MAX_WAIT_S: Final = 60.0
#: What nobody has asked for since is missed by nobody.
_UNWANTED_S: Final = 900.0


class _Silence(msgspec.Struct):
    since_s: float
    why: str
    retry_at_s: float
    wanted_s: float
    wait_s: float
    #: Of a place: what was asked for in vain since its last answer.
    tried: set[Reference] = msgspec.field(default_factory=set)


class Absences:
    """What is silent now, and since when."""

    def __init__(self, *, retry_s: float, hold_s: float, max_entries: int) -> None:
        """`retry_s`: between two tries; `hold_s`: how long one that hangs keeps others from it."""
        self._retry_s = retry_s
        self._hold_s = max(retry_s, hold_s)
        self._max_entries = max_entries
        self._places: OrderedDict[str, _Silence] = OrderedDict()
        self._alone: OrderedDict[Reference, _Silence] = OrderedDict()

    def why(self, place: str, reference: Reference, now_s: float) -> str:
        """Why it is not to be asked for now; empty if it may be."""
        for silence in (self._alone.get(reference), self._places.get(place)):
            if silence is not None:
                silence.wanted_s = now_s
                if now_s < silence.retry_at_s:
                    return silence.why
        return ""

    def begin(
        self, place: str, reference: Reference, now_s: float, others: Iterable[Reference]
    ) -> Reference:
        """What the place is tried with: this, or one of the others, the likeliest first."""
        silence = self._places.get(place)
        if silence is None:
            return reference
        silence.retry_at_s = now_s + self._hold_s
        if not self._doubtful(silence, reference):
            return reference
        for other in others:
            if not self._doubtful(silence, other):
                return other
        silence.tried.clear()
        return reference

    def failed(self, place: str, reference: Reference, why: str, now_s: float) -> bool:
        """It gave no answer; whether that is news of the place, so that another may tell more."""
        silence = self._places.get(place)
        alone = self._alone.get(reference)
        if alone is not None:
            alone.wait_s = min(2 * alone.wait_s, _MAX_WAIT_S)
            alone.retry_at_s, alone.why = now_s + alone.wait_s, why
            if silence is None:
                return False
        news = silence is None
        if silence is None:
            silence = self._places[place] = _Silence(now_s, why, 0.0, now_s, self._retry_s)
            while len(self._places) > _MAX_PLACES:
                self._places.popitem(last=False)
        silence.retry_at_s, silence.why = now_s + self._retry_s, why
        if len(silence.tried) < self._max_entries:
            silence.tried.add(reference)
        return news

    def answered(self, place: str, reference: Reference, now_s: float) -> list[Reference] | None:
        """There was an answer; None if the place was not away, else what it fails at alone."""
        self._alone.pop(reference, None)
        silence = self._places.pop(place, None)
        if silence is None:
            return None
        found = [one for one in silence.tried if one != reference and one not in self._alone]
        for one in found:
            self._alone[one] = _Silence(
                silence.since_s, silence.why, now_s + self._retry_s, now_s, self._retry_s
            )
        while len(self._alone) > self._max_entries:
            self._alone.popitem(last=False)
        return found

    def reconsider(self, place: str, reference: Reference, now_s: float) -> None:
        """Something is new there: this may be asked for at once, and not only after its wait."""
        self._alone.pop(reference, None)
        silence = self._places.get(place)
        if silence is not None:
            silence.retry_at_s = now_s
            silence.tried.discard(reference)

    def silent_s(self, now_s: float) -> float:
        """How long the longest silence is that somebody still waits for the end of; 0 if none."""
        silences = (*self._places.values(), *self._alone.values())
        return max(
            (now_s - one.since_s for one in silences if now_s - one.wanted_s < _UNWANTED_S),
            default=0.0,
        )

    def _doubtful(self, silence: _Silence, reference: Reference) -> bool:
        return reference in silence.tried or reference in self._alone
