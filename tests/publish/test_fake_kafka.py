"""The contract of the producer that the simulation fakes, held by the real one as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from tests.parts.mock_cluster import MockCluster
from tests.publish.fake_kafka import FakeCluster, FakeProducer

#: A producer, what takes its Kafka away, and what gives it back.
Subject = tuple[Any, Callable[[], None], Callable[[], None], list[KafkaError]]


@pytest.fixture(params=["fake", "librdkafka on a mock cluster"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    errors: list[KafkaError] = []
    if request.param == "fake":
        fake = FakeCluster(Random(1), time.monotonic)
        settings = {"error_cb": errors.append, "queue.buffering.max.messages": 5}

        def set_up(up: bool) -> None:
            fake.up = up

        yield FakeProducer(fake, settings), lambda: set_up(False), lambda: set_up(True), errors
        return
    with MockCluster() as cluster:
        cluster.create_topic("events", 2)
        producer = Producer(
            {
                "bootstrap.servers": cluster.bootstrap_servers,
                "enable.idempotence": True,
                "message.max.bytes": 4 * 1024 * 1024,
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 100,
                "queue.buffering.max.messages": 5,
                "error_cb": errors.append,
                "log_level": 0,
            }
        )
        yield producer, cluster.down, cluster.up, errors


def polled(producer: Any, done: Callable[[], object]) -> None:
    until_s = time.monotonic() + 10
    while not done():
        assert time.monotonic() < until_s
        producer.poll(0)
        time.sleep(0.001)


def test_reports_come_inside_poll_in_the_order_of_the_calls(subject: Subject) -> None:
    producer, *_ = subject
    reports: list[tuple[Any, int, int]] = []

    def report(error: Any, message: Any) -> None:
        reports.append((error, message.partition(), message.offset()))

    for _ in range(3):
        producer.produce("events", b"value", b"key", on_delivery=report, headers=[("n", b"1")])
    assert reports == []
    polled(producer, lambda: len(reports) == 3)
    assert [error for error, *_ in reports] == [None] * 3
    assert len({partition for _, partition, _ in reports}) == 1
    assert [offset for *_, offset in reports] == [0, 1, 2]


def test_what_is_in_flight_when_kafka_goes_is_written_when_it_is_back(subject: Subject) -> None:
    producer, down, up, errors = subject
    reports: list[Any] = []
    polled(producer, lambda: answers(producer))
    down()
    for _ in range(3):
        producer.produce(
            "events",
            b"value",
            b"key",
            on_delivery=lambda error, message: reports.append((error, message.offset())),
            headers=[],
        )
    polled(producer, lambda: errors)
    assert KafkaError._ALL_BROKERS_DOWN in [error.code() for error in errors] or errors
    assert not answers(producer)
    assert reports == []
    up()
    polled(producer, lambda: len(reports) == 3)
    assert [error for error, _ in reports] == [None] * 3
    assert sorted(offset for _, offset in reports) == [offset for _, offset in reports]
    assert answers(producer)


def test_what_is_too_large_or_too_much_is_refused_at_once(subject: Subject) -> None:
    producer, down, *_ = subject
    with pytest.raises(KafkaException) as raised:
        producer.produce("events", bytes(5_000_000), b"k", on_delivery=None, headers=[])
    assert raised.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    down()
    for _ in range(5):
        producer.produce("events", b"v", b"k", on_delivery=lambda *_: None, headers=[])
    with pytest.raises(BufferError):
        producer.produce("events", b"v", b"k", on_delivery=lambda *_: None, headers=[])


def answers(producer: Any) -> bool:
    try:
        topic = producer.list_topics("events", timeout=0.5).topics["events"]
    except KafkaException:
        return False
    return topic.error is None and all(one.leader >= 0 for one in topic.partitions.values())
