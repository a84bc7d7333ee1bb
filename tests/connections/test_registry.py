"""The registry, told by hand what the topic says, in orders that Kafka would take long to give."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from credentials.secret import Secret
from producer.connections import seeder as seeder_module
from producer.connections.clients import TopicAccess, TopicWriter
from producer.connections.ledger import Ledger
from producer.connections.registry import ConnectionRegistry, RegistryPlan
from producer.connections.snapshot import Snapshot
from producer.gateway.connections import ConnectionTable
from schemas.connection import Connection, ConnectionState
from schemas.connection_record import Writer
from schemas.errors import NotAcknowledged
from tests.connections.making import ENVIRONMENT, connection, record, revocation


class Topic(TopicAccess):
    """What is written goes into a list; `meanwhile` is called before each."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:1", "connections")
        self.written: list[str] = []
        self.offset = 100
        self.meanwhile: Callable[[], None] = lambda: None

    def writer(self) -> TopicWriter:
        return self  # type: ignore[return-value]

    def write_all(self, records: list[tuple[bytes, bytes | None]]) -> int:
        self.meanwhile()
        self.written += [key.decode() for key, _ in records]
        self.offset += len(records)
        return self.offset


class Rig:
    """A registry whose threads do not run."""

    def __init__(self, snapshot: Snapshot | None = None, listed: list[Connection] | None = None):
        self.topic = Topic()
        self.table = ConnectionTable(ENVIRONMENT, complete=False)
        self.registry = ConnectionRegistry(
            RegistryPlan(
                environment=ENVIRONMENT,
                access=self.topic,
                snapshot=snapshot,
                listed=listed or [],
                patience_s=0.0,
            ),
            self.table,
            lambda ref: Secret(f"value of {ref}"),
        )

    def tell(self, *records: tuple[bytes, bytes | None], at: int = 0) -> None:
        for offset, (key, value) in enumerate(records, at):
            self.registry.came(key, value, offset)

    def read(self, *records: tuple[bytes, bytes | None]) -> None:
        """The whole topic, from its beginning to its end."""
        self.registry.began()
        self.tell(*records)
        self.registry.ended(len(records))

    def turn(self, later_s: float = 0.0) -> None:
        self.registry._turn(time.monotonic() + later_s)

    def serves(self, name: str = "acme") -> bool:
        until_s = time.monotonic() + 10
        while self.registry.serving.untried():
            assert time.monotonic() < until_s
            time.sleep(0.002)
        return self.table.find(name) is not None


@contextmanager
def a_rig(*arguments: Any, **named: Any) -> Iterator[Rig]:
    rig = Rig(*arguments, **named)
    try:
        yield rig
    finally:
        rig.registry.serving.close()
        rig.registry._chores.shutdown()


def noted(path: Path) -> Snapshot:
    """A snapshot in which `good` is active and `gone` revoked."""
    made = snapshot(path)
    ledger = Ledger(ENVIRONMENT)
    for key, value in (record(connection("good")), record(connection("gone")), revocation("gone")):
        ledger.apply(key, value, 0)
    made.write(ENVIRONMENT, ledger.values(), time.time())
    return made


