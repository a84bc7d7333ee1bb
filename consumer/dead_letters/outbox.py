"""Puts dead letters on their topic, after the transaction that buried them.

The store is the outbox: a letter is noted as sent only when Kafka has acknowledged it, so a crash
between the two sends it again (at least once), and never loses it.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from consumer.stores.contract import Outgoing
from schemas.codec import DEAD_LETTER
from schemas.dead_letter import DeadLetter
from schemas.event import HEADER_REQUEST_ID
from schemas.topics import DEAD_LETTERS

log = logging.getLogger("hookline.consumer")

HEADER_REASON: Final = "hookline-reason"
_AT_ONCE: Final = 50
_FLUSH_S: Final = 10.0
#: Room for the letter's other fields, up to what the topic takes.
_LARGEST_BYTES: Final = DEAD_LETTERS.max_message_bytes - 256 * 1024


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
        #: Letters that are too large for the topic with their value, and go without it.
        self._too_large: set[int] = set()
        self._producer = Producer(
            {
                **properties,
                "client.id": "hookline-dead-letters",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "message.timeout.ms": 30_000,
                # As the topic's own; librdkafka's default is less than an event may be.
                "message.max.bytes": DEAD_LETTERS.max_message_bytes,
            },
            logger=logging.getLogger("hookline.kafka"),
        )

    def run(self) -> bool:
        """Send what waits; True if there may be more."""
        waiting = self._store.outgoing(_AT_ONCE)
        if not waiting:
            return False
        acknowledged: list[int] = []
        for outgoing in waiting:
            letter = outgoing.letter
            if outgoing.number in self._too_large or len(letter.value or b"") > _LARGEST_BYTES:
                letter = msgspec.structs.replace(
                    letter,
                    value=None,
                    headers={},
                    detail=f"{letter.detail} (too large for this topic: its value is in the store)",
                )
            if not self._send(outgoing.number, letter, acknowledged):
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

    def _send(self, number: int, letter: DeadLetter, acknowledged: list[int]) -> bool:
        """Hand one to the client; False if its queue is full."""

        def done(error: KafkaError | None, _: Message) -> None:
            if error is None:
                acknowledged.append(number)
                self._too_large.discard(number)
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._too_large.add(number)

        headers: list[tuple[str, str | bytes | None]] = [(HEADER_REASON, letter.reason)]
        if letter.request_id:
            headers.append((HEADER_REQUEST_ID, letter.request_id.hex()))
        try:
            self._producer.produce(
                self._topic,
                DEAD_LETTER.encode(letter),
                letter.key,
                on_delivery=done,
                headers=headers,
            )
        except BufferError:
            return False
        except KafkaException as error:
            # This one cannot be sent as it is; the ones behind it can.
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._too_large.add(number)
        return True

    def close(self) -> None:
        """Wait a moment for what is under way; what is not acknowledged is sent after a start."""
        self._producer.flush(2.0)
