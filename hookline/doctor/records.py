"""Whether this build can read what is on the topics: the last record of each partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from hookline.doctor.findings import Finding, broken, ok, warning
from hookline.settings.loading import Settings
from schemas.codec import CONNECTION, DEAD_LETTER, EVENT, REVOCATION
from schemas.errors import CodecError, UnknownSchema
from schemas.execution_batch import decode_rows

_TIMEOUT_S: Final = 10.0


def schemas(settings: Settings, properties: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding for each topic that has a record; UnknownSchema means that we are too old."""
    topics = settings.topics
    decoders: dict[str, Callable[[bytes], object]] = {
        topics.events: EVENT.decode,
        topics.connections: _connection_or_revocation,
        topics.executions: decode_rows,
        topics.quarantine: DEAD_LETTER.decode,
        topics.dead_letters: DEAD_LETTER.decode,
    }
    consumer = Consumer(
        {
            **properties,
            "group.id": "hookline-doctor",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "latest",
            "allow.auto.create.topics": False,
        }
    )
    readable = 0
    try:
        for topic, decode in decoders.items():
            try:
                found = list(_last_records(consumer, topic))
            except KafkaException as error:
                yield warning("schemas", f"{topic} cannot be read ({error.args[0].name()})")
                continue
            problems = list(filter(None, (_problem(topic, m, decode) for m in found)))
            yield from problems[:1]
            readable += bool(found) and not problems
    finally:
        consumer.close()
    if readable:
        plural = "s" if readable != 1 else ""
        yield ok("schemas", f"the latest records of {readable} topic{plural} can be read")


def _last_records(consumer: Consumer, topic: str) -> Iterator[Message]:
    described = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if described.error is not None:
        return
    starts = []
    for number in described.partitions:
        place = TopicPartition(topic, number)
        low, high = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        if high > low:
            starts.append(TopicPartition(topic, number, high - 1))
    waiting = {start.partition for start in starts}
    consumer.assign(starts)
    while waiting:
        message = consumer.poll(_TIMEOUT_S)
        if message is None:
            return
        error = message.error()
        if error is None:
            yield message
        elif error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        waiting.discard(message.partition())


def _connection_or_revocation(value: bytes) -> object:
    try:
        return CONNECTION.decode(value)
    except UnknownSchema:
        return REVOCATION.decode(value)


def _problem(topic: str, message: Message, decode: Callable[[bytes], object]) -> Finding | None:
    value = message.value()
    # A tombstone of a compacted topic.
    if value is None:
        return None
    place = f"{topic}[{message.partition()}]@{message.offset()}"
    try:
        decode(value)
    except UnknownSchema:
        return broken(
            "schemas",
            f"{place} was written by a newer version of Hookline",
            "upgrade this process: readers come before writers",
        )
    except CodecError as error:
        return warning(
            "schemas",
            f"{place} cannot be read ({error.reason})",
            "another program writes to this topic: find it by the broker's request log",
        )
    return None
