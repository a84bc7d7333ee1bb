"""`hookline topics` against a real broker."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from click.testing import CliRunner, Result
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from hookline.commands.topics import command, compare
from hookline.settings.loading import load
from schemas.errors import TopicError
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port

pytestmark = pytest.mark.kafka


def run(folder: Path, broker: str, prefix: str, *arguments: str, **topics: object) -> Result:
    config = folder / "hookline.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "kafka": {"bootstrap_servers": broker},
                "topics": {
                    "events": f"{prefix}.events",
                    "quarantine": f"{prefix}.quarantine",
                    "partitions": 3,
                    **topics,
                },
            }
        )
    )
    return CliRunner().invoke(command, [*arguments, "--config", str(config)])


def test_apply_creates_what_is_missing_and_check_agrees(kafka: KafkaBroker, tmp_path: Path) -> None:
    prefix, broker = uuid4().hex, kafka.bootstrap_servers
    before = run(tmp_path, broker, prefix, "check")
    assert before.exit_code == 1
    dry = run(tmp_path, broker, prefix, "apply", "--dry-run")
    assert dry.exit_code == 0
    assert run(tmp_path, broker, prefix, "check").exit_code == 1
    applied = run(tmp_path, broker, prefix, "apply")
    assert (applied.exit_code, applied.exception) == (0, None)
    assert run(tmp_path, broker, prefix, "check").exit_code == 0
    topics = AdminClient({"bootstrap.servers": broker}).list_topics(timeout=10).topics
    assert len(topics[f"{prefix}.events"].partitions) == 3
    assert len(topics[f"{prefix}.quarantine"].partitions) == 1


def test_partitions_are_added_only_by_force_and_never_taken_away(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    prefix, broker = uuid4().hex, kafka.bootstrap_servers
    run(tmp_path, broker, prefix, "apply")
    refused = run(tmp_path, broker, prefix, "apply", partitions=4)
    assert isinstance(refused.exception, TopicError)
    assert "could overtake" in str(refused.exception)
    assert run(tmp_path, broker, prefix, "apply", "--force", partitions=4).exit_code == 0
    fewer = run(tmp_path, broker, prefix, "apply", "--force", partitions=2)
    assert "topics.partitions: 4" in str(fewer.exception)


def test_a_replication_factor_over_the_brokers_is_told(kafka: KafkaBroker, tmp_path: Path) -> None:
    found = run(tmp_path, kafka.bootstrap_servers, "x", "check", replication_factor=3)
    assert "the cluster has 1 broker:" in str(found.exception)


def test_an_absent_broker_is_named(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    found = run(tmp_path, address, "x", "check")
    assert isinstance(found.exception, TopicError)
    assert address in str(found.exception)


def test_events_carry_the_brokers_time_also_on_a_topic_that_was_there_before(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    prefix, broker = uuid4().hex, kafka.bootstrap_servers
    kafka.create_topic(f"{prefix}.events", 3, segment_ms="3600000")
    producer = Producer({"bootstrap.servers": broker})
    # A client whose clock is behind, before and after.
    behind_ms = int(time.time() * 1000) - 600_000
    producer.produce(f"{prefix}.events", b"before", timestamp=behind_ms)
    assert producer.flush(30) == 0
    assert run(tmp_path, broker, prefix, "check").exit_code == 1
    admin = AdminClient({"bootstrap.servers": broker})
    wanted = load(tmp_path / "hookline.yaml", {})
    told = [(d.topic.name, d.problem, d.mend) for d in compare(admin, wanted)]
    assert (
        f"{prefix}.events",
        "message.timestamp.type is CreateTime",
        "set message.timestamp.type to LogAppendTime",
    ) in told
    assert run(tmp_path, broker, prefix, "apply").exit_code == 0
    assert run(tmp_path, broker, prefix, "check").exit_code == 0
    now_ms = time.time() * 1000
    producer.produce(f"{prefix}.events", b"after", timestamp=behind_ms)
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": broker, "group.id": prefix})
    consumer.assign([TopicPartition(f"{prefix}.events", n, 0) for n in range(3)])
    found = {m.value(): m.timestamp() for m in consumer.consume(2, 30)}
    consumer.close()
    assert found[b"before"] == (TIMESTAMP_CREATE_TIME, behind_ms)
    kind, at_ms = found[b"after"]
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert abs(at_ms - now_ms) < 60_000
    # What the operator has set besides is as it was.
    resource = ConfigResource(ConfigResource.Type.TOPIC, f"{prefix}.events")
    settings = admin.describe_configs([resource])[resource]
    assert settings.result(30)["segment.ms"].value == "3600000"
