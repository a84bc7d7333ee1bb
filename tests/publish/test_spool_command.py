"""`hookline spool`: on the file, while no gateway runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from producer.publish.spool_file import Change, Row, SpoolFile, pack_headers
from tests.parts.mock_cluster import MockCluster

ROOT = Path(__file__).parents[2]


class Spooled:
    """Settings with a spool, and its file with so many events."""

    def __init__(self, folder: Path, bootstrap_servers: str, topic: str) -> None:
        self.topic = topic
        self.path = folder / "spool.db"
        self.config = folder / "hookline.yaml"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "kafka": {"bootstrap_servers": bootstrap_servers},
                    "topics": {"events": topic, "quarantine": topic},
                    "spool": {"path": str(self.path)},
                    "publish": {"ack_deadline_ms": 500},
                }
            )
        )

    def fill(self, events: int, refused: int = 0) -> None:
        rows = [
            Row(
                n,
                self.topic,
                b"k",
                b"%d" % n,
                pack_headers([("n", b"1")]),
                1_700_000_000_000,
                False,
            )
            for n in range(1, events + 1)
        ]
        file = SpoolFile(self.path)
        file.write(Change(rows, refused=[(n, "too large") for n in range(1, refused + 1)]))
        file.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hookline.command", "spool", *arguments, "--config",
             str(self.config)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )  # fmt: skip


@pytest.fixture
def spooled(tmp_path: Path, cluster: MockCluster, topic: str) -> Spooled:
    return Spooled(tmp_path, cluster.bootstrap_servers, topic)


def test_status_tells_what_waits_and_what_was_refused(spooled: Spooled) -> None:
    spooled.fill(5, refused=2)
    said = spooled.run("status")
    assert said.returncode == 0, said.stderr
    assert "3 events" in said.stdout
    assert "too large" in said.stdout
    found = json.loads(spooled.run("status", "--json").stdout)
    assert (found["events"], found["refused"], found["topics"]) == (3, 2, {spooled.topic: 3})
    assert found["oldest_s"] > 0


def test_drain_puts_everything_on_kafka_and_leaves_an_empty_file(spooled: Spooled) -> None:
    spooled.fill(500, refused=3)
    said = spooled.run("drain")
    assert said.returncode == 0, said.stderr
    assert "497 of 497 are in Kafka" in said.stdout
    again = spooled.run("drain", "--refused")
    assert again.returncode == 0, again.stderr
    assert "3 refused events are tried again" in again.stdout
    assert "3 of 3 are in Kafka" in again.stdout
    assert "is empty" in spooled.run("status").stdout


def test_the_spools_of_all_workers_are_told_and_drained(spooled: Spooled) -> None:
    spooled.fill(2)
    base = spooled.path
    for worker, events in ((1, 3), (2, 4)):
        spooled.path = base.with_name(f"{base.name}.worker-{worker}")
        spooled.fill(events, refused=1)
    found = json.loads(spooled.run("status", "--json").stdout)
    assert (found["events"], found["refused"], found["path"]) == (7, 2, str(base))
    assert [one["events"] for one in found["files"]] == [2, 2, 3]
    # One that a running worker has is left to it, and told.
    running = SpoolFile(spooled.path)
    said = spooled.run("drain")
    running.close()
    assert said.returncode == 1
    assert said.stdout.count("2 of 2 are in Kafka") == 2
    assert f"{spooled.path} is open in a running gateway" in said.stderr
    said = spooled.run("drain")
    assert said.returncode == 0, said.stderr
    assert "3 of 3 are in Kafka" in said.stdout
    assert "set aside" in spooled.run("status").stdout


def test_without_kafka_drain_gives_up_with_1_and_all_is_left(
    spooled: Spooled, cluster: MockCluster
) -> None:
    spooled.fill(5)
    cluster.down()
    said = spooled.run("drain", "--wait", "1")
    assert said.returncode == 1
    assert "0 of 5 are in Kafka" in said.stdout
    assert "5 are left in the spool" in said.stderr
    assert json.loads(spooled.run("status", "--json").stdout)["events"] == 5


def test_while_a_gateway_has_the_file_they_point_to_its_metrics(spooled: Spooled) -> None:
    file = SpoolFile(spooled.path)
    said = spooled.run("status")
    file.close()
    assert said.returncode == 1
    assert "open in a running gateway" in said.stderr
    assert "hookline_spool_events" in said.stderr


def test_without_a_spool_they_say_so(spooled: Spooled) -> None:
    assert "the gateway makes it at its first start" in spooled.run("status").stderr
    spooled.config.write_text("{}")
    said = spooled.run("drain")
    assert said.returncode == 2
    assert "spool.path is not set" in said.stderr
