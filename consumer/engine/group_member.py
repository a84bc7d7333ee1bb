"""What every member of a consumer group does alike: its protocol, and what Kafka's errors mean."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

_SAY_EVERY_S: Final = 60.0


class ProtocolRefused(KafkaException):
    """The brokers do not know the group protocol."""


def new_client(properties: dict[str, Any]) -> Consumer:
    """librdkafka's consumer; KafkaException for a property that is none."""
    return Consumer(properties, logger=logging.getLogger("hookline.kafka"))


def serve_by_first_accepted(
    protocols: Sequence[dict[str, Any]],
    first: Consumer,
    serve: Callable[[Consumer], None],
    log: logging.Logger,
) -> None:
    """Serve with the first of the protocols that the brokers take; `first` is of the first."""
    client = first
    for at, properties in enumerate(protocols):
        if at:
            client = new_client(properties)
        try:
            serve(client)
            return
        except ProtocolRefused:
            if at + 1 == len(protocols):
                raise
            log.info(
                "the brokers do not offer the consumer group protocol of KIP-848: going on with "
                "the classic one (cooperative-sticky)"
            )


class KafkaErrors:
    """Kafka's errors pass by themselves (librdkafka retries); each is said once a minute."""

    def __init__(
        self, topic: str, log: logging.Logger, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = topic
        self._log = log
        self._clock_s = clock_s
        self._said: dict[str, float] = {}

    def note(self, error: KafkaError) -> None:
        """Say it; KafkaException for one that does not pass, ProtocolRefused if another may do."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            # `fatal()` is False for the error that a poll gives (confluent-kafka 2.16).
            if "ConsumerGroupHeartbeat" in error.str() and "not supported" in error.str():
                raise ProtocolRefused(error)
            raise KafkaException(error)
        now_s, name = self._clock_s(), error.name()
        if now_s - self._said.get(name, -_SAY_EVERY_S) < _SAY_EVERY_S:
            return
        self._said[name] = now_s
        advice = ""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            advice = f"topic {self._topic} is not there: run `hookline topics apply`"
        self._log.warning(
            "Kafka reports an error; the client keeps trying",
            extra={"data": {"error": name, "detail": error.str(), "advice": advice}},
        )
