"""A topic, a store and a consumer over them: what the tests on a real broker start from."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Limits, ParkingLimits
from consumer.engine.engine import ConsumerEngine, kafka_protocols
from consumer.engine.execution_log import ExecutionLog
from consumer.stores.sqlite import SqliteStore
from hookline import Event, Handlers, Transaction
from schemas import request_id as request_ids
from schemas.codec import EVENT
from tests.parts.kafka import KafkaBroker

FAST = Backoff(initial_s=0.02, max_s=0.1, budget_s=30.0)
#: The budget is spent at the second failure.
HASTY = Backoff(initial_s=0.01, max_s=0.02, budget_s=0.05)
SOON = ParkingLimits(backoff=Backoff(initial_s=0.2, max_s=0.4), scan_every_s=0.1)


class Bench:
    """A topic, a store, and a consumer that can be started and stopped over them."""

    def __init__(self, broker: KafkaBroker, folder: Path) -> None:
        self.broker = broker
        self.topic = broker.create_topic(f"events-{uuid4().hex}", 2)
        self.group = f"group-{uuid4().hex}"
        self.path = folder / "store.db"
        self.engines: list[ConsumerEngine] = []
        self._places: dict[bytes | None, set[int]] = {}
        self.renew_producer()
        SqliteStore(self.path, self.group).close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE effects (n INTEGER PRIMARY KEY, id TEXT, key TEXT)")

    def renew_producer(self) -> None:
        """A producer that knows the topic's partitions as they are now."""
        self._producer = Producer(
            {"bootstrap.servers": self.broker.bootstrap_servers, "partitioner": "murmur2_random"}
        )

    def send(
        self,
        *ids: str,
        resource: str = "1",
        event_type: str = "hmac.order.paid",
        version: int | None = None,
    ) -> None:
        for event_id in ids:
            event = Event(
                request_id=request_ids.make(time.time_ns() // 1_000_000, os.urandom(10)),
                environment="test",
                tenant="acme",
                connection="shop",
                provider="hmac",
                event_id=event_id,
                event_type=event_type,
                resource_type="order",
                resource_id=resource,
                resource_version=version,
                received_at_us=time.time_ns() // 1000,
                payload=b"{}",
            )
            self.send_raw(EVENT.encode(event), event.resource_key.encode())
        self._producer.flush()

    def send_raw(
        self,
        value: bytes | None,
        key: bytes | None = None,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        self._producer.produce(self.topic, value, key, headers=headers)

    def start(
        self,
        handlers: Handlers,
        *,
        limits: Limits | None = None,
        backoff: Backoff = FAST,
        policy: Policy = Policy.PARK,
        parking: ParkingLimits = SOON,
        properties: dict[str, Any] | None = None,
        executions: ExecutionLog | None = None,
    ) -> ConsumerEngine:
        engine = ConsumerEngine(
            topic=self.topic,
            group=self.group,
            protocols=kafka_protocols(self.broker.bootstrap_servers, self.group, properties or {}),
            store=SqliteStore(self.path, self.group),
            handlers=handlers,
            limits=limits,
            parking=parking,
            backoff=backoff,
            policy=policy,
            executions=executions,
        )
        self.engines.append(engine)
        engine.start()
        return engine

    def stop(self) -> bool:
        return self.engines.pop().stop()

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.path) as connection:
            return connection.execute(sql).fetchall()

    def effects(self) -> list[object]:
        return [row[0] for row in self.query("SELECT id FROM effects ORDER BY n")]

    def letters(self) -> list[object]:
        return [row[0] for row in self.query("SELECT reason FROM hookline_dead_letters")]

    def partitions_of(self, resource: str) -> set[int]:
        """The partitions that hold events of a resource."""
        if not self._places:
            consumer = self._plain_consumer()
            count = len(consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions)
            places = [TopicPartition(self.topic, number, 0) for number in range(count)]
            ends = {p.partition: consumer.get_watermark_offsets(p, 10)[1] for p in places}
            consumer.assign(places)
            for message in consumer.consume(sum(ends.values()), 10):
                self._places.setdefault(message.key(), set()).add(message.partition())
            consumer.close()
        return self._places[f"acme/shop/order/{resource}".encode()]

    def committed(self) -> dict[int, int]:
        """Kafka's own offsets of the group."""
        consumer = self._plain_consumer()
        wanted = [TopicPartition(self.topic, n) for n in range(2)]
        found = consumer.committed(wanted, timeout=10)
        consumer.close()
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    def commit(self, offsets: dict[int, int]) -> None:
        """Set Kafka's own offsets of the group."""
        consumer = self._plain_consumer()
        consumer.commit(
            offsets=[TopicPartition(self.topic, p, o) for p, o in offsets.items()],
            asynchronous=False,
        )
        consumer.close()

    def _plain_consumer(self) -> Consumer:
        return Consumer(
            {"bootstrap.servers": self.broker.bootstrap_servers, "group.id": self.group}
        )


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass in time"
        time.sleep(0.02)


def inserting() -> Handlers:
    """One row an event."""
    handlers = Handlers()

    @handlers.on("hmac.order.*")
    def insert(event: Event, tx: Transaction) -> None:
        put(event, tx)

    return handlers


def put(event: Event, tx: Transaction) -> None:
    """The effect of an event."""
    tx.execute("INSERT INTO effects (id, key) VALUES (?, ?)", (event.event_id, event.resource_id))
