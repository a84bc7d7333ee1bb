"""`hookline doctor` on real parts: what is well, what is broken, and that no secret is shown."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from consumer.monitor.sqlite import SqliteMonitor
from consumer.stores.sqlite import SqliteStore
from hookline.commands import topics as topics_command
from hookline.commands.doctor import command
from hookline.doctor.cluster import skew
from hookline.doctor.findings import State
from hookline.processes.health_server import HealthServer
from schemas.codec import EVENT
from tests.end_to_end.canary_parts import SaslBroker
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port

SECRET = "a-marked-secret-of-the-doctors-test"
PASSWORD = "a-marked-password-of-the-doctors-test"
NAMES = ("events", "quarantine", "dead_letters", "connections", "executions", "tokens", "audit")


class AclBroker(SaslBroker):
    """User `hookline` needs a right for everything; who comes without a password may do all."""

    def __init__(self) -> None:
        super().__init__(PASSWORD)
        with self._config.open("a") as config:
            config.write(
                "authorizer.class.name="
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
                "super.users=User:ANONYMOUS\n"
            )


class Patient:
    """A settings file and what the doctor says of it."""

    def __init__(self, folder: Path, bootstrap_servers: str, prefix: str) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = {
            "environment": "test",
            "kafka": {"bootstrap_servers": bootstrap_servers},
            "connections": [
                {
                    "id": "acme-github",
                    "tenant": "acme",
                    "provider": "github",
                    "secrets": [{"name": "one", "ref": "env:DOCTOR_SECRET"}],
                }
            ],
            "gateway": {"listen": f"127.0.0.1:{free_port()}"},
            "topics": {name: f"{prefix}.{name}" for name in NAMES},
            "consumer": {
                "group": f"{prefix}-group",
                "store": f"sqlite:///{folder}/store.db",
                "listen": f"127.0.0.1:{free_port()}",
            },
            "monitor": {
                "store": f"sqlite:///{folder}/monitor.db",
                "listen": f"127.0.0.1:{free_port()}",
            },
            "console": {"listen": f"127.0.0.1:{free_port()}"},
            "probe": {"listen": f"127.0.0.1:{free_port()}"},
            "spool": {"path": f"{folder}/spool/spool.db", "max_bytes": 1_048_576},
        }

    @property
    def config(self) -> str:
        path = self.folder / "hookline.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return str(path)

    def apply_topics(self) -> None:
        done = CliRunner().invoke(topics_command.command, ["apply", "--config", self.config])
        assert done.exit_code == 0, done.output

    def examined(self, *arguments: str) -> tuple[int, list[dict[str, str]]]:
        result = CliRunner().invoke(command, ["--config", self.config, "--json", *arguments])
        assert SECRET not in result.output
        assert PASSWORD not in result.output
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.exit_code, json.loads(result.stdout)["findings"]

    def said(self, room: str, *arguments: str) -> list[tuple[str, str, str]]:
        _, findings = self.examined(room, *arguments)
        return [(f["state"], f["text"], f["mend"]) for f in findings if f["room"] == room]


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_SECRET", SECRET)
    monkeypatch.setenv("DOCTOR_PASSWORD", PASSWORD)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)


@pytest.fixture
def well(kafka: KafkaBroker, tmp_path: Path) -> Patient:
    patient = Patient(tmp_path, kafka.bootstrap_servers, f"doctor-{tmp_path.name}")
    patient.apply_topics()
    SqliteStore(tmp_path / "store.db", patient.settings["consumer"]["group"]).close()
    return patient


@pytest.mark.kafka
def test_what_is_well_is_said_line_by_line(well: Patient) -> None:
    code, findings = well.examined()
    assert code == 0, findings
    rooms = {f["room"] for f in findings}
    assert {"settings", "secrets", "kafka", "topics", "rights", "clock", "store"} <= rooms
    assert {"spool", "ports", "files", "traces"} <= rooms
    bad = [f for f in findings if f["state"] == "broken"]
    assert bad == []
    assert all(f["state"] == "ok" for f in findings if f["room"] in ("topics", "clock", "rights"))


@pytest.mark.kafka
def test_people_get_a_line_each_with_its_mend(kafka: KafkaBroker, tmp_path: Path) -> None:
    patient = Patient(tmp_path, kafka.bootstrap_servers, f"doctor-{tmp_path.name}")
    result = CliRunner().invoke(command, ["--config", patient.config])
    assert result.exit_code == 1
    assert f"✗ topics       doctor-{tmp_path.name}.events is missing" in result.output
    assert "→ hookline topics apply" in result.output
    assert "7 broken" in result.output


@pytest.mark.kafka
def test_read_only_writes_nothing(well: Patient, kafka: KafkaBroker) -> None:
    assert well.said("clock", "--read-only") == []
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    topic = well.settings["topics"]["executions"]
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

    places = {TopicPartition(topic, n): OffsetSpec.latest() for n in range(4)}
    ends = [f.result(10).offset for f in admin.list_offsets(places).values()]
    assert ends == [0, 0, 0, 0]


@pytest.mark.kafka
def test_records_of_a_newer_version_and_of_strangers_are_found(
    well: Patient, kafka: KafkaBroker
) -> None:
    assert "0 topics" not in str(well.said("schemas"))
    events = well.settings["topics"]["events"]
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(events, b"\xc3\x01" + b"\x07" * 8 + b"rest", partition=1)
    producer.produce(well.settings["topics"]["quarantine"], b"hello")
    assert producer.flush(10) == 0
    said = well.said("schemas")
    newer = next(line for line in said if line[0] == "broken")
    assert newer[1] == f"{events}[1]@0 was written by a newer version of Hookline"
    assert any("quarantine[0]@0 cannot be read (not_single_object)" in text for _, text, _ in said)
    producer.produce(events, EVENT.encode(_event()), partition=1)
    assert producer.flush(10) == 0
    assert all(state != "broken" for state, _, _ in well.said("schemas"))


def _event() -> Any:
    from schemas.event import Event

    return Event(
        request_id=b"r" * 16,
        environment="test",
        tenant="acme",
        connection="acme-github",
        provider="github",
        event_id="e",
        event_type="github.push",
        resource_type="r",
        resource_id="1",
        received_at_us=1,
        payload=b"{}",
    )


def test_kafka_away_is_one_broken_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "away")
    code, findings = patient.examined()
    assert code == 1
    assert next(f for f in findings if f["state"] == "broken")["text"].startswith("no answer")
    assert {"store", "ports", "files"} <= {f["room"] for f in findings}


def test_mistakes_in_the_settings_are_told_and_nothing_else(tmp_path: Path) -> None:
    patient = Patient(tmp_path, "localhost:1", "x")
    patient.settings["consumer"]["grup"] = "x"
    code, findings = patient.examined()
    assert code == 1
    assert [f["room"] for f in findings] == ["settings"]
    assert "did you mean group?" in findings[0]["text"]


def test_a_secret_that_cannot_be_had_is_broken_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "x")
    monkeypatch.delenv("DOCTOR_SECRET")
    ((state, text, mend),) = patient.said("secrets")
    assert state == "broken"
    assert "DOCTOR_SECRET" in text
    assert mend == "hookline secrets check acme-github"


def test_ports_are_free_ours_or_somebody_elses(tmp_path: Path) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "x")
    ready = {"live": lambda: (True, ""), "ready": lambda: (True, ""), "metrics": lambda: b""}
    with HealthServer("127.0.0.1", 0, **ready) as ours, socket.socket() as theirs:  # type: ignore[arg-type]
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        patient.settings["consumer"]["listen"] = f"127.0.0.1:{ours.port}"
        patient.settings["gateway"]["listen"] = f"127.0.0.1:{theirs.getsockname()[1]}"
        said = patient.said("ports")
    assert [state for state, _, _ in said] == ["broken", "ok", "ok", "ok", "ok"]
    assert "no Hookline process answers there" in said[0][1]
    assert said[1][1].endswith("a Hookline process answers and is well")


def test_two_that_want_one_port_are_named(tmp_path: Path) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "x")
    patient.settings["probe"] = patient.settings["console"]
    texts = [text for state, text, _ in patient.said("ports") if state == "broken"]
    port = patient.settings["console"]["listen"].rpartition(":")[2]
    assert texts == [f"probe.listen and console.listen are both port {port}"]


def test_a_spool_without_room_is_said(tmp_path: Path) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "x")
    assert patient.said("spool")[0][0] == "ok"
    patient.settings["spool"]["max_bytes"] = 10**15
    state, text, _ = patient.said("spool")[0]
    assert state == "warning"
    assert "1500000.0 GB" in text
    del patient.settings["spool"]
    assert "answered 503" in patient.said("spool")[0][1]


def test_a_store_of_another_group_is_broken(tmp_path: Path) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "x")
    assert patient.said("store")[0][0] == "warning"
    SqliteStore(tmp_path / "store.db", "another").close()
    state, text, _ = patient.said("store")[0]
    assert state == "broken"
    assert "another" in text


def test_a_monitors_store_is_looked_at_if_there_is_one(tmp_path: Path) -> None:
    patient = Patient(tmp_path, f"127.0.0.1:{free_port()}", "x")
    assert "no monitor has run here" in patient.said("store")[1][1]
    SqliteMonitor(tmp_path / "monitor.db").close()
    assert patient.said("store")[1][1].endswith("answers and knows 0 connections")
    (tmp_path / "monitor.db").write_bytes(b"no database" * 1000)
    assert patient.said("store")[1][0] == "broken"


@pytest.mark.parametrize(
    ("stamp_s", "state", "said"),
    [
        (100.020, State.OK, "within 50 ms"),
        (99.500, State.OK, "within 549 ms"),
        (98.000, State.WARNING, "2.0 s ahead of"),
        (103.050, State.WARNING, "3.0 s behind"),
        (300.0, State.BROKEN, "behind"),
    ],
)
def test_a_clock_is_known_as_near_as_the_round_trip(
    stamp_s: float, state: State, said: str
) -> None:
    finding = skew(stamp_s, 100.0, 100.05)
    assert finding.state is state
    assert said in finding.text


@pytest.fixture(scope="module")
def guarded() -> Iterator[AclBroker]:
    with AclBroker() as broker:
        yield broker


def as_user(patient: Patient, broker: AclBroker, password: str = "env:DOCTOR_PASSWORD") -> None:
    patient.settings["kafka"] = {
        "bootstrap_servers": f"127.0.0.1:{broker.sasl_port}",
        "properties": {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "hookline",
            "sasl.password": password,
        },
    }


@pytest.mark.kafka
def test_each_right_that_is_missing_is_named(guarded: AclBroker, tmp_path: Path) -> None:
    patient = Patient(tmp_path, guarded.bootstrap_servers, "acl")
    patient.apply_topics()
    as_user(patient, guarded)
    texts = [text for _, text, _ in patient.said("rights")]
    assert "this user may not Describe topic acl.events" in texts
    assert "this user may not Describe group acl-group" in texts
    # What may not be seen is not called missing.
    assert not [text for _, text, _ in patient.said("topics") if "acl.events is missing" in text]
    _allow(guarded, ResourceType.TOPIC, "acl.", AclOperation.ALL)
    _allow(guarded, ResourceType.GROUP, "acl-", AclOperation.ALL)
    assert [state for state, _, _ in patient.said("rights")] == ["ok"]
    _allow(guarded, ResourceType.TOPIC, "acl.events", AclOperation.WRITE, deny=True)
    ((state, text, mend),) = patient.said("rights")
    assert (state, text) == ("broken", "this user may not Write topic acl.events")
    assert "--operation Write" in mend


@pytest.mark.kafka
def test_a_wrong_password_is_called_that(
    guarded: AclBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTOR_PASSWORD", "another-one")
    patient = Patient(tmp_path, "", "acl")
    as_user(patient, guarded)
    state, text, mend = patient.said("kafka")[0]
    assert state == "broken"
    assert "_AUTHENTICATION" in text
    assert "do not believe this user" in mend


def _allow(broker: AclBroker, kind: Any, name: str, operation: Any, *, deny: bool = False) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    binding = AclBinding(
        kind,
        name,
        ResourcePatternType.LITERAL if deny else ResourcePatternType.PREFIXED,
        "User:hookline",
        "*",
        operation,
        AclPermissionType.DENY if deny else AclPermissionType.ALLOW,
    )
    for future in admin.create_acls([binding]).values():
        future.result(10)
