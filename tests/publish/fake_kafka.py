"""A Kafka that a test breaks as it likes, with the part of confluent-kafka's Producer that we use.

It passes the contract suite of test_fake_kafka.py, as the real Producer does. One producer is one
stream: its records of a partition are written once each, in their order, and tried for ever.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

PARTITIONS = 2
#: What the broker refuses for its size, though the client does not.
POISON = b"poison"
_MAX_BYTES = 4 * 1024 * 1024


class FakeCluster:
    """The topic's log, and its moods."""

    def __init__(self, draw: Random, clock_s: Callable[[], float]) -> None:
        self.draw = draw
        self.clock_s = clock_s
        self.log: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        self.up = True
        #: Written, and the answers are lost until it ends.
        self.acks_lost = False
        #: Partitions that stand still, while the others go on.
        self.stuck: set[int] = set()
        self.refusing: int | None = None
        self.delay_s = 0.002
        self._zombies: list[_Stream] = []

    def killed(self, producer: FakeProducer) -> None:
        """The process is gone; what is on the wire may still be written, later or never."""
        self._zombies = [stream for stream in producer.streams.values() if stream.unwritten]

    def haunt(self) -> None:
        """Write some more of what the dead have sent."""
        for stream in self._zombies:
            for _ in range(self.draw.randrange(4)):
                if stream.unwritten and self.up and self.refusing is None:
                    message = stream.unwritten.popleft()
                    if not message.value.startswith(POISON):
                        self.log[message.partition_].append((message.key, message.value))

    def lay(self) -> None:
        """The dead rest."""
        self._zombies = []


class _Message:
    def __init__(self, partition: int, key: bytes, value: bytes, report: Any, at_s: float) -> None:
        self.partition_, self.key, self.value = partition, key, value
        self.report, self.at_s = report, at_s
        self.offset_ = -1

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_


class _Stream:
    def __init__(self) -> None:
        self.unwritten: deque[_Message] = deque()
        self.unreported: deque[_Message] = deque()


class FakeProducer:
    """Reports come inside `poll`, as the client's do."""

    def __init__(self, cluster: FakeCluster, settings: dict[str, Any]) -> None:
        self._cluster = cluster
        self._error_cb = settings.get("error_cb", lambda error: None)
        self._max_messages = settings.get("queue.buffering.max.messages", 100_000)
        self._told_down = False
        self._fatal = False
        self._failed: deque[tuple[_Message, KafkaError]] = deque()
        self.streams: dict[int, _Stream] = defaultdict(_Stream)
        self.fatal_next = False

    def __len__(self) -> int:
        return len(self._failed) + sum(
            len(stream.unwritten) + len(stream.unreported) for stream in self.streams.values()
        )

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Any, headers: Any) -> None:
        if self._fatal:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        if len(value) > _MAX_BYTES:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self) >= self._max_messages:
            raise BufferError
        partition = sum(key) % PARTITIONS
        self.streams[partition].unwritten.append(
            _Message(partition, key, value, on_delivery, self._cluster.clock_s())
        )

    def poll(self, timeout: float) -> int:
        cluster = self._cluster
        if self.fatal_next and len(self):
            self.fatal_next, self._fatal = False, True
            for stream in self.streams.values():
                for message in (*stream.unreported, *stream.unwritten):
                    self._failed.append((message, KafkaError(KafkaError._FATAL)))
                stream.unreported.clear()
                stream.unwritten.clear()
            raise KafkaException(KafkaError(KafkaError._FATAL, "fenced", True))
        if not cluster.up and not self._told_down:
            self._error_cb(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        self._told_down = not cluster.up
        told = 0
        while self._failed:
            message, error = self._failed.popleft()
            message.report(error, message)
            told += 1
        if not cluster.up or self._fatal:
            return told
        for partition, stream in self.streams.items():
            if partition in cluster.stuck:
                continue
            self._write(stream)
            while stream.unreported and not cluster.acks_lost:
                message = stream.unreported[0]
                if cluster.clock_s() < message.at_s + 2 * cluster.delay_s:
                    break
                stream.unreported.popleft()
                message.report(None, message)
                told += 1
        return told

    def _write(self, stream: _Stream) -> None:
        cluster = self._cluster
        if cluster.refusing is not None:
            # All that is under way: a topic is refused as a whole.
            while stream.unwritten:
                self._failed.append((stream.unwritten.popleft(), KafkaError(cluster.refusing)))
        while stream.unwritten:
            message = stream.unwritten[0]
            if cluster.clock_s() < message.at_s + cluster.delay_s:
                return
            stream.unwritten.popleft()
            if message.value.startswith(POISON):
                self._failed.append((message, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
                continue
            log = cluster.log[message.partition_]
            message.offset_ = len(log)
            log.append((message.key, message.value))
            stream.unreported.append(message)

    def list_topics(self, topic: str, timeout: float) -> Any:
        if not self._cluster.up or self._fatal:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        partitions = {n: SimpleNamespace(leader=1) for n in range(PARTITIONS)}
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=partitions)})
