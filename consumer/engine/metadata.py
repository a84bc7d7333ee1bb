"""What Kafka says of a topic, asked through a client of its own.

The consumer itself may not be asked inside a rebalance callback: confluent-kafka 2.16 loses the
state of the poll that the callback belongs to, and aborts the process at the next one.
"""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

_TIMEOUT_S: Final = 10.0
#: A consumer's properties that an admin client does not know.
_CONSUMERS: Final = (
    "group.", "partition.assignment.strategy", "session.timeout.ms", "max.poll.interval.ms",
    "enable.auto.", "auto.offset.reset", "isolation.level", "fetch.", "queued.",
    "heartbeat.interval.ms",
)  # fmt: skip


def admin_properties(properties: dict[str, Any]) -> dict[str, Any]:
    """Those of a consumer's properties that a client knows which only asks."""
    known = {k: v for k, v in properties.items() if not k.startswith(_CONSUMERS)}
    return {**known, "log_level": 0}


class Metadata:
    """Asks the brokers that a consumer's properties name; each question is a client of its own."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._properties = {**admin_properties(properties), "client.id": "hookline-metadata"}

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; KafkaException if it cannot be told."""
        found = AdminClient(self._properties).list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)

    def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """The end offset of each of the first so many partitions."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(topic, number): latest for number in range(partitions)}
        # Kept until all have answered: what is asked of a client that is gone never ends.
        admin = AdminClient(self._properties)
        futures = admin.list_offsets(asked, request_timeout=_TIMEOUT_S)
        return {
            place.partition: future.result(2 * _TIMEOUT_S).offset
            for place, future in futures.items()
        }
