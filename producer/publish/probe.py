"""Asks Kafka whether it could take events: does every partition of every topic have a leader?"""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

_TIMEOUT_S: Final = 1.0


def find_problem(producer: Producer, topics: tuple[str, ...]) -> str:
    """What is in the way, with the next step where there is one; empty if nothing is. Blocks."""
    for topic in topics:
        try:
            metadata = producer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            return f"no answer from Kafka: {error.args[0].str()}"
        if metadata.error is not None:
            if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return f"topic {topic} is not there: run `hookline topics apply`"
            return f"topic {topic}: {metadata.error.str()}"
        if any(partition.leader < 0 for partition in metadata.partitions.values()):
            return f"topic {topic} has a partition without a leader"
    return ""
