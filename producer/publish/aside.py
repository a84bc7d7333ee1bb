"""What may be lost, telemetry's messages, in the stream of the events: a few at a time.

While Kafka is away none is taken, as it would wait among the events for as long as they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

_MAX_IN_FLIGHT: Final = 16


class Aside:
    """Its reports come when the publisher polls."""

    def __init__(self, producer: Producer, available: Callable[[], bool]) -> None:
        self._producer = producer
        self._available = available
        self.in_flight = 0
        #: Handed over, and not taken by Kafka.
        self.lost = 0

    def send(self, topic: str, value: bytes) -> str:
        """Hand a message over; if it is not taken why, as a label of a closed set."""
        if not self._available():
            return "unavailable"
        if self.in_flight >= _MAX_IN_FLIGHT:
            return "full"
        try:
            self._producer.produce(topic, value, on_delivery=self._ended)
        except (BufferError, KafkaException):
            return "refused"
        self.in_flight += 1
        return ""

    def _ended(self, error: Any, message: Any) -> None:
        self.in_flight -= 1
        if error is not None:
            self.lost += 1
