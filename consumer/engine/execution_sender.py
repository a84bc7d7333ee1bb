"""The execution log's own way into Kafka: it takes what there is room for and drops the rest.

Rule: nothing here blocks or fails; what is lost is counted, by who lost it and why.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from opentelemetry import metrics

from schemas.metrics import EXECUTIONS_DROPPED
from schemas.topics import EXECUTIONS

log = logging.getLogger("hookline.consumer")

#: Some seconds at full speed. While Kafka is away nothing is polled either, so little more comes.
_MAX_EVENTS: Final = 100_000
_MAX_BYTES: Final = 16 * 1024 * 1024
_TELL_EVERY_S: Final = 60.0


class ExecutionSender:
    """Sends batches; `send` and `look` may be called from any thread."""

    def __init__(
        self,
        topic: str,
        properties: dict[str, Any],
        *,
        max_events: int = _MAX_EVENTS,
        max_bytes: int = _MAX_BYTES,
        timeout_ms: int = 30_000,
    ) -> None:
        """`properties`: librdkafka's, with the bootstrap servers.

        `timeout_ms`: what Kafka has not acknowledged by then is given up.
        """
        self._topic = topic
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._events = 0
        self._bytes = 0
        self._told_s = float("-inf")
        self._dropped = metrics.get_meter("hookline.consumer").create_counter(EXECUTIONS_DROPPED)
        self._producer = Producer(
            {
                **properties,
                "client.id": "hookline-executions",
                # Best effort: a broker that fails right after its answer takes a batch with it,
                # and nobody waits for the other replicas. A retry may write a batch twice, which
                # is then counted twice: these are figures, and no event hangs on them.
                "acks": 1,
                "enable.idempotence": False,
                "compression.type": "lz4",
                "linger.ms": 50,
                "message.timeout.ms": timeout_ms,
                "message.max.bytes": EXECUTIONS.max_message_bytes,
                # The bounds are ours, in events and bytes; these are only not to be below them.
                "queue.buffering.max.kbytes": 2 * max_bytes // 1024,
                "queue.buffering.max.messages": 100_000,
            },
            logger=logging.getLogger("hookline.kafka"),
        )

    def send(self, value: bytes, events: int) -> None:
        """Hand a batch to the client, or drop it if too much waits already."""
        size = len(value)
        with self._lock:
            room = self._events + events <= self._max_events and (
                self._bytes + size <= self._max_bytes
            )
            if room:
                self._events += events
                self._bytes += size
        if not room:
            self.dropped(events, "full")
        else:
            self._produce(value, events)
        self._producer.poll(0)

    def look(self) -> bool:
        """A chore: hear of what was sent when nothing is sent any more. Nothing more to do."""
        self._producer.poll(0)
        return False

    def close(self, timeout_s: float = 2.0) -> None:
        """Wait a moment for what is under way; the rest is lost and counted."""
        self._producer.flush(timeout_s)
        self._producer.purge()
        self._producer.flush(0.1)

    def dropped(self, events: int, reason: str) -> None:
        """Count what is lost; say so once a minute."""
        self._dropped.add(events, {"writer": "consumer", "reason": reason})
        now_s = time.monotonic()
        if now_s - self._told_s < _TELL_EVERY_S:
            return
        self._told_s = now_s
        log.warning(
            "executions are dropped: events are handled, and their steps are not recorded; is "
            "the topic there (`hookline topics apply`)?",
            extra={"data": {"topic": self._topic, "reason": reason}},
        )

    def _produce(self, value: bytes, events: int) -> None:
        size = len(value)

        def done(error: KafkaError | None, _: Message) -> None:
            self._settled(events, size)
            if error is not None:
                self.dropped(events, _reason(error))

        try:
            self._producer.produce(self._topic, value, on_delivery=done)
        except BufferError:
            self._settled(events, size)
            self.dropped(events, "full")
        except KafkaException as error:
            self._settled(events, size)
            self.dropped(events, _reason(error.args[0]))

    def _settled(self, events: int, size: int) -> None:
        with self._lock:
            self._events -= events
            self._bytes -= size


def _reason(error: KafkaError) -> str:
    """A label of a closed set."""
    return _REASONS.get(error.code(), "kafka")


_REASONS: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError._MSG_TIMED_OUT: "timeout",
    KafkaError._PURGE_QUEUE: "stopped",
    KafkaError._PURGE_INFLIGHT: "stopped",
}
