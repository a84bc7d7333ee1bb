"""The Kafka publisher on a real broker: what it calls safe is safe."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from producer.publish.publisher import Acknowledged
from schemas.errors import NotAcknowledged, PublishError
from tests.parts.kafka import KafkaBroker
from tests.publish.publishing import publishing, run, until

pytestmark = pytest.mark.kafka

PARTITIONS = 3


def test_what_is_acknowledged_is_in_the_log_once_though_the_broker_is_killed_and_restarted(
    kafka: KafkaBroker,
) -> None:
    topic = kafka.create_topic(f"events-{uuid4().hex[:12]}", PARTITIONS)
    acknowledged: dict[bytes, Acknowledged] = {}
    refused: list[PublishError] = []
    sent = 0

    async def test() -> None:
        stop = asyncio.Event()

        async def send(lane: int) -> None:
            nonlocal sent
            while not stop.is_set():
                sent += 1
                value = b"%d" % sent
                try:
                    acknowledged[value] = await publisher.publish(
                        topic, b"lane-%d" % lane, value, []
                    )
                except PublishError as error:
                    refused.append(error)
                    await asyncio.sleep(0.01)

        async with publishing(
            kafka.bootstrap_servers, topic, ack_deadline_s=0.5, linger_ms=1
        ) as publisher:
            lanes = [asyncio.create_task(send(lane)) for lane in range(50)]
            await until(lambda: len(acknowledged) > 1_000)
            kafka.kill()
            await until(lambda: refused and not publisher.ready()[0])
            at_the_kill = len(acknowledged)
            try:
                # On this thread, since a part ends with the thread that has started it.
                kafka.start()
                await until(lambda: publisher.ready()[0], 30)
                await until(lambda: len(acknowledged) > at_the_kill + 1_000, 30)
            finally:
                stop.set()
            await asyncio.gather(*lanes)
            assert await publisher.close(10)

    run(test())
    assert {type(error) for error in refused} == {NotAcknowledged}
    log = read_all(kafka, topic)
    assert acknowledged.items() <= {value: position for position, value in log.items()}.items()
    assert max(Counter(log.values()).values()) == 1
    print(f"acknowledged {len(acknowledged)}, in the log {len(log)}, refused {len(refused)}")


def test_a_topic_that_is_not_there_is_named_and_not_made(kafka: KafkaBroker) -> None:
    topic = f"events-{uuid4().hex[:12]}"

    async def test() -> None:
        async with publishing(kafka.bootstrap_servers, topic, ready=False) as publisher:
            await until(lambda: "run `hookline topics apply`" in publisher.ready()[1])
            with pytest.raises(NotAcknowledged, match=topic):
                publisher.publish(topic, b"k", b"v", [])
            kafka.create_topic(topic, PARTITIONS)
            await until(lambda: publisher.ready()[0])
            await publisher.publish(topic, b"k", b"v", [])

    run(test())


def _end(consumer: Consumer, start: TopicPartition) -> int:
    """After a restart a partition is without a leader for a moment."""
    deadline_s = time.monotonic() + 30
    while True:
        try:
            return int(consumer.get_watermark_offsets(start, timeout=10)[1])
        except KafkaException:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def read_all(kafka: KafkaBroker, topic: str) -> dict[Acknowledged, bytes]:
    """{position: value} of the whole topic."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": uuid4().hex})
    found: dict[Acknowledged, bytes] = {}
    try:
        starts = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
        count = sum(_end(consumer, start) for start in starts)
        consumer.assign(starts)
        while len(found) < count:
            messages = consumer.consume(1_000, 1.0)
            assert messages, f"{len(found)} of {count} records came"
            for message in messages:
                found[Acknowledged(message.partition(), message.offset())] = message.value()
    finally:
        consumer.close()
    return found
