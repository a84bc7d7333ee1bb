"""Finding a system by what a customer types: part of a name, an alias, a category, mistyped.

A hundred entries or a thousand: each is looked at on every key stroke, so a look costs little and
what is typed is bounded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Final, Protocol, cast

import msgspec

from producer.connect.system import System

_MAX_CHARS: Final = 60
_MAX_WORDS: Final = 6
_WORD: Final = re.compile(r"[a-z0-9]+")
_ANY: Final = "any-"

# How well a word fits, best first; a sum over the words ranks.
_SAME: Final = 100
_BEGINS: Final = 80
_WITHIN: Final = 50
_MISTYPED: Final = 60
_PER_MISTAKE: Final = 15
# What of an entry it was found in: its name counts most, what it says about itself least.
_NAME: Final = 1.0
_ALIAS: Final = 0.95
_CATEGORY: Final = 0.7
_ABOUT: Final = 0.3


class Systems(Protocol):
    """What is searched."""

    def all(self) -> Sequence[System]:
        """All of them, by name."""


class _Entry(msgspec.Struct, frozen=True):
    """A system's words, and how much each of them counts: the most of where it stands."""

    system: System
    words: tuple[tuple[str, float], ...]


def search(catalogue: Systems, text: str, limit: int = 20) -> list[System]:
    """The systems that fit, best first; all of them, by name, where nothing is typed."""
    words = _words(text[:_MAX_CHARS])[:_MAX_WORDS]
    if not words:
        return list(catalogue.all())[:limit]
    entries, vocabulary = _index(cast(Hashable, catalogue))
    scores = _scores(words, entries, vocabulary)
    if len(words) > 1:
        # "git hub" and "pager duty": what was written apart.
        joined = _scores(["".join(words)], entries, vocabulary)
        scores = [max(pair) for pair in zip(scores, joined, strict=True)]
    found = [
        (-score, entry.system.id.startswith(_ANY), entry.system.name, entry.system)
        for score, entry in zip(scores, entries, strict=True)
        if score > 0
    ]
    return [system for *_, system in sorted(found, key=lambda one: one[:3])][:limit]


def _scores(
    words: list[str], entries: tuple[_Entry, ...], vocabulary: frozenset[str]
) -> list[float]:
    """For each entry the mean over the words; 0 where one of them fits nothing."""
    # Each word of all entries is compared once, however many entries have it.
    fitting = [
        {candidate: score for candidate in vocabulary if (score := fits(word, candidate))}
        for word in words
    ]
    plain = [
        {candidate: fits(word, candidate, slips=False) for candidate in found}
        for word, found in zip(words, fitting, strict=True)
    ]
    return [_score(entry, fitting, plain) for entry in entries]


def _score(entry: _Entry, fitting: list[dict[str, int]], plain: list[dict[str, int]]) -> float:
    total = 0.0
    for found, exact in zip(fitting, plain, strict=True):
        best = 0.0
        for candidate, weight in entry.words:
            if candidate in found:
                # In whole sentences a slip would find too much.
                score = found[candidate] if weight > _ABOUT else exact[candidate]
                best = max(best, weight * score)
        if best == 0.0:
            return 0.0
        total += best
    return total / len(fitting)


def fits(word: str, candidate: str, slips: bool = True) -> int:
    """How well what is typed fits a word of an entry: 100 the same, 0 not at all."""
    if word == candidate:
        return _SAME
    if candidate.startswith(word):
        # The more of it is typed, the surer.
        return _BEGINS + 15 * len(word) // len(candidate)
    allowed = _allowed(word) if slips else 0
    if allowed:
        # Also of a beginning: "shopfy" for "shopify", and "pagerdu" typed "pagredu".
        beginnings = {candidate, candidate[: len(word)], candidate[: len(word) + 1]}
        mistakes = min(_distance(word, one, allowed) for one in beginnings)
        if mistakes <= allowed:
            return _MISTYPED - _PER_MISTAKE * (mistakes - 1)
    if len(word) >= 3 and word in candidate:
        return _WITHIN
    return 0


def _allowed(word: str) -> int:
    """How many slips are forgiven: none in three letters, where anything would fit."""
    return 0 if len(word) < 4 else 1 if len(word) < 7 else 2


def _distance(one: str, other: str, most: int) -> int:
    """Letters that are missing, too many, other or swapped with their neighbour (Damerau and
    Levenshtein, each place changed once); `most` + 1 where there are more than `most`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, candidate in enumerate(other, 1):
            cost = min(
                last[column] + 1,
                current[column - 1] + 1,
                last[column - 1] + (letter != candidate),
            )
            swapped = (
                row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == candidate
            )
            if swapped:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        if min(current) > most:
            return most + 1
        before, last = last, current
    return min(last[-1], most + 1)


@lru_cache(maxsize=4)
def _index(catalogue: Systems) -> tuple[tuple[_Entry, ...], frozenset[str]]:
    entries = tuple(_entry(system) for system in catalogue.all())
    return entries, frozenset(word for entry in entries for word, _ in entry.words)


def _entry(system: System) -> _Entry:
    weights: dict[str, float] = {}
    for weight, words in (
        (_NAME, _group((system.name,))),
        (_ALIAS, _group(tuple(system.aliases))),
        (_CATEGORY, _group(tuple(system.categories))),
        (_ABOUT, frozenset(_words(system.about))),
    ):
        for word in words:
            weights.setdefault(word, weight)
    return _Entry(system, tuple(weights.items()))


def _group(texts: tuple[str, ...]) -> frozenset[str]:
    """The words of each, and each written in one."""
    words = [_words(text) for text in texts]
    return frozenset(word for some in words for word in (*some, "".join(some)))


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))
