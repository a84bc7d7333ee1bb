"""Finds one request in the execution log itself, for those without a monitor's store.

A request id tells its own time, so the search begins there and goes on towards the log's end, for
a bounded time. Its bytes are looked for before anything is decoded: a message that does not hold
them costs a scan of its bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.monitor.contract import RequestStory
from schemas import request_id as request_ids
from schemas.errors import CodecError, TopicError
from schemas.execution import Execution, Reception
from schemas.execution_batch import decode_rows

#: How far a gateway's clock may be ahead of the broker's.
_CLOCKS_MS: Final = 60_000
_TIMEOUT_S: Final = 10.0
_OF_A_GROUP: Final = frozenset(
    {"group.protocol", "group.remote.assignor", "partition.assignment.strategy",
     "group.instance.id", "session.timeout.ms", "heartbeat.interval.ms"}
)  # fmt: skip


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the log has of a request. Not `whole`: the time was up before the log's end."""

    story: RequestStory
    whole: bool
    messages: int
    #: The time (Unix ms) of the last message that was looked at; 0: there was none.
    until_ms: int = 0


def search(
    bootstrap_servers: str,
    topic: str,
    request_id: bytes,
    *,
    within_s: float,
    properties: Mapping[str, Any] | None = None,
) -> Found:
    """Every row of a request that is found in time; TopicError if the log cannot be read."""
    deadline_s = time.monotonic() + within_s
    consumer = open_reader(bootstrap_servers, properties or {})
    try:
        return _Search(consumer, topic, request_id).run(bootstrap_servers, deadline_s)
    finally:
        consumer.close()


def open_reader(bootstrap_servers: str, properties: Mapping[str, Any]) -> Consumer:
    """A client that reads without a group, from where it is told."""
    return Consumer(
        {
            "client.id": "hookline-search",
            "log_level": 0,
            "fetch.queue.backoff.ms": 20,
            "queued.max.messages.kbytes": 65_536,
            **{k: v for k, v in properties.items() if k not in _OF_A_GROUP},
            "bootstrap.servers": bootstrap_servers,
            # Needed by the client and never used: nothing is committed.
            "group.id": "hookline-search",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
        }
    )


class _Search:
    def __init__(self, consumer: Consumer, topic: str, request_id: bytes) -> None:
        self._consumer = consumer
        self._topic = topic
        self._request_id = request_id
        self._receptions: list[Reception] = []
        self._executions: list[Execution] = []
        self._messages = 0
        self._until_ms = 0

    def run(self, bootstrap_servers: str, deadline_s: float) -> Found:
        open_partitions = self._begin(bootstrap_servers)
        while open_partitions and time.monotonic() < deadline_s:
            for message in self._consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    self._look(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition())
                elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                    raise TopicError(f"topic {self._topic} cannot be read: {error.str()}")
        return Found(
            story=RequestStory(
                tuple(sorted(self._receptions, key=lambda row: row.received_at_us)),
                tuple(sorted(self._executions, key=lambda row: row.committed_at_us)),
            ),
            whole=not open_partitions,
            messages=self._messages,
            until_ms=self._until_ms,
        )

    def _begin(self, bootstrap_servers: str) -> set[int | None]:
        """Assign every partition from the request's time on; which there are."""
        try:
            found = self._consumer.list_topics(timeout=_TIMEOUT_S).topics.get(self._topic)
            if found is None or found.error is not None:
                raise TopicError(f"topic {self._topic} is not there: run `hookline topics apply`")
            since_ms = max(0, request_ids.unix_ms(self._request_id) - _CLOCKS_MS)
            # Behind the log's end this gives the end.
            starts = self._consumer.offsets_for_times(
                [TopicPartition(self._topic, number, since_ms) for number in found.partitions],
                timeout=_TIMEOUT_S,
            )
        except KafkaException as error:
            raise TopicError(
                f"no answer from Kafka at {bootstrap_servers} ({error.args[0].name()}): is it "
                "running, and is kafka.bootstrap_servers right?"
            ) from None
        self._consumer.assign(starts)
        return {start.partition for start in starts}

    def _look(self, message: Message) -> None:
        self._messages += 1
        self._until_ms = max(self._until_ms, message.timestamp()[1])
        value = message.value()
        if value is None or self._request_id not in value:
            return
        try:
            rows = decode_rows(value)
        except CodecError:
            # Another program's, or a newer version's; `hookline doctor` tells.
            return
        for row in rows:
            if row.request_id != self._request_id:
                continue
            if isinstance(row, Execution):
                self._executions.append(row)
            else:
                self._receptions.append(row)
