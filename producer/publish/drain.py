"""The spool's records on their way to Kafka, as decisions: no clock, no I/O.

One stream, in the order of the numbers. A record leaves it only with its delivery report; when one
fails nothing more is sent until all reports are in, and then the failed ones go first, again in
their order, the first of them alone.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence, Set
from enum import Enum
from typing import Final

from producer.publish.pending import Record
from producer.publish.spool_file import Row

#: In the window of what was sent and has no report yet; what was taken over is beyond it.
MAX_EVENTS: Final = 1_000
MAX_BYTES: Final = 8 * 1024 * 1024


class Verdict(Enum):
    """What a failed record comes to."""

    AGAIN = "again"
    SET_ASIDE = "set aside"


class Entry:
    """One record. `alone`: sent with nothing else in flight, to see whether it is at fault."""

    __slots__ = ("alone", "passed", "record", "row", "sends")

    def __init__(self, row: Row, record: Record, sends: int = 0) -> None:
        self.row = row
        self.record = record
        self.sends = sends
        self.alone = False
        self.passed = False


class Drain:
    """Feed it what is read, sent and reported; `next` says what to send now."""

    def __init__(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._sent: dict[int, Entry] = {}
        self._sent_bytes = 0
        self._again: list[Entry] = []
        self._read: deque[Entry] = deque()
        self._read_bytes = 0
        #: A record failed, and reports are out or nobody has called `resume`.
        self.halted = False
        # The last one of each key that Kafka took while halted. Half of 20,000 may fail: to look at
        # each of them for each of the others would hold up the loop for seconds.
        self._passing: dict[bytes, int] = {}
        #: Records that failed, and found a later one of their key before them in the log.
        self.overtaken = 0

    @property
    def in_flight(self) -> int:
        """How many have no report yet."""
        return len(self._sent)

    @property
    def failed(self) -> int:
        """How many have to be sent again."""
        return len(self._again)

    @property
    def read_events(self) -> int:
        """How many were read and not sent."""
        return len(self._read)

    @property
    def wants_more(self) -> bool:
        """Whether to read on: less than a window's worth waits to be sent."""
        return len(self._read) < self._max_events and self._read_bytes < self._max_bytes

    @property
    def oldest(self) -> Row | None:
        """The first that Kafka is not known to have, of those that are here."""
        sent = next(iter(self._sent.values()), None)
        first = [entry for entry in (sent, *self._again[:1]) if entry is not None]
        if first:
            return min(entry.row for entry in first)
        return self._read[0].row if self._read else None

    def took_over(self, entry: Entry, failed: bool) -> None:
        """One that the direct way has sent: in flight, or failed already."""
        if failed:
            insort(self._again, entry, key=_number)
            self.halted = True
        else:
            self._put(entry)

    def read(self, entries: Sequence[Entry]) -> None:
        """The next rows of the file."""
        self._read.extend(entries)
        self._read_bytes += sum(entry.row.size_bytes for entry in entries)

    def next(self) -> Entry | None:
        """What may be sent now; tell `sent` when it is."""
        if self.halted:
            return None
        source = self._again or self._read
        if not source:
            return None
        entry: Entry = source[0]
        if self._sent and (
            entry.alone
            or len(self._sent) >= self._max_events
            or self._sent_bytes + entry.row.size_bytes > self._max_bytes
            or next(iter(self._sent.values())).alone
        ):
            return None
        return entry

    def sent(self, entry: Entry) -> None:
        """It was given to the client."""
        if self._again:
            self._again.pop(0)
        else:
            self._read.popleft()
            self._read_bytes -= entry.row.size_bytes
        entry.sends += 1
        self._put(entry)

    def acknowledged(self, number: int) -> Entry | None:
        """Kafka has it."""
        entry = self._take(number)
        if entry is not None:
            self.overtaken += entry.passed
            if self.halted:
                key = entry.row.key
                self._passing[key] = max(number, self._passing.get(key, 0))
        return entry

    def fail(self, number: int, permanent: bool) -> tuple[Entry, Verdict] | None:
        """Kafka does not take it; `permanent`: for a reason that may be in the record itself."""
        entry = self._take(number)
        if entry is None:
            return None
        self.halted = True
        if permanent and entry.alone:
            return entry, Verdict.SET_ASIDE
        # A batch is refused as a whole: who is at fault shows when each is sent alone.
        entry.alone = permanent
        insort(self._again, entry, key=_number)
        return entry, Verdict.AGAIN

    def forget(self, numbers: Set[int]) -> None:
        """The spool could not keep them: their senders were told so."""
        for number in numbers:
            self._take(number)
        self._again = [entry for entry in self._again if entry.row.number not in numbers]

    def resume(self) -> bool:
        """Go on after a failure; False while reports are out."""
        if self._sent:
            return False
        self.halted = False
        for entry in self._again:
            if self._passing.get(entry.row.key, 0) > entry.row.number:
                entry.passed = True
        self._passing.clear()
        if self._again:
            self._again[0].alone = True
        return True

    def _put(self, entry: Entry) -> None:
        self._sent[entry.row.number] = entry
        self._sent_bytes += entry.row.size_bytes

    def _take(self, number: int) -> Entry | None:
        entry = self._sent.pop(number, None)
        if entry is not None:
            self._sent_bytes -= entry.row.size_bytes
        return entry


def _number(entry: Entry) -> int:
    return entry.row.number
