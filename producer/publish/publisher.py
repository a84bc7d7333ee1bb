"""Events into Kafka: acks=all, idempotent, bounded; one future per event.

One thread polls librdkafka. Delivery reports reach the event loop in batches, one wake-up for
each batch: waking it for each event costs more than all the rest of publishing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from producer.publish.availability import Availability
from schemas.errors import NotAcknowledged, Overloaded, PublisherClosed

log = logging.getLogger("hookline.publish")

_SWEEP_S: Final = 0.1
_POLL_S: Final = 0.5
_PROBE_TIMEOUT_S: Final = 1.0
_PROBE_EVERY_S: Final = 0.25
_FIXED: Final = {
    # Promise P1 rests on these; a configuration that names them is refused before it comes here.
    "acks": "all",
    "enable.idempotence": True,
    # Java's default, so that other producers of the topic agree where a key goes.
    "partitioner": "murmur2_random",
}

Headers = list[tuple[str, str | bytes | None]]


class Acknowledged(NamedTuple):
    """Where the log holds the event."""

    partition: int
    offset: int


class _Pending:
    """One event in flight. librdkafka calls it with the delivery report, on the poll thread."""

    __slots__ = ("error", "future", "offset", "partition", "reported", "sent_s", "size_bytes")

    def __init__(
        self,
        future: asyncio.Future[Acknowledged],
        size_bytes: int,
        sent_s: float,
        reported: list[_Pending],
    ) -> None:
        self.future = future
        self.size_bytes = size_bytes
        self.sent_s = sent_s
        self.reported = reported
        self.error: KafkaError | None = None
        self.partition = -1
        self.offset = -1

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self.partition, self.offset = message.partition(), message.offset()
        else:
            self.error = error
        self.reported.append(self)


class KafkaPublisher:
    """Use it from one event loop; only `live`, `ready` and the gauges are for other threads."""

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        topics: tuple[str, ...],
        properties: dict[str, Any] | None = None,
        ack_deadline_s: float = 2.0,
        max_in_flight_events: int = 20_000,
        max_in_flight_bytes: int = 64 * 1024 * 1024,
        linger_ms: float = 2.0,
        fatal: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`topics` are those that must have leaders; `fatal` is told when it must be replaced."""
        self._loop = asyncio.get_running_loop()
        self._topics = topics
        self._ack_deadline_s = ack_deadline_s
        self._max_events = max_in_flight_events
        self._max_bytes = max_in_flight_bytes
        self._fatal = fatal
        self._fatal_reason = ""
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.failures: Counter[str] = Counter()
        self._availability = Availability()
        self._pending: deque[_Pending] = deque()
        self._reported: list[_Pending] = []
        self._closing = threading.Event()
        self._closed = False
        self._probing = threading.Event()
        self._probing.set()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "client.id": "hookline-gateway",
                "linger.ms": linger_ms,
                "compression.type": "lz4",
                # An event that Kafka has not taken by then was answered 503 long ago and will
                # be sent again; to keep it longer only fills memory.
                "message.timeout.ms": 30_000,
                "queue.buffering.max.messages": max(max_in_flight_events, 1_000),
                "queue.buffering.max.kbytes": max(2 * max_in_flight_bytes // 1024, 65_536),
                "socket.keepalive.enable": True,
                "reconnect.backoff.max.ms": 1_000,
                "topic.metadata.refresh.interval.ms": 30_000,
                **(properties or {}),
                **_FIXED,
                "error_cb": self._on_error,
            },
            logger=logging.getLogger("hookline.kafka"),
        )
        self._polling = threading.Thread(
            target=self._top, args=(self._poll,), name="hookline-publish", daemon=True
        )
        self._prober = threading.Thread(
            target=self._top, args=(self._probe,), name="hookline-probe", daemon=True
        )
        self._polled_s = time.monotonic()
        self._polling.start()
        self._prober.start()
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def publish(
        self, topic: str, key: bytes, value: bytes, headers: Headers
    ) -> asyncio.Future[Acknowledged]:
        """Send a record; the future ends when all in-sync replicas have it.

        Raises Overloaded at a bound, NotAcknowledged at once while Kafka is away, and
        PublisherClosed at the end; the future raises NotAcknowledged. After any of these the
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
        future: asyncio.Future[Acknowledged] = self._loop.create_future()
        pending = _Pending(future, size_bytes, time.monotonic(), self._reported)
        try:
            self._producer.produce(topic, value, key, on_delivery=pending, headers=headers)
        except BufferError:
            self.failures["overloaded"] += 1
            raise Overloaded("librdkafka's queue is full") from None
        except KafkaException as error:
            self.failures[error.args[0].name()] += 1
            raise NotAcknowledged(f"Kafka refused the event: {error.args[0].str()}") from None
        self.in_flight += 1
        self.in_flight_bytes += size_bytes
        self._pending.append(pending)
        return future

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps: a fatal error, or a thread that stands still."""
        if self._fatal_reason:
            return False, self._fatal_reason
        if not self._polling.is_alive() or time.monotonic() - self._polled_s > 30.0:
            return False, "the publisher's polling thread stands still"
        return True, ""

    def ready(self) -> tuple[bool, str]:
        """Whether Kafka takes events now."""
        if self._closed:
            return False, "stopping"
        return self._availability.available, self._availability.reason

    async def close(self, within_s: float) -> bool:
        """Take nothing new, wait for what is in flight; False if some was not acknowledged."""
        self._closed = True
        waiting = [pending.future for pending in self._pending if not pending.future.done()]
        clean = not waiting or not (await asyncio.wait(waiting, timeout=within_s))[1]
        self._sweeper.cancel()
        for pending in self._pending:
            if not pending.future.done():
                pending.future.set_exception(NotAcknowledged("stopped before Kafka answered"))
        self._closing.set()
        self._probing.set()
        await self._loop.run_in_executor(None, self._polling.join, 2.0)
        return clean

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)
            self._polled_s = time.monotonic()
            # _Pending appends only inside poll, on this thread: the list is ours here. It is
            # emptied and not replaced, because every _Pending holds it.
            if self._reported:
                batch = self._reported.copy()
                self._reported.clear()
                self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: list[_Pending]) -> None:
        proven = False
        for pending in batch:
            self.in_flight -= 1
            self.in_flight_bytes -= pending.size_bytes
            error = pending.error
            if error is None:
                proven = True
                if not pending.future.done():
                    pending.future.set_result(Acknowledged(pending.partition, pending.offset))
                else:
                    self.failures["late_acknowledgement"] += 1
                continue
            self.failures[error.name()] += 1
            if not pending.future.done():
                pending.future.set_exception(
                    NotAcknowledged(f"Kafka did not take the event: {error.str()}")
                )
        if proven and self._availability.proven():
            log.info("Kafka acknowledges events again")

    def _sweep(self) -> None:
        """One timer for all: fail what is older than the deadline, oldest first."""
        overdue_s = time.monotonic() - self._ack_deadline_s
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
            self._unavailable(f"no acknowledgement within {self._ack_deadline_s:g} s")
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _unavailable(self, reason: str) -> None:
        if self._availability.failed(reason):
            log.error(
                "Kafka does not take events: webhooks are answered 503 until it does",
                extra={"data": {"reason": reason}},
            )
        self._probing.set()

    def _probe(self) -> None:
        """While Kafka is not known to be available, ask until every partition has a leader."""
        told = ""
        while self._probing.wait() and not self._closing.is_set():
            problem = self._problem()
            if self._closing.is_set():
                return
            if problem:
                if problem != told:
                    log.warning("Kafka is not usable yet", extra={"data": {"reason": problem}})
                told = problem
                self._loop.call_soon_threadsafe(self._availability.failed, problem)
            else:
                told = ""
                self._probing.clear()
                self._loop.call_soon_threadsafe(self._probed)
            self._closing.wait(_PROBE_EVERY_S)

    def _problem(self) -> str:
        for topic in self._topics:
            try:
                metadata = self._producer.list_topics(topic, timeout=_PROBE_TIMEOUT_S).topics[topic]
            except KafkaException as error:
                return f"no answer from Kafka: {error.args[0].str()}"
            if metadata.error is not None:
                if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return f"topic {topic} is not there: run `hookline topics apply`"
                return f"topic {topic}: {metadata.error.str()}"
            if any(partition.leader < 0 for partition in metadata.partitions.values()):
                return f"topic {topic} has a partition without a leader"
        return ""

    def _probed(self) -> None:
        if self._availability.proven():
            log.info("Kafka is available")

    def _on_error(self, error: KafkaError) -> None:
        # Called on the poll thread.
        if error.fatal():
            self._fail(f"Kafka's producer cannot go on: {error.str()}")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            # Said also when the last idle connection is closed, so not proof: ask.
            self._probing.set()

    def _fail(self, reason: str) -> None:
        self._fatal_reason = reason
        log.critical("the publisher must be replaced", extra={"data": {"reason": reason}})
        self._loop.call_soon_threadsafe(self._availability.failed, reason)
        self._loop.call_soon_threadsafe(self._fatal, reason)

    def _top(self, run: Callable[[], None]) -> None:
        try:
            run()
        # The thread's top: without it nothing would ever be acknowledged again.
        except Exception as error:
            if not self._closing.is_set() and not self._loop.is_closed():
                log.critical("a publisher thread ended", exc_info=error)
                self._fail(f"a publisher thread ended: {type(error).__name__}")
