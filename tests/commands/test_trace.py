"""`hookline trace` on a real log and a real store: what is found, and what is said next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from click.testing import CliRunner, Result

from consumer.monitor.contract import Span
from consumer.monitor.sqlite import SqliteMonitor
from consumer.stores.contract import Letter, ParkedEvent, Partition
from consumer.stores.sqlite import SqliteStore
from hookline.commands.trace import command
from schemas.dead_letter import DeadLetter
from schemas.errors import ConfigurationError, TopicError
from tests.commands.execution_rows import execution, fresh_id, reception, write
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port

pytestmark = pytest.mark.kafka
KEY = "acme/acme-shop/order/17"
P3 = Partition("hookline.events", 3)


class Stage:
    def __init__(self, kafka: KafkaBroker, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder
        self.topic = kafka.create_topic(f"executions-{uuid4().hex[:8]}", 2)
        self.config = folder / "hookline.yaml"
        self.settings: dict[str, Any] = {
            "environment": "test",
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "topics": {"executions": self.topic},
            "consumer": {"group": "orders", "store": f"sqlite:///{folder}/store.db"},
            "monitor": {"store": f"sqlite:///{folder}/monitor.db"},
            "telemetry": {"trace_url": "jaeger+https://jaeger.example"},
        }
        self.configure()

    def configure(self) -> None:
        self.config.write_text(yaml.safe_dump(self.settings))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(command, [*arguments, "--config", str(self.config)])

    def told(self, request_id: bytes) -> dict[str, Any]:
        result = self.run(request_id.hex(), "--json")
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    def store(self) -> SqliteStore:
        return SqliteStore(self.folder / "store.db", "orders")


@pytest.fixture
def stage(kafka: KafkaBroker, tmp_path: Path) -> Stage:
    return Stage(kafka, tmp_path)


def test_every_step_of_both_processes_is_shown_with_its_time_and_place(stage: Stage) -> None:
    rid, others = fresh_id(), [fresh_id() for _ in range(20)]
    write(
        stage.kafka,
        stage.topic,
        [reception(other) for other in others[:10]],
        [*(reception(other) for other in others[10:]), reception(rid)],
        [execution(other) for other in others],
        [execution(others[0]), execution(rid), execution(others[1])],
    )
    result = stage.run(rid.hex())
    assert result.exit_code == 0, result.output
    for text in (
        f"request {rid.hex()}",
        "gateway gateway-1:7  200 accepted  → partition 3@41  answered in 7.70 ms",
        "group orders  consumer-1:7  hookline.events[3]@41  applied after 2 failed calls",
        f"standard_webhooks.order.paid  msg_1  {KEY}",
        "attempt 1",
        "attempt 2",
        "ConnectionError (transient)",
        f"trace: https://jaeger.example/trace/{rid.hex()}",
    ):
        assert text in result.output
    steps = [line.split()[0] for line in result.output.splitlines() if " +" in line]
    gateway = ["read", "verify", "identify", "encode", "publish"]
    assert steps == [*gateway, "queue", "lane", "attempt", "attempt", "handler", "commit"]
    assert others[0].hex() not in result.output


def test_json_has_the_rows_and_their_steps(stage: Stage) -> None:
    rid = fresh_id()
    write(stage.kafka, stage.topic, [reception(rid)], [execution(rid)])
    told = stage.told(rid)
    (row,) = told["executions"]
    assert (row["partition"], row["offset"], row["outcome"]) == (3, 41, "applied")
    assert row["resource_key"] == KEY
    assert told["receptions"][0]["steps"][0]["name"] == "read"
    assert told["next"] == []
    assert told["trace_url"].endswith(rid.hex())


def test_the_monitors_store_is_asked_first_and_the_log_where_it_has_nothing(stage: Stage) -> None:
    stored, logged = fresh_id(), fresh_id()
    monitor = SqliteMonitor(stage.folder / "monitor.db")
    monitor.append([reception(stored), execution(stored)], "executions", {0: Span(None, 1)})
    monitor.close()
    write(stage.kafka, stage.topic, [reception(logged)])
    assert len(stage.told(stored)["executions"]) == 1
    assert len(stage.told(logged)["receptions"]) == 1
    # Kafka is not needed for what is there.
    stage.settings["kafka"]["bootstrap_servers"] = f"127.0.0.1:{free_port()}"
    stage.configure()
    assert stage.run(stored.hex()).exit_code == 0


def test_an_old_request_is_found_from_its_own_time_on(stage: Stage) -> None:
    rid = fresh_id(age_s=3600)
    write(stage.kafka, stage.topic, *([[execution(fresh_id())]] * 50), [execution(rid)])
    told = stage.told(rid)
    assert len(told["executions"]) == 1
    # The gateway's row is not there: its steps are those that the event carries.
    steps = [step["name"] for step in told["executions"][0]["steps"]]
    assert steps[:4] == ["read", "verify", "identify", "queue"]


def test_a_dead_letter_and_its_commands_are_named(stage: Stage) -> None:
    rid = fresh_id()
    row = execution(rid, outcome="dead_lettered", reason="permanent", failures=1, attempts=())
    write(stage.kafka, stage.topic, [reception(rid)], [row])
    store = stage.store()
    claim = store.claim([P3])[0]
    letters = [
        Letter(
            dedupe_id=bytes([n]) * 16,
            letter=DeadLetter(
                reason="permanent",
                detail="ValueError",
                died_at_us=1,
                request_id=request_id,
                connection="acme-shop",
            ),
            event_type=row.event_type,
            resource_key=KEY,
        )
        for n, request_id in ((1, fresh_id()), (2, rid))
    ]
    with store.commit() as commit:
        commit.bury(letters)
        commit.advance([claim], {P3: 42}, {}, 1)
    store.close()
    result = stage.run(rid.hex())
    assert "dead_lettered (permanent)" in result.output
    assert "dead letter 2  permanent  ValueError" in result.output
    assert "next: hookline dead-letters redrive 2 --dry-run" in result.output
    assert "dead letter 1" not in result.output


def test_a_parked_event_and_its_command_are_named(stage: Stage) -> None:
    rid = fresh_id()
    row = execution(rid, outcome="parked", reason="exhausted")
    write(stage.kafka, stage.topic, [row])
    store = stage.store()
    claim = store.claim([P3])[0]
    with store.commit() as commit:
        event = ParkedEvent(
            partition=P3,
            key=KEY.encode(),
            offset=41,
            value=b"v",
            request_id=rid,
            connection="acme-shop",
            reason="exhausted",
        )
        commit.park([event], 10**15)
        commit.advance([claim], {P3: 42}, {}, 1)
    store.close()
    result = stage.run(rid.hex())
    assert "parked  exhausted" in result.output
    assert f"next: hookline parked retry '{KEY}' --dry-run" in result.output
    assert stage.told(rid)["parked"][0]["key"] == KEY


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"status": 401, "outcome": "signature_wrong", "events": 0}, "secrets check acme-shop"),
        ({"status": 429, "outcome": "rate_limited", "events": 0}, "at its limits"),
        ({"partition": -1, "offset": -1}, "hookline spool status"),
        ({}, "no consumer group has told of it yet"),
    ],
)
def test_a_request_alone_says_where_to_look(stage: Stage, row: dict[str, Any], said: str) -> None:
    rid = fresh_id()
    write(stage.kafka, stage.topic, [reception(rid, **row)])
    assert said in stage.run(rid.hex()).output


def test_what_is_not_known_says_why_that_may_be(stage: Stage) -> None:
    result = stage.run(fresh_id().hex())
    assert result.exit_code == 1
    assert "nothing is known of" in result.output
    assert "may keep less than that" in result.output
    assert "no time of ours" in stage.run("f" * 32).output


def test_a_traceparent_is_taken_for_its_id_and_rubbish_is_refused(stage: Stage) -> None:
    rid = fresh_id()
    write(stage.kafka, stage.topic, [execution(rid)])
    assert stage.run(f"00-{rid.hex()}-{'ab' * 8}-01").exit_code == 0
    assert isinstance(stage.run("latest").exception, ConfigurationError)


def test_a_store_that_is_away_costs_the_store_alone(stage: Stage) -> None:
    rid = fresh_id()
    row = execution(rid, outcome="dead_lettered", reason="permanent")
    write(stage.kafka, stage.topic, [row])
    result = stage.run(rid.hex())
    assert result.exit_code == 0
    assert "the consumer's store cannot be asked: there is no store at" in result.output


def test_kafka_away_and_a_missing_topic_say_what_to_do(stage: Stage) -> None:
    stage.settings["topics"]["executions"] = "not-there"
    stage.configure()
    missing = stage.run(fresh_id().hex()).exception
    assert isinstance(missing, TopicError)
    assert "hookline topics apply" in str(missing)
    stage.settings["kafka"]["bootstrap_servers"] = f"127.0.0.1:{free_port()}"
    stage.configure()
    away = stage.run(fresh_id().hex()).exception
    assert isinstance(away, TopicError)
    assert "is it running" in str(away)