def snapshot(path: Path, max_age_s: float = 3600.0) -> Snapshot:
    return Snapshot(path / "snapshot", "connections", max_age_s)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection of the file is a piece of its own."""
    monkeypatch.setattr(seeder_module, "PIECE", 1)


@pytest.mark.usefixtures("one_by_one")
def test_what_a_command_writes_while_the_file_is_being_written_stands() -> None:
    listed = [connection("first"), connection("second")]
    with a_rig(listed=listed) as rig:
        rig.read()

        def meanwhile() -> None:
            # Another gateway has written the same file, and then somebody pauses one.
            paused = replace(listed[1], state=ConnectionState.PAUSED)
            rig.tell(
                record(listed[1], Writer.FILE, listed[1]),
                record(paused, Writer.COMMAND, listed[1]),
            )

        rig.topic.meanwhile = meanwhile
        rig.registry._seed()
        assert rig.topic.written == [f"{ENVIRONMENT}/first"]


@pytest.mark.usefixtures("one_by_one")
def test_it_is_complete_when_what_it_wrote_itself_is_read_back() -> None:
    listed = [connection("first"), connection("second")]
    with a_rig(listed=listed) as rig:
        rig.read()
        rig.topic.meanwhile = lambda: rig.tell(record(listed[1], Writer.FILE, listed[1]))
        rig.registry._seed()
        assert not rig.table.complete
        rig.tell(record(listed[0], Writer.FILE, listed[0]), at=rig.topic.offset)
        assert rig.table.complete


def test_a_piece_that_cannot_be_written_is_tried_again_with_the_rest() -> None:
    listed = [connection(f"c{n}") for n in range(2 * seeder_module.PIECE)]
    with a_rig(listed=listed) as rig:
        rig.read()

        def away() -> None:
            if rig.topic.written:
                raise NotAcknowledged("Kafka is away")

        rig.topic.meanwhile = away
        rig.registry._seed()
        assert not rig.table.complete
        assert "Kafka is away" in rig.registry.ready()[1]
        done = rig.topic.written.copy()
        assert len(done) == seeder_module.PIECE
        rig.tell(*(record(one, Writer.FILE, one) for one in listed[: len(done)]))
        rig.topic.meanwhile = lambda: None
        rig.registry._seed()
        assert rig.topic.written == [f"{ENVIRONMENT}/{one.id}" for one in listed]


def test_a_thousand_that_are_no_longer_listed_are_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = [connection(f"c{n:04}") for n in range(1_000)]
    with a_rig() as rig:
        rig.read(*(record(one, Writer.FILE, one) for one in gone))
        rig.registry._seed()
    (told,) = [one for one in caplog.records if "differ" in one.message]
    data = vars(told)["data"]
    assert (data["count"], data["connections"][0]) == (1_000, "c0000")
    assert len(data["connections"]) < 100


def test_a_snapshot_that_could_not_be_written_is_written_a_second_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = snapshot(tmp_path)
    with a_rig(kept) as rig:
        rig.read(record(connection()))
        rig.turn()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        rig.tell(revocation(), at=1)
        rig.turn()
        monkeypatch.undo()
        rig.turn(later_s=2.0)
        found = kept.read(ENVIRONMENT, time.time())
        assert not isinstance(found, str)
        assert found[0].revoked("acme")


def test_a_topic_found_empty_after_a_start_from_the_snapshot_undoes_no_revocation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = [connection("good"), connection("gone")]
    with a_rig(noted(tmp_path), listed) as rig:
        rig.registry.began()
        rig.turn()
        assert rig.serves("good")
        # Kafka is back, and somebody has made the topic anew.
        rig.registry.ended(0)
        rig.turn()
        rig.registry._chores.shutdown()
        assert rig.topic.written == []
        assert rig.serves("good")
        assert not rig.serves("gone")
        assert "has lost records" in caplog.text


def test_a_topic_that_was_made_anew_and_seeded_by_another_undoes_no_revocation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, gone, half = connection("good"), connection("gone"), connection("half")
    revoked = [revocation("gone"), revocation("half", "old")]
    with a_rig() as rig:
        rig.read(record(good), record(gone), record(half), record(connection("by-hand")), *revoked)
        assert rig.serves("half")
        # The place that was read to is gone: it is read anew, and there is less.
        rig.registry.began(anew=True)
        rig.tell(record(good), record(gone), record(half), record(connection("new")))
        rig.registry.ended(4)
        assert rig.serves("good")
        assert rig.serves("new")
        assert not rig.serves("gone")
        entry = rig.table.find("half")
        assert entry is None or entry.keys.names() == ()
        # 404 would disable the hook.
        assert rig.serves("by-hand")
        (told,) = [vars(one)["data"] for one in caplog.records if "has lost" in one.message]
        lost = ["by-hand", "gone/revoked", "half/revoked/old"]
        assert told["lost"] == [f"{ENVIRONMENT}/{name}" for name in lost]
        # What comes from here on counts.
        rig.tell((record(good)[0], None), at=4)
        assert not rig.serves("good")


def test_what_was_removed_is_gone_when_the_topic_is_read_anew_after_a_fault() -> None:
    with a_rig() as rig:
        rig.read(record(connection()), record(connection("other")), revocation())
        rig.read(record(connection()))
        assert rig.serves()
        assert not rig.serves("other")
