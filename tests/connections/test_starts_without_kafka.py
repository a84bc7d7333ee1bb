"""A gateway that starts while Kafka is away: what it serves, from when on, and what it does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connections.fleet import Fleet, entry, until
from tests.gateway.http_socket import Closed
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

BOTH = {"old": "env:OLD", "new": "env:NEW"}
#: So long that a test does not come to its end.
NEVER_MS = 600_000


@pytest.fixture
def own_kafka() -> Iterator[KafkaBroker]:
    """A broker that the test may stop."""
    with KafkaBroker() as broker:
        yield broker


def test_a_start_while_kafka_is_away_undoes_no_revocation(
    own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    listed = [entry("good"), entry("revoked"), entry("rotating", BOTH)]
    fleet = Fleet(own_kafka, tmp_path, listed)
    with fleet:
        with fleet.editor() as editor:
            editor.revoke("revoked")
            editor.revoke("rotating", "old")
        until(lambda: fleet.answers("rotating") == [401] and fleet.answers("revoked") == [404])
        snapshot = next(tmp_path.glob("*.snapshot"))
        until(lambda: snapshot.read_bytes().count(b'"dGVzdC9') == 5)
        own_kafka.kill()
        fleet.processes[0].kill()
        fleet.start()
        until(lambda: "serving the connections of the snapshot" in fleet.log())
        until(lambda: fleet.readiness()[0] != 0)
        # Signed rightly, so known and believed: Kafka is what is missing.
        assert fleet.post("good").json()["error"] == "unavailable"
        assert fleet.post("revoked").json()["error"] == "not_served"
        assert fleet.post("rotating", "OLD").status == 401
        assert fleet.post("rotating", "NEW").json()["error"] == "unavailable"
        # What the snapshot does not know may have come since: no 404, which disables hooks.
        assert fleet.post("unknown").json()["error"] == "not_served"
        own_kafka.start()
        fleet.wait_ready()
        until(lambda: fleet.answers("unknown") == [404])
        assert fleet.answers("good") == [200]
        assert fleet.answers("revoked") == [404]
        assert fleet.answers("rotating", "OLD") == [401]


def test_a_first_start_while_kafka_is_away_takes_nothing_on_the_file_s_word(
    own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    fleet = Fleet(own_kafka, tmp_path, [entry()])
    own_kafka.kill()
    fleet.start()
    try:
        until(lambda: "there is no snapshot" in fleet.readiness()[1])
        assert fleet.post().json()["error"] == "not_served"
        own_kafka.start()
        fleet.wait_ready()
        assert fleet.answers() == [200]
    finally:
        fleet.__exit__()


def first_answer(fleet: Fleet) -> int:
    """The status of the first webhook that a start answers."""
    while True:
        try:
            return fleet.post().status
        except (OSError, Closed):
            time.sleep(0.005)


def test_where_nobody_listens_the_snapshot_serves_at_once(
    own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    settings = {
        "gateway": {"snapshot_after_ms": NEVER_MS},
        "spool": {"path": str(tmp_path / "spool.db")},
    }
    with Fleet(own_kafka, tmp_path, [entry()], settings=settings) as fleet:
        until(lambda: any(tmp_path.glob("*.snapshot")))
        fleet.processes[0].kill()
        fleet.start()
        assert first_answer(fleet) == 200
        own_kafka.kill()
        fleet.processes[0].kill()
        fleet.start()
        assert first_answer(fleet) == 200
        assert "serving the connections of the snapshot" in fleet.log()


def test_where_somebody_listens_and_keeps_silent_an_answer_is_waited_for(
    own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    settings = {"gateway": {"snapshot_after_ms": NEVER_MS}}
    with Fleet(own_kafka, tmp_path, [entry()], settings=settings) as fleet:
        until(lambda: any(tmp_path.glob("*.snapshot")))
        own_kafka.kill()
        fleet.processes[0].kill()
        with socket.create_server(("127.0.0.1", own_kafka.port)):
            fleet.start()
            # Said by the follower when it has asked for a second.
            until(lambda: "no answer from Kafka at" in fleet.readiness()[1])
            assert fleet.post().json()["error"] == "not_served"
            assert "of the snapshot" not in fleet.log()
        own_kafka.start()
        fleet.wait_ready()
        assert fleet.answers() == [200]


def test_an_old_snapshot_is_not_believed(own_kafka: KafkaBroker, tmp_path: Path) -> None:
    settings = {"gateway": {"snapshot_max_age_ms": 0}}
    fleet = Fleet(own_kafka, tmp_path, [entry()], settings=settings)
    with fleet:
        until(lambda: any(tmp_path.glob("*.snapshot")))
        own_kafka.kill()
        fleet.processes[0].kill()
        fleet.start()
        until(lambda: "snapshot_max_age_ms" in fleet.readiness()[1])
        assert fleet.post().json()["error"] == "not_served"
