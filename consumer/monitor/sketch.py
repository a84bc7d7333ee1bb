"""DDSketch's logarithmic buckets as sparse counts: percentiles within a stated relative error, and
two sketches add up to the sketch of both. Why not a library: docs/decisions/0018-sketches.md.

Masson, Rim, Lee: DDSketch (VLDB 2019): bucket i holds the values in (g^(i-1), g^i] with
g = (1 + e) / (1 - e), and 2 g^i / (g + 1) is within the relative error e of all of them.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

from consumer.monitor.contract import RELATIVE_ERROR

#: Of one measure: how many values lie in each bucket. Bucket 0 is that of the value 0.
Bins = dict[int, int]

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_E: Final = 1 / math.log(_GAMMA)
#: A year in nanoseconds; longer counts as this.
MAX_NS: Final = 31_622_400_000_000_000
MAX_BIN: Final = 1 + math.ceil(math.log(MAX_NS) * _PER_E)
_MIDDLES: Final = (0, *(2 * _GAMMA**i / (_GAMMA + 1) for i in range(MAX_BIN)))
_WIDTHS: Final = ((0xFF, "B"), (0xFFFF, "H"), (0xFFFFFFFF, "I"), (0xFFFFFFFFFFFFFFFF, "Q"))
_CODES: Final = {array(code).itemsize: code for _, code in _WIDTHS}
_HEAD_BYTES: Final = 4


def bin_of(value_ns: int) -> int:
    """The bucket that a value lies in; anything below 0 counts as 0."""
    if value_ns <= 0:
        return 0
    if value_ns >= MAX_NS:
        return MAX_BIN
    return 1 + math.ceil(math.log(value_ns) * _PER_E)


def bins_of(values_ns: Sequence[int], weights: Sequence[int] | None) -> Bins:
    """The sketch of some values, each of which counts as often as its weight says (None: once)."""
    if not values_ns:
        return {}
    if max(values_ns) < MAX_NS:
        log, ceil, per_e = math.log, math.ceil, _PER_E
        numbers = [1 + ceil(log(value) * per_e) if value > 0 else 0 for value in values_ns]
    else:
        numbers = [bin_of(value) for value in values_ns]
    if weights is None:
        return dict(Counter(numbers))
    bins: Bins = {}
    for number, weight in zip(numbers, weights, strict=True):
        bins[number] = bins.get(number, 0) + weight
    return bins


def add(into: Bins, more: Mapping[int, int]) -> None:
    """Add the counts of one sketch to another's."""
    if not into:
        into.update(more)
        return
    get = into.get
    for number, count in more.items():
        into[number] = get(number, 0) + count


def quantiles(bins: Mapping[int, int], shares: Iterable[float]) -> list[int]:
    """The values at these ranks (shares of all, ascending), in ns; 0s for an empty sketch."""
    total = sum(bins.values())
    if not total:
        return [0 for _ in shares]
    found: list[int] = []
    ordered = iter(sorted(bins.items()))
    number, seen = next(ordered)
    for share in shares:
        rank = share * (total - 1)
        while seen <= rank:
            number, count = next(ordered)
            seen += count
        found.append(round(_MIDDLES[number]))
    return found


def pack(sketches: Mapping[int, Bins]) -> bytes:
    """Sketches by the number of their measure as bytes, 3 to 4 for each bucket in use.

    Each is its measure, the bytes of a count, how many buckets; then the buckets' numbers, 2 bytes
    each, and the counts. All little-endian.
    """
    parts = []
    for measure, bins in sketches.items():
        if not bins:
            continue
        highest = max(bins.values())
        code = next(code for most, code in _WIDTHS if highest <= most)
        numbers, counts = array("H", bins), array(code, bins.values())
        if sys.byteorder == "big":
            numbers.byteswap()
            counts.byteswap()
        parts.append(bytes((measure, counts.itemsize)) + len(bins).to_bytes(2, "little"))
        parts.append(numbers.tobytes())
        parts.append(counts.tobytes())
    return b"".join(parts)


def unpack(data: bytes, into: dict[int, Bins], wanted: Container[int] | None = None) -> None:
    """Add what `pack` has made, of the measures that are wanted (None: all), to sketches."""
    place, end = 0, len(data)
    while place < end:
        measure, width = data[place], data[place + 1]
        size = data[place + 2] | data[place + 3] << 8
        place += _HEAD_BYTES
        following = place + size * (2 + width)
        if wanted is None or measure in wanted:
            numbers, counts = array("H"), array(_CODES[width])
            numbers.frombytes(data[place : place + 2 * size])
            counts.frombytes(data[place + 2 * size : following])
            if sys.byteorder == "big":
                numbers.byteswap()
                counts.byteswap()
            bins = into.get(measure)
            if bins is None:
                into[measure] = dict(zip(numbers, counts, strict=True))
            else:
                get = bins.get
                for number, count in zip(numbers, counts, strict=True):
                    bins[number] = get(number, 0) + count
        place = following
