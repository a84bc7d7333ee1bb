"""Kafka clients for a compacted topic, such as that of connections: a writer, and a reader of its
single partition."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from schemas.errors import NotAcknowledged, TopicError

#: The one partition that is used, also where the topic has more.
PARTITION: Final = 0
_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.5
#: What configures a group: the topic is read without one.
_OF_A_GROUP: Final = frozenset(
    {"group.protocol", "group.remote.assignor", "partition.assignment.strategy",
     "group.instance.id", "session.timeout.ms", "heartbeat.interval.ms"}
)  # fmt: skip
_log = logging.getLogger("hookline.kafka")


class Records(Protocol):
    """What takes a topic's records, such as a ledger."""

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> object:
        """Take one."""


class TopicAccess:
    """Where the topic is and how Kafka is reached; `about`: what it holds, and its command."""

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        properties: Mapping[str, Any] | None = None,
        about: str = "connections",
    ) -> None:
        self.topic = topic
        self.about = about
        self.bootstrap_servers = bootstrap_servers
        self._properties = {
            "bootstrap.servers": bootstrap_servers,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 1_000,
            **{k: v for k, v in (properties or {}).items() if k not in _OF_A_GROUP},
        }

    def reader(self, wait_ms: int = 500) -> Consumer:
        """A consumer that tells when it is at the end; `begin` sets it to the beginning.

        `wait_ms`: how long the broker waits for news, so also until it says that there is none.
        """
        return Consumer(
            {
                "client.id": f"hookline-{self.about}",
                "fetch.wait.max.ms": wait_ms,
                "fetch.queue.backoff.ms": 50,
                "queued.max.messages.kbytes": 16_384,
                **self._properties,
                # Needed by the client and never used: nothing is committed.
                "group.id": f"hookline-{self.about}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                # A topic that was made anew must be read anew, not from where the old one ended.
                "auto.offset.reset": "error",
                # It would make one that forgets.
                "allow.auto.create.topics": False,
            },
            logger=_log,
        )

    def begin(self, consumer: Consumer) -> None:
        """Set it to the beginning. After `problem`: before it knows the brokers it takes longer."""
        consumer.assign([TopicPartition(self.topic, PARTITION, OFFSET_BEGINNING)])

    def problem(self, client: Consumer | Producer, within_s: float = 1.0) -> str:
        """What is in the way of using it, with the next step; empty if nothing is. Blocks."""
        try:
            # All topics: to ask for one by name could make it.
            topics = client.list_topics(timeout=within_s).topics
        except KafkaException as error:
            return (
                f"no answer from Kafka at {self.bootstrap_servers} ({error.args[0].name()}): is "
                "it running, and is kafka.bootstrap_servers right?"
            )
        found = topics.get(self.topic)
        if found is None or found.error is not None:
            return f"topic {self.topic} is not there: run `hookline topics apply`"
        if found.partitions[PARTITION].leader < 0:
            return f"topic {self.topic} has no leader"
        return ""

    def writer(self) -> TopicWriter:
        """A producer for it."""
        return TopicWriter(self.topic, self._properties, self.about)


class TopicWriter:
    """Writes records in order; what it says is written is safe on all in-sync replicas."""

    def __init__(
        self, topic: str, properties: Mapping[str, Any], about: str = "connections"
    ) -> None:
        self._topic = topic
        self._about = about
        self.producer = Producer(
            {
                "client.id": f"hookline-{about}",
                "linger.ms": 0,
                **properties,
                "acks": "all",
                # One at a time, so a retry overtakes nothing and repeats the same words; asking for
                # an idempotent producer's id would cost a revocation half a second.
                "max.in.flight": 1,
                "message.timeout.ms": int(_TIMEOUT_S * 1000),
            },
            logger=_log,
        )

    def write(self, key: bytes, value: bytes | None) -> int:
        """The record's offset once it is safe; NotAcknowledged if it may not be."""
        return self.write_all([(key, value)])

    def write_all(self, records: Sequence[tuple[bytes, bytes | None]]) -> int:
        """In their order; the last one's offset once all are safe, else NotAcknowledged.

        After that some may be there. At least one, and no more than the client's queue holds.
        """
        reports: list[tuple[KafkaError | None, Any]] = []
        try:
            for key, value in records:
                self.producer.produce(
                    self._topic, value, key, PARTITION,
                    on_delivery=lambda error, message: reports.append((error, message)),
                )  # fmt: skip
            until_s = time.monotonic() + _TIMEOUT_S + 1.0
            while len(reports) < len(records) and time.monotonic() < until_s:
                self.producer.poll(0.1)
        except (KafkaException, BufferError) as refused:
            raise NotAcknowledged(f"{self._topic} could not be written: {refused}") from None
        if len(reports) < len(records):
            raise NotAcknowledged(
                f"Kafka did not confirm a record on {self._topic} within {_TIMEOUT_S:g} s; it may "
                f"be there or not: `hookline {self._about} list` shows it, then try again"
            )
        for error, _ in reports:
            if error is not None:
                raise NotAcknowledged(
                    f"Kafka did not take a record on {self._topic}: {error.str()}; look at the "
                    "topic with `hookline topics check`, then try again"
                )
        last: int = max(message.offset() for _, message in reports)
        return last


def read_to_end(access: TopicAccess, consumer: Consumer, ledger: Records) -> None:
    """Read all that is there; TopicError with the next step if that cannot be done in 10 s."""
    until_s = time.monotonic() + _TIMEOUT_S
    if problem := access.problem(consumer, _TIMEOUT_S):
        raise TopicError(problem)
    access.begin(consumer)
    while time.monotonic() < until_s:
        message = consumer.poll(_POLL_S)
        if message is None:
            continue
        error = message.error()
        if error is None:
            ledger.apply(message.key(), message.value(), message.offset() or 0)
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
            raise TopicError(f"topic {access.topic} cannot be read: {error.str()}")
    raise TopicError(f"topic {access.topic} could not be read to its end within {_TIMEOUT_S:g} s")
