"""Rows of one event and its request, made by hand, and their way onto a real topic."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from confluent_kafka import Producer

from schemas.execution import Attempt, Execution, Reception
from schemas.execution_batch import EXECUTIONS, RECEPTIONS, executions_of, receptions_of
from schemas.request_id import make
from tests.parts.kafka import KafkaBroker


def fresh_id(age_s: float = 0.0) -> bytes:
    """A request id of now, or of a while ago."""
    return make(int((time.time() - age_s) * 1000), os.urandom(10))


def execution(request_id: bytes, **other: object) -> Execution:
    """An event that was applied at its third call."""
    at_us = int.from_bytes(request_id[:6], "big") * 1000
    values: dict[str, object] = {
        "request_id": request_id,
        "environment": "test",
        "tenant": "acme",
        "connection": "acme-shop",
        "provider": "standard_webhooks",
        "event_type": "standard_webhooks.order.paid",
        "event_id": "msg_1",
        "resource_type": "order",
        "resource_id": "17",
        "source": "WEBHOOK",
        "group": "orders",
        "instance": "consumer-1:7",
        "topic": "hookline.events",
        "partition": 3,
        "offset": 41,
        "outcome": "applied",
        "received_at_us": at_us,
        "in_kafka_at_us": at_us + 4_000,
        "polled_at_us": at_us + 10_000,
        "committed_at_us": at_us + 900_000,
        "read_ns": 1_000_000,
        "verify_ns": 200_000,
        "identify_ns": 300_000,
        "lane_ns": 700_000_000,
        "handler_ns": 50_000_000,
        "commit_ns": 20_000_000,
        "failures": 2,
        "attempts": tuple(
            Attempt(
                number=number,
                began_at_us=at_us + 100_000 * number,
                duration_ns=30_000_000,
                outcome="transient",
                error_type="ConnectionError",
            )
            for number in (1, 2)
        ),
    }
    return Execution(**{**values, **other})  # type: ignore[arg-type]


def reception(request_id: bytes, **other: object) -> Reception:
    """The request that brought it."""
    values: dict[str, object] = {
        "request_id": request_id,
        "environment": "test",
        "connection": "acme-shop",
        "tenant": "acme",
        "provider": "standard_webhooks",
        "instance": "gateway-1:7",
        "outcome": "accepted",
        "status": 200,
        "received_at_us": int.from_bytes(request_id[:6], "big") * 1000,
        "read_ns": 1_000_000,
        "verify_ns": 200_000,
        "identify_ns": 300_000,
        "encode_ns": 100_000,
        "publish_ns": 6_000_000,
        "total_ns": 7_700_000,
        "events": 1,
        "partition": 3,
        "offset": 41,
    }
    return Reception(**{**values, **other})  # type: ignore[arg-type]


def write(kafka: KafkaBroker, topic: str, *batches: Sequence[Execution | Reception]) -> None:
    """Each batch as one message; safe when it returns."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for batch in batches:
        receptions = [row for row in batch if isinstance(row, Reception)]
        executions = [row for row in batch if isinstance(row, Execution)]
        if receptions:
            producer.produce(topic, RECEPTIONS.encode(receptions_of(receptions)))
        if executions:
            producer.produce(topic, EXECUTIONS.encode(executions_of(executions)))
    assert producer.flush(20) == 0
