"""The gateway's local durable queue while Kafka is away: one writer thread, group commit.

All counting is on the event loop; the thread gets one change at a time and wakes the loop once when
it is on the disk. What comes meanwhile is the next change, so the slower the disk, the larger they
are.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from producer.publish.pending import SPOOLED, Acknowledged, Record
from producer.publish.spool_file import Change, Row, SpoolFile, pack_headers
from schemas.errors import SpoolFailed, SpoolFull

log = logging.getLogger("hookline.spool")

#: How often a disk that has failed is tried again.
_RETRY_S: Final = 1.0
#: On their way to the disk, in memory. A sender that goes away gives its own share back sooner.
_MAX_UNCOMMITTED: Final = 20_000
_MAX_UNCOMMITTED_BYTES: Final = 64 * 1024 * 1024

Waiter = asyncio.Future[Acknowledged]


class _Work:
    """What the thread is to do in one turn: a change first, then reads, which see it."""

    def __init__(self) -> None:
        self.appended: list[Row] = []
        self.waiters: list[Waiter | None] = []
        self.removed: list[int] = []
        self.refused: list[tuple[int, str]] = []
        self.never = (0, -1)
        self.reads: list[tuple[int, int, int]] = []
        self.readers: list[asyncio.Future[list[Row]]] = []
        self.check = False
        self.shrink = False
        # What came of it.
        self.append_done = False
        self.removal_done = False
        self.rows: list[list[Row]] = []
        self.problem: SpoolFailed | None = None

    def __bool__(self) -> bool:
        return bool(
            self.appended or self.removed or self.refused or self.reads or self.check or self.shrink
        )


class Spool:
    """Used on one event loop, which must run when it is made; the counts may be read anywhere."""

    def __init__(
        self,
        file: SpoolFile,
        *,
        max_bytes: int,
        committed: Callable[[], None] = lambda: None,
        lost: Callable[[Set[int]], None] = lambda numbers: None,
        run: Callable[[Callable[[], None]], Any] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`committed` is called after each turn, `lost` with the numbers that it could not keep;
        `run` runs turns in place of a thread of ours.
        """
        self._loop = asyncio.get_running_loop()
        self._file = file
        self._clock_ms = clock_ms
        self.committed = committed
        self.lost = lost
        self._thread = None if run is not None else ThreadPoolExecutor(1, "hookline-spool")
        self._run = run or self._thread.submit  # type: ignore[union-attr]
        totals = file.totals()
        self.max_bytes = max_bytes
        #: Held and not known to be in Kafka, with those on their way to the disk.
        self.events = totals.events
        self.bytes = totals.bytes
        self.uncommitted = self.uncommitted_bytes = 0
        #: In Kafka, and not removed on the disk yet: what a crash would send once more.
        self.removing = 0
        self.refused = totals.refused
        self.refused_bytes = totals.refused_bytes
        self.oldest_ms = totals.oldest_ms
        self.last_number = totals.last_number
        self.was_killed = file.was_killed
        #: All that were ever safe here, and commits, since the start.
        self.spooled_total = 0
        self.commits = 0
        #: Why the last turn failed; empty when the disk works.
        self.problem = ""
        self._work = _Work()
        self._busy = False
        self._kicked = False
        self._retrying = False
        self._closing: asyncio.Future[None] | None = None
        if not file.marked:
            self._work.check = True
            self._kick()

    def append(self, record: Record, waiter: Waiter | None, *, produced: bool = False) -> Row:
        """Take it in, behind all others; `waiter` ends when it is on the disk, or SpoolFailed.

        Raises SpoolFull at the bound.
        """
        topic, key, value, headers = record
        row = Row(
            self.last_number + 1,
            topic,
            key,
            value,
            pack_headers(headers),
            self._clock_ms(),
            produced,
        )
        size = row.size_bytes
        if self.bytes + self.refused_bytes + size > self.max_bytes:
            raise SpoolFull(
                f"the spool holds {self.events} events, {self.bytes + self.refused_bytes} bytes: "
                "the bound is reached"
            )
        self.last_number = row.number
        if not self.events:
            self.oldest_ms = row.spooled_ms
        self.events += 1
        self.bytes += size
        self.uncommitted += 1
        self.uncommitted_bytes += size
        self._work.appended.append(row)
        self._work.waiters.append(waiter)
        self._kick()
        return row

    def remove(self, row: Row) -> None:
        """Kafka has it. Until that is on the disk, a crash sends it once more."""
        self._gone(row)
        self.removing += 1
        self._work.removed.append(row.number)
        self._kick()

    def set_aside(self, row: Row, reason: str) -> None:
        """Kafka refuses it for good: keep it out of the way, for a person. It counts as bytes."""
        self._gone(row)
        self.refused += 1
        self.refused_bytes += row.size_bytes
        self._work.refused.append((row.number, reason))
        self._kick()

    def read(self, after: int, max_events: int, max_bytes: int) -> asyncio.Future[list[Row]]:
        """The next rows that are on the disk; SpoolFailed when it does not give them."""
        future: asyncio.Future[list[Row]] = self._loop.create_future()
        self._work.reads.append((after, max_events, max_bytes))
        self._work.readers.append(future)
        self._kick()
        return future

    def shrink(self) -> None:
        """Give free space back to the file system, piece by piece, while nothing else is to do."""
        self._work.shrink = True
        self._kick()

    @property
    def clogged(self) -> bool:
        """Whether so much waits for the disk that no more may, until the next commit."""
        return (
            self.uncommitted >= _MAX_UNCOMMITTED or self.uncommitted_bytes >= _MAX_UNCOMMITTED_BYTES
        )

    def ready(self) -> tuple[bool, str]:
        """Whether it can take an event, and if not, why."""
        if self.problem:
            return False, self.problem
        if self.bytes + self.refused_bytes >= self.max_bytes:
            return False, f"the spool is full: {self.bytes + self.refused_bytes} bytes"
        return True, ""

    async def close(self) -> None:
        """Do what is to be done, and let go of the file. Nothing may be appended any more."""
        while self._busy or self._kicked or (self._work and not self.problem):
            self._closing = self._loop.create_future()
            await self._closing
        if self._thread is not None:
            self._thread.shutdown()
        self._file.close()

    def _gone(self, row: Row) -> None:
        self.events -= 1
        self.bytes -= row.size_bytes

    def _kick(self) -> None:
        if not self._busy and not self._kicked:
            # Not at once: what else this pass of the loop brings goes along.
            self._kicked = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._kicked = False
        if self._busy or not self._work:
            return
        work, self._work = self._work, _Work()
        self._busy = True
        self._run(lambda: self._turn(work))

    def _turn(self, work: _Work) -> None:
        """On the thread, whose top this is."""
        try:
            self._carry_out(work)
        except SpoolFailed as error:
            work.problem = error
            work.removal_done = work.removal_done or self._only_remove(work)
            self._only_read(work)
        except Exception as error:
            log.exception("a turn of the spool failed")
            work.problem = SpoolFailed(f"a fault of the spool: {type(error).__name__}")
        self._loop.call_soon_threadsafe(self._done, work)

    def _carry_out(self, work: _Work) -> None:
        if work.appended or work.removed or work.refused or work.never[0]:
            self._file.write(Change(work.appended, work.removed, work.refused, work.never))
        work.append_done = work.removal_done = True
        for after, events, size in work.reads:
            work.rows.append(self._file.read(after, events, size))
        if work.check:
            self._file.check()
        if work.shrink:
            work.shrink = self._file.shrink()

    def _only_remove(self, work: _Work) -> bool:
        # On a full disk this may go, in pages that the log has already; and it makes room.
        try:
            self._file.write(Change((), work.removed, work.refused, work.never))
        except SpoolFailed:
            return False
        return True

    def _only_read(self, work: _Work) -> None:
        # A full disk gives what it holds: Kafka is to have it, though it cannot be removed here.
        # Of what was not kept some may be there all the same, and is to be sent by its sender.
        failed = [] if work.append_done else [row.number for row in work.appended[:1]]
        failed += [] if work.removal_done or not work.never[0] else [work.never[0]]
        with suppress(SpoolFailed):
            for after, events, size in work.reads[len(work.rows) :]:
                rows = self._file.read(after, events, size)
                work.rows.append(
                    [row for row in rows if row.number < min(failed, default=math.inf)]
                )

    def _done(self, work: _Work) -> None:
        problem = work.problem
        self._busy = False
        self.commits += 1
        self.uncommitted -= len(work.appended)
        self.uncommitted_bytes -= sum(row.size_bytes for row in work.appended)
        if work.append_done:
            self.spooled_total += len(work.appended)
            for waiter in work.waiters:
                if waiter is not None and not waiter.done():
                    waiter.set_result(SPOOLED)
        if not work.removal_done:
            # They are in Kafka all the same; from the file they go with the next turn that works.
            self._work.removed[:0] = work.removed
            self._work.refused[:0] = work.refused
            self._work.never = work.never
        else:
            self.removing -= len(work.removed)
        if work.appended and not work.append_done:
            self._lost(work)
        for at, waiting in enumerate(work.readers):
            if waiting.done():
                continue
            if at < len(work.rows):
                waiting.set_result(work.rows[at])
            else:
                waiting.set_exception(problem or SpoolFailed("the spool was not read"))
        self._tell(problem)
        if problem is None:
            self._work.shrink = self._work.shrink or (work.shrink and not self.events)
        self.committed()
        if problem is None or self._work.appended or self._work.reads:
            if self._work:
                self._kick()
        elif not self._retrying:
            self._retrying = True
            self._loop.call_later(_RETRY_S, self._try_again)
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)

    def _lost(self, work: _Work) -> None:
        # Kafka may have been faster with what was in flight: that is counted out already.
        ended = {number for one in (work, self._work) for number in one.removed}
        ended |= {number for one in (work, self._work) for number, _ in one.refused}
        self._work.never = (
            self._work.never[0] or work.appended[0].number,
            work.appended[-1].number,
        )
        for row, waiter in zip(work.appended, work.waiters, strict=True):
            if row.number not in ended:
                self._gone(row)
            if waiter is not None and not waiter.done():
                waiter.set_exception(SpoolFailed(f"the spool could not keep it: {work.problem}"))
        # Not by the waiters, who may have gone: what is counted out here must not be once more.
        self.lost({row.number for row in work.appended})

    def _try_again(self) -> None:
        # An unready gateway gets no webhooks that would show that the disk works again.
        self._retrying = False
        if self.problem and self._closing is None:
            self._work.check = True
            self._kick()

    def _tell(self, failed: SpoolFailed | None) -> None:
        problem = "" if failed is None else str(failed)
        if problem and not self.problem:
            log.error(
                "the spool's disk does not work: webhooks are answered 503 while Kafka is away",
                extra={"data": {"reason": problem}},
            )
        elif self.problem and not problem:
            log.info("the spool's disk works again")
        self.problem = problem
