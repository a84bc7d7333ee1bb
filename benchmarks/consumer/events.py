"""The events that every candidate consumes: envelopes as the gateway writes them, with copies."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Final

import msgspec
from confluent_kafka import Producer

from schemas.codec import EVENT
from schemas.event import HEADER_EVENT_TYPE, HEADER_REQUEST_ID, HEADER_TRACEPARENT, Event
from tests.parts.kafka import KafkaBroker

PARTITIONS: Final = 4
KEYS: Final = 5_000
COPIES: Final = 0.05
#: A copy comes within so many events of its original.
_COPY_WITHIN: Final = 10_000
_STATES: Final = ("placed", "paid", "packed", "shipped")
_RECEIVED_AT_US: Final = 1_763_942_400_000_000


class Log(msgspec.Struct, frozen=True):
    """A topic that is filled: `events` in all, of which `distinct` differ."""

    topic: str
    events: int
    distinct: int


def make(count: int, *, keys: int = KEYS, copies: float = COPIES, seed: int = 1) -> Iterator[Event]:
    """That many events, a share of them copies of earlier ones; the same for a seed."""
    draw = random.Random(seed)
    recent: list[Event] = []
    for number in range(count):
        if recent and draw.random() < copies:
            yield draw.choice(recent)
            continue
        event = one(number, draw.randrange(keys), draw)
        if len(recent) < _COPY_WITHIN:
            recent.append(event)
        else:
            recent[number % _COPY_WITHIN] = event
        yield event


def fill(
    broker: KafkaBroker, topic: str, count: int, *, keys: int = KEYS, copies: float = COPIES
) -> Log:
    """Make a topic and put that many events into it."""
    broker.create_topic(topic, PARTITIONS)
    producer = connect(broker, linger_ms=20)
    distinct: set[str] = set()
    for event in make(count, keys=keys, copies=copies):
        distinct.add(event.event_id)
        publish(producer, topic, event)
    producer.flush(60)
    return Log(topic, count, len(distinct))


def connect(broker: KafkaBroker, linger_ms: int) -> Producer:
    """A producer with the properties of the gateway's that matter to consumers."""
    return Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "enable.idempotence": True,
            "log_level": 0,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "batch.size": 262_144,
        }
    )


def publish(producer: Producer, topic: str, event: Event) -> None:
    """Hand one event to the producer, waiting while its queue is full."""
    request_id = event.request_id.hex()
    headers = [
        (HEADER_REQUEST_ID, request_id.encode()),
        (HEADER_EVENT_TYPE, event.event_type.encode()),
        (HEADER_TRACEPARENT, f"00-{request_id}-{request_id[16:]}-01".encode()),
    ]
    while True:
        try:
            producer.produce(
                topic, EVENT.encode(event), event.resource_key.encode(), headers=headers
            )
        except BufferError:
            producer.poll(0.1)
        else:
            return


def one(number: int, order: int, draw: random.Random) -> Event:
    """An event of an order; its version is its number."""
    state = draw.choice(_STATES)
    event_id = f"evt_{draw.getrandbits(80):020x}"
    return Event(
        request_id=draw.randbytes(16),
        environment="benchmark",
        tenant="acme",
        connection="acme-shop",
        provider="hmac",
        event_id=event_id,
        event_type=f"hmac.order.{state}",
        resource_type="order",
        resource_id=f"order-{order}",
        resource_version=number,
        received_at_us=_RECEIVED_AT_US + number * 1000,
        occurred_at_us=_RECEIVED_AT_US + number * 1000 - 300_000,
        secret_name="first",
        content_type="application/json",
        headers={"x-event-id": event_id, "user-agent": "Shop-Webhooks/2.1"},
        payload=_payload(event_id, order, state, draw),
        read_ns=31_000,
        verify_ns=12_000,
        identify_ns=24_000,
    )


def _payload(event_id: str, order: int, state: str, draw: random.Random) -> bytes:
    body = {
        "id": event_id,
        "type": f"order.{state}",
        "created_at": "2026-11-24T00:00:00Z",
        "data": {
            "id": f"order-{order}",
            "state": state,
            "total_cents": draw.randint(900, 40_000),
            "items": [
                {"sku": f"SKU-{draw.randrange(10_000)}", "quantity": draw.randint(1, 4),
                 "price_cents": draw.randint(100, 9_000)}
                for _ in range(5)
            ],
            "shipping": {"name": "Noor Verhoeven", "street": f"Ringstrasse {draw.randrange(200)}",
                         "city": draw.choice(["Graz", "Turin", "Lyon"]), "express": False},
            "customer": {"id": f"cus_{draw.getrandbits(64):016x}", "locale": "de-AT"},
            "notes": "Leave it with the neighbour if nobody opens the door, please.",
            "trace": f"{draw.getrandbits(128):032x}",
        },
    }  # fmt: skip
    return json.dumps(body, separators=(",", ":")).encode()
