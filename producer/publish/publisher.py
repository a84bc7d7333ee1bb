"""Events into Kafka: acks=all, idempotent, bounded; one future per event.

All of it runs on the event loop: librdkafka has its own threads for the network, and a thread of
ours that polled it would fight the loop for the interpreter lock once for each delivery report.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from producer.publish.aside import Aside
from producer.publish.availability import Availability
from producer.publish.client_settings import client_settings
from producer.publish.fallback import PERMANENT, Fallback
from producer.publish.gathering import Gathering
from producer.publish.pending import Acknowledged, Headers, Pending, Record
from producer.publish.probe import find_problem
from schemas.errors import NotAcknowledged, Overloaded, PublisherClosed

log = logging.getLogger("hookline.publish")

#: How often reports are fetched while something is in flight; uvloop's timers are this coarse.
_POLL_S: Final = 0.001
_SWEEP_S: Final = 0.1
_STUCK_S: Final = 10.0


class KafkaPublisher:
    """Made and used on one event loop; only the counts may be read from other threads."""

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        topics: tuple[str, ...],
        properties: dict[str, Any] | None = None,
        ack_deadline_s: float = 2.0,
        max_in_flight_events: int = 20_000,
        max_in_flight_bytes: int = 64 * 1024 * 1024,
        linger_ms: float = 1.0,
        max_linger_ms: float = 5.0,
        fatal: Callable[[str], None] = lambda reason: None,
        fallback: Fallback | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`topics` are those that must have leaders; `fatal` is told when it must be replaced.

        With a `fallback` no event times out inside the client: it is the spool's by then, and its
        place in the client's stream keeps the order.
        """
        self._loop = asyncio.get_running_loop()
        self._topics = topics
        self._ack_deadline_s = ack_deadline_s
        self._max_events = max_in_flight_events
        self._max_bytes = max_in_flight_bytes
        self._fatal = fatal
        self._fallback = fallback
        self._clock_s = clock_s
        self._fatal_reason = ""
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.batches = 0
        self.failures: Counter[str] = Counter()
        self._availability = Availability(clock_s())
        self._pending: deque[Pending] = deque()
        self._reported: list[Pending] = []
        self._brokers_down = False
        self._rose_s = clock_s()
        self._nobody: asyncio.Future[Acknowledged] = self._loop.create_future()
        self._nobody.cancel()
        self._polling = False
        self._closed = False
        self._stopped = False
        self._told = ""
        self._swept_s = clock_s()
        self._producer = Producer(
            client_settings(
                bootstrap_servers,
                linger_ms,
                max_in_flight_events,
                max_in_flight_bytes,
                properties or {},
                for_ever=fallback is not None,
            )
            | {"error_cb": self._on_error},
            logger=logging.getLogger("hookline.kafka"),
        )
        #: For what may be lost.
        self.aside = Aside(
            self._producer, lambda: not self._closed and self._availability.available
        )
        self._gathering = Gathering(self._loop, self._produce, max_linger_ms / 1000)
        # A probe blocks for as long as its broker is silent.
        self._probes = ThreadPoolExecutor(1, "hookline-probe")
        self._probe: asyncio.Task[None] | None = None
        self._sweeper = self._loop.call_soon(self._sweep)

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers,
        future: asyncio.Future[Acknowledged] | None = None,
    ) -> asyncio.Future[Acknowledged]:
        """Send a record; the future, the given one or a new one, ends when all replicas have it.

        Raises Overloaded at a bound, NotAcknowledged at once while Kafka is away, and
        PublisherClosed at the end; the future raises the first two. After any of these the
        record may still be in the log: the sender sends again, and its event id tells.
        """
        if self._closed:
            raise PublisherClosed("the gateway is stopping: send again to another replica")
        if not self._availability.available:
            self.failures["unavailable"] += 1
            raise NotAcknowledged(f"Kafka is not available: {self._availability.reason}")
        size_bytes = len(value)
        if (
            self.in_flight >= self._max_events
            or self.in_flight_bytes + size_bytes > self._max_bytes
        ):
            self.failures["overloaded"] += 1
            raise Overloaded(
                f"{self.in_flight} events, {self.in_flight_bytes} bytes await Kafka's "
                "acknowledgement: the bound is reached"
            )
        if future is None:
            future = self._loop.create_future()
        pending = Pending(
            future, (topic, key, value, headers), size_bytes, self._clock_s(), self._reported
        )
        self._track(pending)
        self._gathering.put(pending)
        return future

    def send_spooled(self, record: Record, number: int) -> None:
        """Send what the spool holds under this number; the fallback is told of its report.

        Raises Overloaded when there is no room now; what the client refuses at once is reported
        as well, soon.
        """
        size_bytes = len(record[2])
        pending = Pending(self._nobody, record, size_bytes, self._clock_s(), self._reported, number)
        topic, key, value, headers = record
        try:
            self._producer.produce(topic, value, key, on_delivery=pending, headers=headers)
        except BufferError:
            raise Overloaded("librdkafka's queue is full") from None
        except KafkaException as raised:
            pending(raised.args[0], None)
        self._track(pending)

    def _track(self, pending: Pending) -> None:
        self.in_flight += 1
        self.in_flight_bytes += pending.size_bytes
        self._pending.append(pending)
        if not self._polling:
            self._polling = True
            self._loop.call_later(_POLL_S, self._poll)

    def _produce(self, pending: Pending) -> None:
        """What the client refuses at once is reported as if Kafka had refused it."""
        topic, key, value, headers = pending.record
        try:
            self._producer.produce(topic, value, key, on_delivery=pending, headers=headers)
        except BufferError:
            pending(KafkaError(KafkaError._QUEUE_FULL), None)
        except KafkaException as raised:
            pending(raised.args[0], None)

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        if self._fatal_reason:
            return False, self._fatal_reason
        if self._clock_s() - self._swept_s > _STUCK_S:
            return False, "the publisher stands still: its timer has not run"
        return True, ""

    def ready(self) -> tuple[bool, str]:
        """Whether Kafka takes events now, and if not, why."""
        if self._closed:
            return False, "stopping"
        return self._availability.available, self._availability.reason

    async def close(self, within_s: float) -> bool:
        """Take nothing new, wait for what is in flight; False if some is not safe anywhere."""
        self._closed = True
        self._gathering.release()
        until_s = self._loop.time() + within_s
        waiting = [
            pending.future
            for pending in self._pending
            if not pending.number and not pending.future.done()
        ]
        clean = not waiting or not (await asyncio.wait(waiting, timeout=within_s))[1]
        if self._fallback is not None:
            clean = True
            # What the spool holds need not be waited for: only while Kafka answers.
            while self.in_flight and self._availability.available:
                if self._loop.time() >= until_s:
                    break
                await asyncio.sleep(_POLL_S)
        while self.aside.in_flight and self._availability.available and self._loop.time() < until_s:
            await asyncio.sleep(_POLL_S)
            self._serve()
        self._stopped = True
        self._hand_over()
        self._sweeper.cancel()
        if self._probe is not None:
            self._probe.cancel()
        for pending in self._pending:
            if not pending.future.done() and not pending.number:
                pending.future.set_exception(NotAcknowledged("stopped before Kafka answered"))
        self._probes.shutdown(wait=False, cancel_futures=True)
        return clean

    def _poll(self) -> None:
        """Fetch all reports that wait: one wake-up of the loop for a batch, none when idle."""
        self._serve()
        if self.in_flight and not self._stopped:
            self._loop.call_later(_POLL_S, self._poll)
        else:
            self._polling = False

    def _serve(self) -> None:
        try:
            self._producer.poll(0)
        except KafkaException as raised:
            # confluent-kafka raises a fatal error here and does not call error_cb with it.
            if not raised.args[0].fatal():
                raise
            self._on_fatal(raised.args[0])
        self._settle_reported()
        if self._brokers_down:
            self._brokers_down = False
            if self._fallback is not None and self.in_flight:
                # Proof enough for the spool, which loses nothing by a false alarm.
                self._fall("no broker answers")

    def _settle_reported(self) -> None:
        if self._reported:
            batch = self._reported.copy()
            # Emptied and not replaced, because every Pending holds it.
            self._reported.clear()
            self._settle(batch)

    def _settle(self, batch: list[Pending]) -> None:
        self.batches += 1
        proven = False
        refused = ""
        for pending in batch:
            self.in_flight -= 1
            self.in_flight_bytes -= pending.size_bytes
            future, error = pending.future, pending.error
            if error is None:
                if pending.number:
                    proven = True
                    self._spooled_ended(pending)
                elif not future.done():
                    proven = True
                    future.set_result(Acknowledged(pending.partition, pending.offset))
                else:
                    self.failures["late_acknowledgement"] += 1
                continue
            self.failures[error.name()] += 1
            if pending.number:
                self._spooled_ended(pending)
            elif error.code() == KafkaError._QUEUE_FULL:
                if not future.done():
                    future.set_exception(Overloaded("librdkafka's queue is full"))
            elif self._fallback is not None and error.code() not in PERMANENT:
                # Stays as it is until `_fall`, which takes all that are in flight in their order.
                refused = f"Kafka did not take an event: {error.str()}"
            elif not future.done():
                future.set_exception(NotAcknowledged(f"Kafka did not take it: {error.str()}"))
                if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                    self._availability.suspect()
        if proven and not self._fatal_reason and self._availability.acknowledged():
            self._rise("Kafka acknowledges events")
        if refused:
            self._fall(refused)

    def _spooled_ended(self, pending: Pending) -> None:
        # The report may be faster than the spool's disk: then Kafka is where the event is safe.
        if not pending.future.done() and pending.error is None:
            pending.future.set_result(Acknowledged(pending.partition, pending.offset))
        if self._fallback is not None:
            self._fallback.reported(pending)

    def _sweep(self) -> None:
        """One timer for all: see what is older than the deadline, oldest first; probe if due."""
        # Also when nothing is in flight, librdkafka has errors, log lines and tokens to tell of.
        self._serve()
        now_s = self._clock_s()
        self._gathering.look(now_s - self._swept_s)
        self._swept_s = now_s
        if self._fallback is None:
            self._expire(now_s - self._ack_deadline_s)
        else:
            # Not the first ones only: behind one that stands still, others come and go for hours.
            pending = self._pending = deque(one for one in self._pending if not one.settled)
            # Since Kafka came back at the earliest: it must have the time to answer.
            if (
                pending
                and self._availability.available
                and max(pending[0].sent_s, self._rose_s) < now_s - self._ack_deadline_s
            ):
                self.failures["ack_deadline"] += 1
                self._fall(f"no acknowledgement within {self._ack_deadline_s:g} s")
        if (self._probe is None or self._probe.done()) and self._availability.probe_due(now_s):
            self._probe = self._loop.create_task(self._ask())
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _expire(self, overdue_s: float) -> None:
        """Without a spool: the senders of what is overdue are told to send it again."""
        pending = self._pending
        expired = 0
        while pending and (pending[0].future.done() or pending[0].sent_s < overdue_s):
            oldest = pending.popleft()
            if not oldest.future.done():
                expired += 1
                oldest.future.set_exception(
                    NotAcknowledged(f"no acknowledgement within {self._ack_deadline_s:g} s")
                )
        if expired:
            self.failures["ack_deadline"] += expired
            self._fall(f"no acknowledgement within {self._ack_deadline_s:g} s")

    def _fall(self, reason: str) -> None:
        if self._availability.failed(reason):
            self._tell_unavailable(reason)
        self._hand_over()

    def _hand_over(self) -> None:
        # All that are in flight must be on their way: the spool counts on their reports.
        self._gathering.release()
        self._settle_reported()
        if self._fallback is not None:
            # With those that were refused just now, each in its place.
            self._fallback.take_over(
                [
                    pending
                    for pending in self._pending
                    if not pending.number and not pending.future.done()
                ]
            )

    def _rise(self, message: str) -> None:
        self._rose_s = self._clock_s()
        log.info(message)
        if self._fallback is not None:
            self._fallback.available()

    async def _ask(self) -> None:
        problem = await self._loop.run_in_executor(
            self._probes, find_problem, self._producer, self._topics
        )
        if self._fatal_reason:
            return
        if self._availability.probed(problem):
            if problem:
                self._tell_unavailable(problem)
                self._hand_over()
            else:
                self._rise("Kafka is available")
        elif problem and problem != self._told:
            self._told = problem
            log.warning("Kafka is not usable yet", extra={"data": {"reason": problem}})

    def _tell_unavailable(self, reason: str) -> None:
        self._told = reason
        where = "webhooks are answered 503" if self._fallback is None else "they go to the spool"
        log.error(
            f"Kafka does not take events: {where} until it does",
            extra={"data": {"reason": reason}},
        )

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            # Said also when the last idle connection is closed, so not proof: ask.
            self._availability.suspect()
            self._brokers_down = True

    def _on_fatal(self, error: KafkaError) -> None:
        self._fatal_reason = f"Kafka's producer cannot go on: {error.str()}"
        self._availability.failed(self._fatal_reason)
        log.critical(
            "the publisher must be replaced", extra={"data": {"reason": self._fatal_reason}}
        )
        self._hand_over()
        self._fatal(self._fatal_reason)
