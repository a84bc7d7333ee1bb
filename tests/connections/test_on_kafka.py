"""Real gateways that follow a real topic: seeding, changes, revocations, restarts, outages."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from producer.connections.clients import TopicAccess
from producer.connections.editor import Editor
from schemas.connection import ConnectionState, SecretReference
from schemas.connection_record import RecordKey
from tests.chaos.rotation import until_answer
from tests.connections.fleet import SECRETS, Fleet, entry, until
from tests.connections.making import connection
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

BOTH = {"old": "env:OLD", "new": "env:NEW"}


def put(editor: Editor, **more: object) -> None:
    editor.put("acme", lambda _: connection(**more))  # type: ignore[arg-type]


def test_what_is_revoked_is_refused_by_three_gateways_within_a_second(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    listed = [entry(f"c{n}") for n in range(5)] + [entry("rotating", BOTH)]
    with Fleet(kafka, tmp_path, listed, gateways=3) as fleet, fleet.editor() as editor:
        assert fleet.answers("c0") == fleet.answers("rotating") == [200, 200, 200]
        took_ms = [
            one
            for n in range(5)
            for one in until_answer(
                fleet, f"c{n}", SECRETS["OLD"], 404, lambda n=n: editor.revoke(f"c{n}")
            )
        ]
        print(f"connections refused after {[round(ms) for ms in took_ms]} ms")
        assert statistics.median(took_ms) < 1000
        assert fleet.answers("c0") == [404, 404, 404]
        took_ms = until_answer(
            fleet, "rotating", SECRETS["OLD"], 401, lambda: editor.revoke("rotating", "old")
        )
        print(f"a secret refused after {[round(ms) for ms in took_ms]} ms")
        assert statistics.median(took_ms) < 1000
        assert fleet.answers("rotating", "OLD") == [401, 401, 401]
        assert fleet.answers("rotating", "NEW") == [200, 200, 200]
        # Also after a restart, though the file lists them still, even changed.
        fleet.connections = [entry("c0", BOTH), entry("rotating", BOTH, tenant="another")]
        fleet.processes[0].kill()
        fleet.start(0)
        fleet.wait_ready(0)
        assert fleet.post("c0").status == 404
        assert fleet.post("rotating", "OLD").status == 401
        assert fleet.post("rotating", "NEW").status == 200
        assert "stays revoked" in fleet.log(0)


def test_every_change_reaches_running_gateways(kafka: KafkaBroker, tmp_path: Path) -> None:
    with Fleet(kafka, tmp_path, [entry("other")], gateways=2) as fleet, fleet.editor() as editor:
        assert fleet.answers() == [404, 404]
        put(editor)
        until(lambda: fleet.answers() == [200, 200])
        put(editor, state=ConnectionState.PAUSED)
        until(lambda: fleet.answers() == [404, 404])
        put(editor)
        until(lambda: fleet.answers() == [200, 200])
        assert fleet.answers(secret="NEW") == [401, 401]
        put(editor, refs={"new": "env:NEW"})
        until(lambda: fleet.answers(secret="NEW") == [200, 200])
        assert fleet.answers(secret="OLD") == [401, 401]
        for name in ("old", "new"):
            assert f'connection="acme",secret_name="{name}"' in fleet.metrics()
        editor.remove("acme")
        until(lambda: fleet.answers(secret="NEW") == [404, 404])
        until(lambda: 'connection="acme"' not in fleet.metrics())
        # One that is connected again is counted again.
        put(editor, refs={"new": "env:NEW"})
        until(lambda: fleet.answers(secret="NEW") == [200, 200])
        until(lambda: 'connection="acme",secret_name="new"' in fleet.metrics())
        editor.remove("acme")
        until(lambda: fleet.answers(secret="NEW") == [404, 404])
        until(lambda: 'connection="acme"' not in fleet.metrics())
        assert fleet.answers("other") == [200, 200]


def test_states_lag_and_age_are_metrics(kafka: KafkaBroker, tmp_path: Path) -> None:
    listed = [entry("a"), entry("p", state="paused"), entry("r", state="revoked"),
              entry("u", {"old": "env:NOT_SET"})]  # fmt: skip
    with Fleet(kafka, tmp_path, listed) as fleet:
        text = fleet.metrics()
        counts = {"active": 1, "paused": 1, "revoked": 1, "unserved": 1, "unreadable": 0}
        for state, count in counts.items():
            assert f'hookline_connections{{state="{state}"}} {count}.0' in text
        assert "hookline_connections_lag_records 0.0" in text
        age_s = _age_s(text)
        assert age_s < 60
        ages_s = [age_s]

        def proven() -> bool:
            ages_s.append(_age_s(fleet.metrics()))
            return ages_s[-1] < max(ages_s)

        # While nothing changes Kafka is asked, so it does not only grow.
        until(proven)
        answer = fleet.post("u")
        assert (answer.status, answer.json()["error"]) == (503, "not_served")
        assert "NOT_SET is not set" in fleet.log()


def _age_s(text: str) -> float:
    (line,) = [one for one in text.splitlines() if one.startswith("hookline_connections_age")]
    return float(line.split()[1])


def test_the_file_and_commands_have_their_say_by_turns(kafka: KafkaBroker, tmp_path: Path) -> None:
    with Fleet(kafka, tmp_path, [entry()]) as fleet, fleet.editor() as editor:
        put(editor, refs={"new": "env:NEW"})
        until(lambda: fleet.answers(secret="NEW") == [200])
        fleet.processes[0].kill()
        fleet.start()
        fleet.wait_ready()
        assert fleet.answers(secret="NEW") == [200]
        assert fleet.answers(secret="OLD") == [401]
        fleet.connections = [entry(tenant="changed")]
        fleet.processes[0].kill()
        fleet.start()
        fleet.wait_ready()
        assert fleet.answers(secret="OLD") == [200]


def test_a_record_that_cannot_be_read_stops_one_connection_only(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Fleet(kafka, tmp_path, [entry(), entry("other")]) as fleet, fleet.editor() as editor:
        editor._write(RecordKey("test", "acme").encode(), b"rubbish")
        until(lambda: fleet.answers() == [503])
        editor._write(b"\xff not a key", b"rubbish")
        put(editor, refs=BOTH)
        until(lambda: fleet.answers(secret="NEW") == [200])
        assert fleet.answers("other") == [200]


def test_another_environment_on_the_topic_is_ignored_and_said(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Fleet(kafka, tmp_path, [entry()]) as fleet, fleet.editor("staging") as staging:
        staging.put("acme", lambda _: connection(environment="staging", refs={"x": "env:NEW"}))
        staging.revoke("acme")
        with fleet.editor() as editor:
            editor.put("mine", lambda _: connection("mine"))
        until(lambda: fleet.answers("mine") == [200])
        assert fleet.answers() == [200]
        (line,) = [line for line in fleet.log().splitlines() if "not of this environment" in line]
        assert '"staging"' in line
        assert '"test"' in line


def test_two_who_change_one_connection_lose_neither_change(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Fleet(kafka, tmp_path, [entry()]) as fleet:
        with fleet.editor() as one, fleet.editor() as other:
            # `one` has read the topic already and does not know of this.
            other.put("acme", lambda _: connection(state=ConnectionState.PAUSED))

            def add(ledger: object) -> object:
                found = one.ledger.record("acme")
                assert found is not None
                added = SecretReference(name="new", ref="env:NEW")
                return replace(found.connection, secrets=(*found.connection.secrets, added))

            made = one.put("acme", add)  # type: ignore[arg-type]
        assert made.state is ConnectionState.PAUSED
        assert [secret.name for secret in made.secrets] == ["old", "new"]
        with fleet.editor() as later:
            assert later.ledger.record("acme").connection == made  # type: ignore[union-attr]


def test_without_the_topic_it_is_not_ready_and_says_what_to_run(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    fleet = Fleet(kafka, tmp_path, [entry()], topic="connections-not-there")
    fleet.start()
    try:
        until(lambda: "hookline topics apply" in fleet.readiness()[1])
        assert fleet.readiness()[0] == 503
        assert fleet.post().json()["error"] == "not_served"
        # It recovers when somebody does so.
        kafka.create_topic("connections-not-there", 1, cleanup_policy="compact")
        fleet.wait_ready()
        assert fleet.answers() == [200]
    finally:
        fleet.__exit__()


def test_compaction_and_a_restart_leave_all_as_it_was(kafka: KafkaBroker, tmp_path: Path) -> None:
    topic = kafka.create_topic(
        "connections-compacted", 1, cleanup_policy="compact", segment_ms="100",
        min_cleanable_dirty_ratio="0.01", delete_retention_ms="0",
    )  # fmt: skip
    listed = [entry("kept"), entry("gone"), entry("revoked")]
    with Fleet(kafka, tmp_path, listed, topic=topic) as fleet, fleet.editor() as editor:
        editor.revoke("revoked")
        for n in range(30):
            editor.put("kept", lambda _, n=n: connection("kept", tenant=f"t{n}"))
        editor.put("kept", lambda _: connection("kept", refs={"new": "env:NEW"}))
        editor.remove("gone")
        editor.put("other", lambda _: connection("other"))
        fleet.connections = listed[::2]
        deadline_s = time.monotonic() + 60
        # A segment is closed, and then cleaned, only when something is written after it.
        while (left := _records(fleet)) > 12:
            assert time.monotonic() < deadline_s, f"the broker has not compacted: {left} records"
            editor.put("other", lambda _: connection("other"))
            time.sleep(0.5)
        print(f"{left} records left")
        fleet.processes[0].kill()
        fleet.start()
        fleet.wait_ready()
        assert fleet.answers("kept", "NEW") == [200]
        assert fleet.answers("kept", "OLD") == [401]
        assert fleet.answers("gone") == [404]
        assert fleet.answers("revoked") == [404]
        assert fleet.answers("other") == [200]


def _records(fleet: Fleet) -> int:
    access = TopicAccess(fleet.broker.bootstrap_servers, fleet.topic)
    reader = access.reader(50)
    count = 0
    try:
        assert access.problem(reader, 10) == ""
        access.begin(reader)
        while True:
            message = reader.poll(10)
            assert message is not None
            if message.error() is not None:
                return count
            count += 1
    finally:
        reader.close()


def test_a_topic_that_is_made_anew_and_seeded_undoes_no_revocation(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Fleet(kafka, tmp_path, [entry("good"), entry("gone")]) as fleet:
        with fleet.editor() as editor:
            editor.revoke("gone")
        until(lambda: fleet.answers("gone") == [404])
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        admin.delete_topics([fleet.topic])[fleet.topic].result(30)
        until(lambda: fleet.topic not in admin.list_topics(timeout=10).topics)
        kafka.create_topic(fleet.topic, 1, cleanup_policy="compact")
        with fleet.editor() as editor:
            # As another gateway's start would.
            for name in ("gone", "late"):
                editor.put(name, lambda _, name=name: connection(name))
        until(lambda: fleet.answers("late") == [200], 60)
        assert fleet.answers("gone") == [404]
        assert fleet.answers("good") == [200]
        assert "has lost records" in fleet.log()
        with fleet.editor() as editor:
            editor.revoke("good")
        until(lambda: fleet.answers("good") == [404])
