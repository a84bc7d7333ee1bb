"""Events to Kafka, or to the spool while Kafka does not take them: one circuit, one order.

Closed, `publish` *is* the publisher's. When Kafka falls, everything in flight is written to the
spool and every new event behind it; the client keeps what it has in its stream, so a late report
takes the event out of the spool again. What has no place in the stream yet is drained into it, in
order. Before the circuit closes, new events wait in memory, for milliseconds, until Kafka has all
that was spooled: none can overtake.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from functools import partial
from typing import Final, Protocol

from producer.publish.drain import MAX_BYTES, MAX_EVENTS, Drain, Entry, Verdict
from producer.publish.fallback import PERMANENT
from producer.publish.pending import Acknowledged, Headers, Pending, Record
from producer.publish.publisher import KafkaPublisher
from producer.publish.spool import Spool
from producer.publish.spool_file import Row, unpack_headers
from schemas.errors import Overloaded, PublisherClosed, PublishError, SpoolFailed
from schemas.event import HEADER_REQUEST_ID

log = logging.getLogger("hookline.spool")

#: So few events not sent yet, and the circuit tries to close: new ones are held in memory.
_NEARLY_EMPTY: Final = 200
_MAX_HELD: Final = 5_000
_MAX_HELD_BYTES: Final = 16 * 1024 * 1024
_MAX_HOLD_S: Final = 0.5
#: Between two tries to close the circuit, and between two tries to read the file.
_PAUSE_S: Final = 1.0
_FIRST_RETRY_S: Final = 0.5
_MAX_RETRY_S: Final = 10.0


class Circuit(Enum):
    """Where an event goes: Kafka, the spool, or it waits for the last of the spool."""

    CLOSED = "closed"
    OPEN = "open"
    CLOSING = "closing"


class Publish(Protocol):
    """How the gateway hands an event over."""

    def __call__(
        self, topic: str, key: bytes, value: bytes, headers: Headers
    ) -> asyncio.Future[Acknowledged]: ...


class SpoolingSink:
    """Made before its publisher, whose fallback it is; `start` begins. All on one event loop."""

    def __init__(
        self, spool: Spool, *, window_events: int = MAX_EVENTS, window_bytes: int = MAX_BYTES
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._window_events = window_events
        self._window_bytes = window_bytes
        self._drain = Drain(window_events, window_bytes)
        self._publisher: KafkaPublisher
        #: Swapped as the circuit opens and closes, so that the direct way costs nothing more.
        self.publish: Publish = self._into_spool
        self.circuit = Circuit.OPEN
        self.drained = 0
        #: Sent, and perhaps in the log before: an upper bound.
        self.possible_duplicates = 0
        # After a kill -9 in the drain: its window, and as many whose removal was under way.
        self._doubtful = min(spool.events, 2 * MAX_EVENTS) if spool.was_killed else 0
        self._held: deque[tuple[Record, asyncio.Future[Acknowledged]]] = deque()
        self._held_bytes = 0
        self._hold_timer: asyncio.TimerHandle | None = None
        self._pausing = False
        self._read_to = 0
        self._reading = False
        self._retry_s = _FIRST_RETRY_S
        self._refusal = ""
        self._resuming = False
        self._stepping = False
        self._stopped = False
        spool.committed, spool.lost = self._wake, self._drain.forget

    def start(self, publisher: KafkaPublisher) -> None:
        """Drain what an earlier process has left, and what comes meanwhile behind it."""
        self._publisher = publisher
        if self._spool.events:
            log.warning(
                "the spool holds events of an earlier process: they go to Kafka first",
                extra={"data": {"events": self._spool.events, "bytes": self._spool.bytes}},
            )
        self._wake()

    @property
    def spool(self) -> Spool:
        """For its counts."""
        return self._spool

    @property
    def overtaken(self) -> int:
        """See `Drain.overtaken`."""
        return self._drain.overtaken

    def ready(self) -> tuple[bool, str]:
        """Whether Kafka or the spool takes events now, and if not, why."""
        good, reason = self._publisher.ready()
        if good and self.circuit is Circuit.CLOSED:
            return True, ""
        if self._stopped:
            return False, "stopping"
        takes, problem = self._spool.ready()
        if takes:
            return True, f"events go to the spool, which holds {self._spool.events}" + (
                f": {reason}" if reason else ""
            )
        return False, f"{problem}; Kafka: {reason or 'the spool is being drained'}"

    async def close(self, within_s: float) -> bool:
        """Take nothing new; what Kafka does not acknowledge in time stays in the spool."""
        self.publish = self._refuse
        self._stopped = True
        self._release_into_spool()
        clean = await self._publisher.close(within_s)
        await self._spool.close()
        if self._spool.events:
            log.warning(
                "stopped with events in the spool: the next start drains them",
                extra={"data": {"events": self._spool.events, "bytes": self._spool.bytes}},
            )
        return clean and not self._spool.problem

    # The publisher's side.

    def take_over(self, pending: list[Pending]) -> None:
        """Kafka fell: spool what is in flight, in its order; new events go behind it."""
        self._release_into_spool()
        if self.circuit is Circuit.CLOSED and not self._stopped:
            self.circuit = Circuit.OPEN
            self.publish = self._into_spool
        taken = 0
        for one in pending:
            try:
                row = self._spool.append(one.record, one.future, produced=True)
            except PublishError as error:
                one.future.set_exception(error)
                continue
            taken += 1
            one.number = row.number
            self._drain.took_over(Entry(row, one.record, sends=1), failed=one.settled)
            self._read_to = row.number
        if taken:
            log.warning("in flight to Kafka, now in the spool", extra={"data": {"events": taken}})
        self._wake()

    def keep(
        self, record: Record, future: asyncio.Future[Acknowledged]
    ) -> asyncio.Future[Acknowledged]:
        """One that Kafka refused at once."""
        self._spool.append(record, future)
        return future

    def reported(self, pending: Pending) -> None:
        """A delivery report of what the spool holds."""
        error, number = pending.error, pending.number
        if error is None:
            entry = self._drain.acknowledged(number)
            if entry is not None:
                self.drained += 1
                self._retry_s = _FIRST_RETRY_S
                self._spool.remove(entry.row)
        else:
            self._refusal = error.str()
            failed = self._drain.fail(number, error.code() in PERMANENT)
            if failed is not None:
                self._failed(*failed, self._refusal)
        self._wake()

    def available(self) -> None:
        """Kafka may take events again."""
        self._wake()

    # Where `publish` leads.

    def _into_spool(
        self, topic: str, key: bytes, value: bytes, headers: Headers
    ) -> asyncio.Future[Acknowledged]:
        if self._spool.clogged:
            raise Overloaded(f"{self._spool.uncommitted} events wait for the spool's disk")
        future: asyncio.Future[Acknowledged] = self._loop.create_future()
        self._spool.append((topic, key, value, headers), future)
        return future

    def _hold(
        self, topic: str, key: bytes, value: bytes, headers: Headers
    ) -> asyncio.Future[Acknowledged]:
        future: asyncio.Future[Acknowledged] = self._loop.create_future()
        self._held.append(((topic, key, value, headers), future))
        self._held_bytes += len(value)
        if len(self._held) >= _MAX_HELD or self._held_bytes >= _MAX_HELD_BYTES:
            self._release_into_spool()
        return future

    def _refuse(
        self, topic: str, key: bytes, value: bytes, headers: Headers
    ) -> asyncio.Future[Acknowledged]:
        raise PublisherClosed("the gateway is stopping: send again to another replica")

    # The drain.

    def _wake(self) -> None:
        if not self._stepping and not self._stopped:
            self._stepping = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._stepping = False
        if self._stopped or self.circuit is Circuit.CLOSED:
            return
        self._read_on()
        # The publisher's probes, and then the first of these, find out whether Kafka is back.
        if self._publisher.ready()[0]:
            if self._drain.halted:
                self._resume_later()
            self._send()
            self._try_to_close()
        oldest = self._drain.oldest
        if oldest is not None:
            self._spool.oldest_ms = oldest.spooled_ms

    def _read_on(self) -> None:
        if not self._reading and self._drain.wants_more and self._read_to < self._spool.last_number:
            self._reading = True
            reading = self._spool.read(self._read_to, self._window_events, self._window_bytes)
            reading.add_done_callback(partial(self._have_read, self._spool.last_number))

    def _have_read(self, up_to: int, reading: asyncio.Future[list[Row]]) -> None:
        try:
            # The circuit may have closed meanwhile, and opened with what was in flight.
            rows = [row for row in reading.result() if row.number > self._read_to]
        except SpoolFailed:
            self._loop.call_later(_PAUSE_S, self._read_again)
            return
        self._reading = False
        if rows:
            self._read_to = rows[-1].number
            self._drain.read(
                [
                    Entry(row, (row.topic, row.key, row.value, unpack_headers(row.headers)))
                    for row in rows
                ]
            )
            self._wake()
        else:
            # All until there were written before this read, or could not be.
            self._read_to = max(up_to, self._read_to)

    def _read_again(self) -> None:
        self._reading = False
        self._wake()

    def _send(self) -> None:
        spool = self._spool
        while (entry := self._drain.next()) is not None:
            if spool.removing >= self._window_events and not spool.problem:
                return  # The next commit makes room. A disk that fails must not hold it up.
            try:
                self._publisher.send_spooled(entry.record, entry.row.number)
            except Overloaded:
                # The next report makes room. Of those that are not the spool's we are not told.
                if not self._drain.in_flight:
                    self._pause()
                return
            if entry.sends or entry.row.produced or self._doubtful:
                self.possible_duplicates += 1
            self._doubtful -= self._doubtful > 0
            self._drain.sent(entry)

    def _failed(self, entry: Entry, verdict: Verdict, reason: str) -> None:
        if verdict is Verdict.SET_ASIDE:
            self._spool.set_aside(entry.row, reason)
            log.error(
                "Kafka refuses a spooled event for good: set aside, see `hookline spool status`",
                extra={
                    "request_id": _request_id(entry.record[3]),
                    "data": {
                        "reason": reason,
                        "topic": entry.row.topic,
                        "bytes": entry.row.size_bytes,
                        "number": entry.row.number,
                    },
                },
            )

    def _resume_later(self) -> None:
        if not self._resuming and not self._drain.in_flight:
            self._resuming = True
            failed, reason = self._drain.failed, self._refusal
            data = {"in_s": self._retry_s, "failed": failed, "reason": reason}
            log.warning(
                "the drain of the spool goes on soon, from the first event that failed",
                extra={"data": data},
            )
            self._loop.call_later(self._retry_s, self._resume)
            self._retry_s = min(2 * self._retry_s, _MAX_RETRY_S)

    def _resume(self) -> None:
        self._resuming = False
        self._drain.resume()
        self._wake()

    # Opening and closing.

    def _try_to_close(self) -> None:
        waiting = self._spool.events - self._drain.in_flight
        if (
            self.circuit is Circuit.OPEN
            and waiting <= _NEARLY_EMPTY
            and not self._drain.halted
            and not self._pausing
        ):
            self.circuit = Circuit.CLOSING
            self.publish = self._hold
            self._hold_timer = self._loop.call_later(_MAX_HOLD_S, self._release_into_spool)
        if self.circuit is Circuit.CLOSING and not self._spool.events:
            self._close_circuit()

    def _close_circuit(self) -> None:
        """Kafka has all that was spooled: whatever is sent from here on comes behind it."""
        self._end_hold()
        self.circuit = Circuit.CLOSED
        self.publish = self._publisher.publish
        # If a crash forgets that they were removed, they come once more, behind their first ones.
        log.info("the spool is drained: events go to Kafka", extra={"data": {"all": self.drained}})
        self._spool.shrink()
        while self._held:
            (topic, key, value, headers), future = self._held.popleft()
            if not future.done():
                try:
                    # Not the publisher's: Kafka may fall with any of these.
                    self._direct_or_spool(topic, key, value, headers, future)
                except PublishError as error:
                    future.set_exception(error)
        self._held_bytes = 0

    def _direct_or_spool(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers,
        future: asyncio.Future[Acknowledged],
    ) -> None:
        if self.circuit is Circuit.CLOSED:
            self._publisher.publish(topic, key, value, headers, future)
        else:
            self._spool.append((topic, key, value, headers), future)

    def _release_into_spool(self) -> None:
        """It takes too long, or there are too many, or Kafka fell: the spool goes on."""
        if self.circuit is not Circuit.CLOSING:
            return
        self._end_hold()
        self.circuit = Circuit.OPEN
        if not self._stopped:
            self.publish = self._into_spool
        self._pause()
        while self._held:
            record, future = self._held.popleft()
            if not future.done():
                try:
                    self._spool.append(record, future)
                except PublishError as error:
                    future.set_exception(error)
        self._held_bytes = 0

    def _pause(self) -> None:
        if not self._pausing:
            self._pausing = True
            self._loop.call_later(_PAUSE_S, self._paused)

    def _paused(self) -> None:
        self._pausing = False
        self._wake()

    def _end_hold(self) -> None:
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None


def _request_id(headers: Headers) -> str:
    value = dict(headers).get(HEADER_REQUEST_ID, "")
    return value.decode() if isinstance(value, bytes) else value or ""
