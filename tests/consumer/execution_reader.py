"""An execution log of its own topic, and what it holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition

from consumer.engine.execution_columns import Origin
from consumer.engine.execution_log import ExecutionLog
from consumer.engine.execution_sender import ExecutionSender
from schemas.execution import Execution, Reception
from schemas.execution_batch import decode_rows
from schemas.execution_sampling import ExecutionSampling
from tests.parts.kafka import KafkaBroker


class CountingSender(ExecutionSender):
    """Counts what it drops where a test sees it."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.lost: Counter[str] = Counter()

    def dropped(self, events: int, reason: str) -> None:
        self.lost[reason] += events
        super().dropped(events, reason)


class Executions:
    """`log` writes to a new topic of two partitions; `rows` waits for what is on it."""

    def __init__(
        self, broker: KafkaBroker, sampling: ExecutionSampling | None = None, **more: Any
    ) -> None:
        """`more`: of the sender."""
        self.topic = broker.create_topic(f"executions-{uuid4().hex}", 2)
        self._servers = broker.bootstrap_servers
        self.sender = CountingSender(self.topic, {"bootstrap.servers": self._servers}, **more)
        origin = Origin("test", "group", "host:1")
        self.log = ExecutionLog(origin, sampling or ExecutionSampling(), self.sender)

    def values(self, *, events: int, timeout_s: float = 30.0) -> list[bytes]:
        """The messages of the topic, once they hold so many events."""
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": uuid4().hex})
        consumer.assign([TopicPartition(self.topic, number, 0) for number in (0, 1)])
        deadline_s = time.monotonic() + timeout_s
        found: list[bytes] = []
        count = 0
        while count < events:
            assert time.monotonic() < deadline_s, f"{count} of {events} executions"
            self.sender.look()
            for message in consumer.consume(100, 0.1):
                assert message.error() is None, message.error()
                value = message.value()
                assert value is not None
                found.append(value)
                count += len(decode_rows(value))
        consumer.close()
        return found

    def messages(self) -> int:
        """How many there are on the topic."""
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": "ends"})
        ends = [
            consumer.get_watermark_offsets(TopicPartition(self.topic, number), 10)
            for number in (0, 1)
        ]
        consumer.close()
        return sum(end[1] for end in ends if end)

    def rows(self, events: int) -> list[Execution]:
        """What was written, by offset, once it is so many."""
        rows = [row for value in self.values(events=events) for row in executions_in(value)]
        return sorted(rows, key=lambda row: (row.offset, row.committed_at_us))


def executions_in(value: bytes) -> list[Execution]:
    """The rows of a message that a consumer wrote."""
    rows: Sequence[Execution | Reception] = decode_rows(value)
    return [row for row in rows if isinstance(row, Execution)]
