"""How far a candidate is: time, events and CPU at each of its calls, in a file of a few bytes.

Stdlib only, as the rivals' processes use it as well. Rates are taken between the first and the
last note, so start-up and rebalance are in none of them.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

_NOTE = struct.Struct("<QQQ")
_EVERY_NS = 5_000_000


class Note(NamedTuple):
    """So many events by then; `cpu_ns` is of the whole process, in user mode and in the kernel."""

    at_ns: int
    events: int
    cpu_ns: int


class Progress:
    """Notes what a candidate has done; the note of the `expected`-th event is never left out."""

    def __init__(self, path: str, expected: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._expected = expected
        self._events = 0
        self._noted_ns = 0

    @property
    def complete(self) -> bool:
        """Whether all that is expected is done."""
        return self._events >= self._expected

    def add(self, events: int) -> None:
        """So many more are done, or are in a transaction that is about to commit."""
        self._events += events
        at_ns = time.monotonic_ns()
        if at_ns - self._noted_ns < _EVERY_NS and not self.complete:
            return
        note = _NOTE.pack(at_ns, self._events, time.process_time_ns())
        os.pwrite(self._file, note, _NOTE.size)
        if not self._noted_ns:
            os.pwrite(self._file, note, 0)
        self._noted_ns = at_ns


def read(path: Path) -> tuple[Note, Note] | None:
    """The first and the last note, or None before there are any."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < 2 * _NOTE.size:
        return None
    return Note(*_NOTE.unpack_from(data)), Note(*_NOTE.unpack_from(data, _NOTE.size))
