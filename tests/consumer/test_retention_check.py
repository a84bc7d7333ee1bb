"""Ids that are forgotten before the log forgets their events: said at the start."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from hookline.processes.retention_check import short_retention, warn_of_short_retention
from hookline.settings.model import Settings
from tests.parts.kafka import KafkaBroker

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("retention_ms", "days", "words"),
    [
        (7 * DAY_MS, 8, None),
        (8 * DAY_MS - 1, 8, None),
        (8 * DAY_MS, 8, ["is 8,", "for 8 days", "consumer.retention_days: 9 or more"]),
        (10 * DAY_MS, 8, ["for 10 days", "retention_days: 11 or more"]),
        (-1, 8, ["for ever", "retention.ms below 691200000"]),
    ],
)
def test_both_numbers_are_told_with_what_to_write(
    retention_ms: int, days: int, words: list[str] | None
) -> None:
    found = short_retention("events", retention_ms, days)
    assert (found is None) == (words is None)
    assert all(word in str(found) for word in words or [])


@pytest.mark.kafka
@pytest.mark.parametrize(("retention_ms", "warnings"), [(9 * DAY_MS, 1), (DAY_MS, 0)])
def test_the_topics_own_retention_is_looked_at(
    kafka: KafkaBroker, caplog: pytest.LogCaptureFixture, retention_ms: int, warnings: int
) -> None:
    topic = f"events-{uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    new = NewTopic(topic, 1, 1, config={"retention.ms": str(retention_ms)})
    admin.create_topics([new])[topic].result(30)
    settings = Settings.model_validate(
        {"kafka": {"bootstrap_servers": kafka.bootstrap_servers}, "topics": {"events": topic}}
    )
    with caplog.at_level(logging.WARNING, "hookline.consumer"):
        warn_of_short_retention(settings, {"group.protocol": "consumer"}).join(30)
    assert len(caplog.records) == warnings


def test_without_kafka_nothing_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookline.processes.retention_check._TIMEOUT_S", 1.0)
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
    thread = warn_of_short_retention(settings, {})
    thread.join(10)
    assert not thread.is_alive()
    assert caplog.records == []
