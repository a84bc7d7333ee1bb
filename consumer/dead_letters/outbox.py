"""Puts dead letters on their topic, after the transaction that buried them.

The store is the outbox: a letter is noted as sent only when Kafka has acknowledged it, so a crash
between the two sends it again (at least once), and never loses it.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException, Message, Producer

from consumer.stores.contract import Outgoing
from schemas.codec import DEAD_LETTER
from schemas.event import HEADER_REQUEST_ID

log = logging.getLogger("hookline.consumer")

HEADER_REASON: Final = "hookline-reason"
_AT_ONCE: Final = 50
_FLUSH_S: Final = 10.0


class OutgoingLetters(Protocol):
    """What of a store the outbox needs."""

    def outgoing(self, limit: int) -> list[Outgoing]: ...
    def sent(self, numbers: list[int]) -> None: ...


class DeadLetterOutbox:
    """Call `run` again and again, on one thread."""

    def __init__(self, store: OutgoingLetters, topic: str, properties: dict[str, Any]) -> None:
        """`properties`: librdkafka's, with the bootstrap servers."""
        self._store = store
        self._topic = topic
        self._told = False
        self._producer = Producer(
            {
                **properties,
                "client.id": "hookline-dead-letters",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "message.timeout.ms": 30_000,
            },
            logger=logging.getLogger("hookline.kafka"),
        )

    def run(self) -> bool:
        """Send what waits; True if there may be more."""
        waiting = self._store.outgoing(_AT_ONCE)
        if not waiting:
            return False
        acknowledged: list[int] = []

        def report(number: int, error: Any) -> None:
            if error is None:
                acknowledged.append(number)

        for outgoing in waiting:
            letter = outgoing.letter
            headers: list[tuple[str, str | bytes | None]] = [(HEADER_REASON, letter.reason)]
            if letter.request_id:
                headers.append((HEADER_REQUEST_ID, letter.request_id.hex()))

            def done(error: Any, _: Message, number: int = outgoing.number) -> None:
                report(number, error)

            try:
                self._producer.produce(
                    self._topic,
                    DEAD_LETTER.encode(letter),
                    letter.key,
                    on_delivery=done,
                    headers=headers,
                )
            except (BufferError, KafkaException):
                break
        self._producer.flush(_FLUSH_S)
        if acknowledged:
            self._store.sent(acknowledged)
            self._told = False
        elif not self._told:
            self._told = True
            log.warning(
                "dead letters wait in the store: Kafka does not take them; is the topic there "
                "(`hookline topics apply`)?",
                extra={"data": {"topic": self._topic, "waiting": len(waiting)}},
            )
        return len(acknowledged) == _AT_ONCE

    def close(self) -> None:
        """Wait a moment for what is under way; what is not acknowledged is sent after a start."""
        self._producer.flush(2.0)
