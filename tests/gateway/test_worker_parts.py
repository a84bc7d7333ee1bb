"""The parts of a gateway of several processes that need none: pages, paths, the line between."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hookline.processes.gateway_supervisor import Supervisor, refuse_taken
from hookline.processes.gateway_worker import Worker
from hookline.processes.spool_files import spool_files, warn_of_leftovers
from hookline.processes.worker_line import Health, NoAnswer, SupervisorEnd, WorkerEnd
from hookline.processes.worker_metrics import gauge, labelled, merged
from hookline.settings.loading import Settings
from hookline.settings.model import GatewaySettings, SpoolSettings
from producer.publish.spool_file import Change, Row, SpoolFile, pack_headers
from schemas.errors import ConfigurationError

PAGE = b"""# HELP plain_total Some.
# TYPE plain_total counter
plain_total 3.0
# HELP with_labels What it is.
# TYPE with_labels gauge
with_labels{path="a b{c} #d",le="+Inf"} 1.5
"""


def put(path: Path, events: int) -> None:
    file = SpoolFile(path)
    rows = [
        Row(n, "t", b"k", b"v", pack_headers([]), 1_700_000_000_000, False)
        for n in range(1, events + 1)
    ]
    file.write(Change(rows))
    file.close()


def test_every_sample_gets_the_label_and_its_metric_stays_in_one_piece() -> None:
    page = merged([labelled(PAGE, 1), labelled(PAGE, 12), gauge("up", "Whether.", {1: 1})])
    found = {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(page.decode())
    }
    assert found["plain"] == [({"worker": "1"}, 3.0), ({"worker": "12"}, 3.0)]
    label = {"path": "a b{c} #d", "le": "+Inf"}
    assert found["with_labels"] == [
        ({"worker": "1", **label}, 1.5),
        ({"worker": "12", **label}, 1.5),
    ]
    assert found["up"] == [({"worker": "1"}, 1)]
    assert page.count(b"# TYPE plain_total counter\n") == 1


def test_a_worker_has_files_of_its_own() -> None:
    ours, theirs = socket.socketpair()
    worker = Worker(3, os.dup(theirs.fileno()))
    own = worker.settings(
        Settings(
            spool=SpoolSettings(path="/s/spool.db"),
            gateway=GatewaySettings(connections_snapshot="/s/known"),
        )
    )
    assert own.spool.path == "/s/spool.db.worker-3"
    assert own.gateway.connections_snapshot == "/s/known.worker-3"
    assert worker.settings(Settings()).spool.path is None
    ours.close()
    theirs.close()


def test_all_spools_are_found_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    names = ["spool.db", "spool.db.worker-2", "spool.db.worker-10"]
    for name in (*names, "spool.db-wal", "spool.db.worker-2-wal", "spool.db.worker-2.connections",
                 "spool.db.worker-0", "other.worker-1"):  # fmt: skip
        (tmp_path / name).touch()
    assert [found.name for found in spool_files(str(path))] == names
    assert spool_files(str(tmp_path / "nowhere" / "spool.db")) == []


def test_a_spool_that_no_worker_has_any_more_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db"
    put(path, 2)
    put(Path(f"{path}.worker-1"), 1)
    put(Path(f"{path}.worker-3"), 5)
    put(Path(f"{path}.worker-4"), 0)
    with caplog.at_level(logging.ERROR, "hookline.spool"):
        warn_of_leftovers(
            Settings(spool=SpoolSettings(path=str(path)), gateway=GatewaySettings(workers=2))
        )
    said = [record.__dict__["data"] for record in caplog.records]
    assert [(Path(one["path"]).name, one["events"]) for one in said] == [
        ("spool.db", 2),
        ("spool.db.worker-3", 5),
    ]


def supervisor_of(code: str) -> Supervisor:
    settings = Settings(gateway=GatewaySettings(workers=2))
    return Supervisor(settings, [sys.executable, "-c", code])


def test_a_worker_that_goes_on_ending_is_started_less_and_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor = supervisor_of(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
    slot = supervisor._slots[0]
    for start in range(1, 9):
        # Not before its time.
        if slot.starts:
            assert supervisor._look(slot) is None
            assert slot.starts == start - 1
        slot.restart_at_s = 0.0
        supervisor._look(slot)
        assert slot.starts == start
        assert slot.process is not None
        slot.process.wait(30)
        assert supervisor._look(slot) is None
    said = [record.__dict__["data"] for record in caplog.records if record.levelname == "ERROR"]
    assert [one["in_s"] for one in said] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert {one["how"] for one in said} == {"ended with SIGKILL"}
    assert supervisor.live() == (True, "")
    ready, reason = supervisor.ready()
    assert not ready
    assert "worker 1 ended with SIGKILL" in reason


def test_settings_that_do_not_let_it_start_end_all_at_first_and_nothing_later() -> None:
    supervisor = supervisor_of("import sys; sys.exit(2)")
    slot = supervisor._slots[0]
    for told in (2, None):
        supervisor._start(slot)
        assert slot.process is not None
        slot.process.wait(30)
        assert supervisor._look(slot) == told


def test_a_stop_is_clean_only_if_every_worker_was_there_and_ended_so() -> None:
    supervisor = supervisor_of("import signal; signal.pause()")
    first, second = supervisor._slots
    supervisor._start(first)
    # Worker 2 is waiting for its next start: what it held is in its spool still.
    assert not supervisor._end()
    supervisor._start(first)
    supervisor._start(second)
    # Ended by the signal, before they had begun.
    assert supervisor._end()


def test_workers_need_a_port_that_has_a_number() -> None:
    with pytest.raises(ConfigurationError, match="name a port"):
        refuse_taken("127.0.0.1:0")


def test_the_line_carries_questions_and_answers_and_tells_each_end_that_the_other_is_gone() -> None:
    asyncio.run(_line())


async def _line() -> None:
    ours, theirs = socket.socketpair()
    supervisor = SupervisorEnd(ours)
    with pytest.raises(NoAnswer, match="is starting") as early:
        supervisor.health()
    assert early.value.starting
    stopped = asyncio.Event()
    state = Health((True, ""), (False, "no Kafka"), False)
    worker = WorkerEnd(
        theirs,
        health=lambda: state,
        metrics=lambda: PAGE,
        orphaned=stopped.set,
        end_within_s=3600,
    )
    worker.start()
    loop = asyncio.get_running_loop()
    # The greeting is there.
    assert await loop.run_in_executor(None, ours.recv, 1, socket.MSG_PEEK)
    assert await loop.run_in_executor(None, supervisor.health) == state
    assert await loop.run_in_executor(None, supervisor.metrics) == PAGE
    supervisor.close()
    await asyncio.wait_for(stopped.wait(), 10)
    with pytest.raises(NoAnswer, match="has ended"):
        supervisor.health()
