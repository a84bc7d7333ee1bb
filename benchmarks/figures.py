"""Figures of several rounds: the median and the range of each, and ratios pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """A figure over all rounds."""

    median: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        """`median (low-high)`"""
        numbers = (f"{value:,.{digits}f}" for value in (self.median, self.low, self.high))
        return "{} ({}-{})".format(*numbers)


def spread(values: Sequence[float]) -> Spread:
    """The median, the lowest and the highest."""
    return Spread(median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours by theirs, each pair from one round: so what slows the machine slows both."""
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, the first to the left and the others to the right."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def plain(figures: Mapping[str, Spread]) -> dict[str, Any]:
    """As JSON holds them."""
    return {name: msgspec.to_builtins(value) for name, value in figures.items()}
