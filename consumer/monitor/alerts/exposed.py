"""Which names of samples a /metrics page of Hookline can have: what a rule may look at."""

from __future__ import annotations

import difflib
from typing import Final

from schemas import metrics

#: Whether a process answered its scraper: made by the scraper, ours as Prometheus.
UP: Final = "up"
_SUFFIXES: Final = ("_total", "_bucket", "_count", "_sum")
_NAMES: Final = frozenset(
    value
    for value in vars(metrics).values()
    if isinstance(value, str) and value.startswith("hookline_")
)


def is_exposed(name: str) -> bool:
    """Whether a sample can have this name."""
    if name == UP or name in _NAMES:
        return True
    return any(name.endswith(end) and name.removesuffix(end) in _NAMES for end in _SUFFIXES)


def hint(name: str) -> str:
    """A few words that name what may have been meant; empty if nothing is near."""
    near = difflib.get_close_matches(name, [*_NAMES, *(f"{n}_total" for n in _NAMES)], 1, 0.7)
    return f"; did you mean {near[0]}?" if near else ""
