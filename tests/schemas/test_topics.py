"""Topics as data: every one is told whole, and holds the largest thing that is put on it."""

from __future__ import annotations

import pytest

from hookline.settings.model import GatewaySettings, TopicSettings
from schemas import topics
from schemas.codec import DEAD_LETTER, EVENT
from schemas.dead_letter import DeadLetter
from schemas.event import MAX_ID_CHARS, Event
from schemas.topics import Topic

EVERY = pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
PROCESSES = {"gateway", "consumer", "operators", "monitor", "console"}


def test_all_topics_are_in_the_list_once() -> None:
    constants = [value for value in vars(topics).values() if isinstance(value, Topic)]
    assert list(topics.ALL) == constants
    assert len({topic.name for topic in topics.ALL}) == len(topics.ALL)


@EVERY
def test_each_says_who_writes_it_who_reads_it_and_what_it_holds(topic: Topic) -> None:
    assert set(topic.written_by.split(", ")) <= PROCESSES
    assert topic.read_by in PROCESSES
    assert topic.written_by != topic.read_by
    for text in (topic.key, topic.value, topic.purpose):
        assert text.strip()
    assert topic.value.split(",")[0] in {
        "Event",
        "DeadLetter",
        "Connection",
        "ConnectSession",
        "Executions or Receptions",
        "ApiToken",
        "Audit",
    }


@EVERY
def test_each_has_a_shape_that_a_broker_takes(topic: Topic) -> None:
    assert topic.name.startswith("hookline.")
    assert topic.partitions >= 1
    assert topic.cleanup in {"delete", "compact", "compact,delete"}
    assert (topic.retention_ms == -1) == (topic.cleanup == "compact")
    assert topic.settings() == {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(topic.max_message_bytes),
        "message.timestamp.type": "LogAppendTime" if topic.append_time else "CreateTime",
    }


def test_what_was_set_aside_is_kept_at_least_as_long_as_events() -> None:
    assert topics.QUARANTINE.retention_ms >= topics.EVENTS.retention_ms


@pytest.mark.parametrize("kept_headers", [{}, {f"x-{n}": "v" * 1024 for n in range(64)}])
def test_the_largest_body_that_settings_allow_fits(kept_headers: dict[str, str]) -> None:
    limit = GatewaySettings.model_fields["max_body_bytes"]
    body = bytes(next(rule.le for rule in limit.metadata if hasattr(rule, "le")))
    name, text = "n" * 63, "é" * MAX_ID_CHARS
    event = Event(
        request_id=bytes(16), environment=name, tenant=name, connection=name, provider=name,
        event_id=text, event_type=text, resource_type=text, resource_id=text, received_at_us=0,
        secret_name=name, content_type="t" * 1024, headers=kept_headers, payload=body,
    )  # fmt: skip
    letter = DeadLetter(
        reason="r", detail="d" * 1000, connection=name, died_at_us=0, value=body,
        headers=kept_headers,
    )  # fmt: skip
    # Kafka's limit is on the batch, before the broker sees it: the key, three headers and 100
    # bytes of framing come on top.
    around = len(event.resource_key.encode()) + 1024
    assert len(EVENT.encode(event)) + around < topics.EVENTS.max_message_bytes
    assert len(DEAD_LETTER.encode(letter)) + around < topics.QUARANTINE.max_message_bytes


def test_settings_rename_topics_and_size_only_the_events_topic() -> None:
    settings = TopicSettings(
        events="e",
        quarantine="q",
        dead_letters="d",
        connections="c",
        executions="x",
        tokens="t",
        audit="a",
        connect_sessions="s",
        partitions=7,
    )
    events, quarantine, dead_letters, connections, executions, *access = settings.resolved()
    assert (events.name, events.partitions) == ("e", 7)
    assert (quarantine.name, quarantine.partitions) == ("q", topics.QUARANTINE.partitions)
    assert (dead_letters.name, dead_letters.partitions) == ("d", topics.DEAD_LETTERS.partitions)
    assert (connections.name, connections.partitions) == ("c", 1)
    assert (executions.name, executions.partitions) == ("x", topics.EXECUTIONS.partitions)
    assert [topic.name for topic in access] == ["t", "a", "s"]
    assert events.written_by == topics.EVENTS.written_by
