"""The parts themselves: each keeps its data through kill -9."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.parts.kafka import KafkaBroker
from tests.parts.postgres import PostgresServer
from tests.parts.redis import RedisServer


@pytest.mark.kafka
def test_kafka_keeps_what_it_has_acknowledged_through_kill_9() -> None:
    with KafkaBroker() as broker:
        broker.create_topic("t", 1)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "acks": "all"})
        producer.produce("t", b"kept")
        assert producer.flush(20) == 0
        broker.kill()
        broker.start()
        consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g"})
        consumer.assign([TopicPartition("t", 0, 0)])
        deadline_s = time.monotonic() + 30
        message = None
        while message is None or message.error():
            assert time.monotonic() < deadline_s
            message = consumer.poll(1)
        assert message.value() == b"kept"
        consumer.close()


@pytest.mark.postgres
def test_postgres_keeps_what_it_has_committed_through_kill_9(postgres: PostgresServer) -> None:
    postgres.query("CREATE TABLE kept AS SELECT 42 AS n")
    postgres.kill()
    postgres.start()
    assert postgres.query("SELECT n FROM kept") == "42"


@pytest.mark.redis
def test_redis_keeps_what_it_has_written_through_kill_9(redis: RedisServer) -> None:
    redis.command("SET", "kept", "42")
    redis.kill()
    redis.start()
    assert redis.command("GET", "kept") == b"$2\r\n42"
