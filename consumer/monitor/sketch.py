"""DDSketch's logarithmic buckets as sparse counts: percentiles within a stated relative error, and
two sketches add up to the sketch of both. Why not a library: docs/decisions/0030-sketches.md.

Masson, Rim, Lee: DDSketch (VLDB 2019): bucket i holds the values in (g^(i-1), g^i] with
g = (1 + e) / (1 - e), and 2 g^i / (g + 1) is within the relative error e of all of them.

The sketches of several measures are one dictionary: most have a handful of values, and a dictionary
for each measure would cost more than all that is in it.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil, log
from typing import Final

from consumer.monitor.contract import RELATIVE_ERROR

#: How many values lie in each bucket. A bucket's number is its measure's base and, above it, 0 for
#: the value 0, and 1 + i.
Bins = dict[int, int]

#: A year in nanoseconds; longer counts as this.
MAX_NS: Final = 31_622_400_000_000_000
_BITS: Final = 11
_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
PER_E: Final = 1 / math.log(_GAMMA)
_MAX_BIN: Final = 1 + math.ceil(math.log(MAX_NS) * PER_E)
assert _MAX_BIN < 1 << _BITS
_MIDDLES: Final = (0, *(round(2 * _GAMMA**i / (_GAMMA + 1)) for i in range(_MAX_BIN)))
#: The narrowest that holds a count.
_WIDTHS: Final = ((0xFF, "B"), (0xFFFF, "H"), (0xFFFFFFFF, "I"), (0xFFFFFFFFFFFFFFFF, "Q"))
_CODES: Final = {array(code).itemsize: code for _, code in _WIDTHS}


def base(measure: int) -> int:
    """The number of a measure's first bucket; at most 32 measures."""
    return measure << _BITS


def count(bins: Bins, base: int, value_ns: int, weight: int) -> None:
    """Count a value of a measure; below 0 counts as 0."""
    number = base
    if value_ns > 0:
        number += 1 + ceil(log(value_ns if value_ns < MAX_NS else MAX_NS) * PER_E)
    bins[number] = bins.get(number, 0) + weight


def add(into: Bins, more: Mapping[int, int]) -> None:
    """Add other counts."""
    if not into:
        into.update(more)
        return
    get = into.get
    for number, by in more.items():
        into[number] = get(number, 0) + by


def quantiles(
    bins: Mapping[int, int], measures: Iterable[int], shares: Sequence[float]
) -> dict[int, tuple[int, list[int]]]:
    """How many values each measure has, and those at these ranks (shares of all), in ns.

    Measures without values are left out.
    """
    numbers = sorted(bins)
    found = {}
    for measure in measures:
        begin = bisect_left(numbers, base(measure))
        end = bisect_left(numbers, base(measure + 1), begin)
        if begin == end:
            continue
        mine = numbers[begin:end]
        sums = list(accumulate(map(bins.__getitem__, mine)))
        last, first = sums[-1] - 1, base(measure)
        found[measure] = (
            sums[-1],
            [_MIDDLES[mine[bisect_right(sums, int(share * last))] - first] for share in shares],
        )
    return found


def pack(bins: Mapping[int, int]) -> bytes:
    """Counts as bytes: how many bytes a count has, the buckets' numbers of 2 bytes each, ascending,
    and their counts; little-endian."""
    if not bins:
        return b""
    numbers = sorted(bins)
    highest = max(bins.values())
    code = next(code for most, code in _WIDTHS if highest <= most)
    keys, counts = array("H", numbers), array(code, map(bins.__getitem__, numbers))
    if sys.byteorder == "big":
        keys.byteswap()
        counts.byteswap()
    return bytes((counts.itemsize,)) + keys.tobytes() + counts.tobytes()


def unpack(data: bytes, into: Bins) -> None:
    """Add what `pack` has made to counts."""
    if not data:
        return
    width = data[0]
    size = (len(data) - 1) // (2 + width)
    keys, counts = array("H"), array(_CODES[width])
    keys.frombytes(data[1 : 1 + 2 * size])
    counts.frombytes(data[1 + 2 * size :])
    if sys.byteorder == "big":
        keys.byteswap()
        counts.byteswap()
    if not into:
        into.update(zip(keys, counts, strict=True))
        return
    get = into.get
    for number, by in zip(keys, counts, strict=True):
        into[number] = get(number, 0) + by
