"""The spool's side of the circuit: a disk, a sender or a partition fails at a bad moment."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from producer.publish import publisher as publisher_module
from producer.publish import spooling_sink as sink_module
from producer.publish.pending import Pending, Record
from producer.publish.publisher import KafkaPublisher
from producer.publish.spool import Spool
from producer.publish.spool_file import Change, SpoolFile
from producer.publish.spooling_sink import Circuit, SpoolingSink
from schemas.errors import Overloaded, SpoolFailed
from tests.publish.fake_kafka import FakeCluster, FakeProducer
from tests.publish.publishing import run, until
from tests.publish.test_spool import row


class FakePublisher:
    """Takes what it is given, as soon as it is told to."""

    def __init__(self, available: bool = False, refusals: int = 0) -> None:
        self.available = available
        self.refusals = refusals
        self.sent: list[int] = []

    def ready(self) -> tuple[bool, str]:
        return self.available, "" if self.available else "away"

    def publish(self, *_: Any) -> None:
        """The direct way."""

    def send_spooled(self, record: Record, number: int) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("librdkafka's queue is full")
        self.sent.append(number)


class FailingFile(SpoolFile):
    """On a disk that fails, or one that can't even be read."""

    writes = reads = True

    def write(self, change: Change) -> None:
        if not self.writes:
            raise SpoolFailed("disk full")
        super().write(change)

    def read(self, after: int, max_events: int, max_bytes: int) -> Any:
        if not self.reads:
            raise SpoolFailed("input/output error")
        return super().read(after, max_events, max_bytes)


def start(sink: SpoolingSink, publisher: FakePublisher) -> None:
    sink.start(publisher)  # type: ignore[arg-type]


def in_flight() -> Pending:
    future = asyncio.get_running_loop().create_future()
    return Pending(future, ("events", b"key", b"value", []), 5, 0.0, [])


def acknowledged(pending: Pending) -> Pending:
    pending.partition = pending.offset = 0
    return pending


def test_what_is_read_ahead_is_bounded_in_bytes(tmp_path: Path) -> None:
    async def test() -> None:
        file = SpoolFile(tmp_path / "spool.db")
        file.write(Change([row(number, bytes(100_000)) for number in range(1, 101)]))
        sink = SpoolingSink(Spool(file, max_bytes=10**8), window_bytes=1_000_000)
        start(sink, FakePublisher())
        await until(lambda: sink._drain.read_events)
        for _ in range(10):
            await sink.spool.read(0, 1, 1)
        assert 10 <= sink._drain.read_events <= 20
        await sink.spool.close()

    run(test())


def test_behind_a_partition_that_stands_still_nothing_piles_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        cluster = FakeCluster(Random(1), loop.time)
        monkeypatch.setattr(
            publisher_module, "Producer", lambda settings, **_: FakeProducer(cluster, settings)
        )
        monkeypatch.setattr(publisher_module, "_SWEEP_S", 0.02)
        sink = SpoolingSink(Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10**8))
        publisher = KafkaPublisher(
            bootstrap_servers="fake", topics=("events",), ack_deadline_s=0.2, fallback=sink
        )
        sink.start(publisher)
        await until(lambda: sink.circuit is Circuit.CLOSED)
        cluster.stuck = {0}
        waits = sink.publish("events", b"\x00", b"v", [])
        await until(waits.done)
        most = 0
        for number in range(20):
            await asyncio.gather(
                *(sink.publish("events", b"\x01", b"%d" % number, []) for _ in range(50))
            )
            await until(lambda: sink.spool.events == 1)
            most = max(most, sum(type(one) is Pending for one in gc.get_objects()))
        assert len(cluster.log[1]) == 1_000
        assert most < 500, "they are kept behind the one that stands still"
        cluster.stuck = set()
        await until(lambda: sink.circuit is Circuit.CLOSED)
        await sink.close(1.0)

    run(test())


def test_an_event_whose_sender_has_gone_is_counted_out_of_the_spool_once(tmp_path: Path) -> None:
    async def test() -> None:
        file = FailingFile(tmp_path / "spool.db")
        sink = SpoolingSink(Spool(file, max_bytes=10**6))
        start(sink, FakePublisher())
        file.writes = False
        one = in_flight()
        sink.take_over([one])
        one.future.cancel()
        await until(lambda: sink.spool.problem)
        sink.reported(acknowledged(one))
        assert (sink.spool.events, sink.spool.bytes, sink.drained) == (0, 0, 0)
        file.writes = True
        await sink.spool.close()

    run(test())


def test_what_was_taken_over_is_not_sent_again_by_a_read_that_was_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "_PAUSE_S", 0.01)

    async def test() -> None:
        turns: list[Callable[[], None]] = []

        async def turn() -> None:
            await until(lambda: turns)
            turns.pop(0)()

        file = FailingFile(tmp_path / "spool.db")
        spool = Spool(file, max_bytes=10**6, run=turns.append)
        sink = SpoolingSink(spool)
        publisher = FakePublisher()
        start(sink, publisher)
        # One that is lost, on a disk that does not give what it holds.
        file.writes = file.reads = False
        lost = sink.publish("events", b"key", b"value", [])
        await turn()
        with pytest.raises(SpoolFailed):
            await lost
        await until(lambda: turns)
        assert sink._reading
        # A read is under way, which takes long, when Kafka comes back and the circuit closes.
        file.writes = file.reads = True
        publisher.available = True
        sink.available()
        await until(lambda: sink.circuit is Circuit.CLOSED)
        one = in_flight()
        sink.take_over([one])
        for _ in range(5):
            while turns:
                await turn()
            await asyncio.sleep(0.01)
        assert one.future.done()
        assert publisher.sent == [], "it is in flight already"
        sink.reported(acknowledged(one))
        assert spool.events == 0

    run(test())


def test_the_drain_goes_on_when_what_filled_the_client_was_not_the_spools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "_PAUSE_S", 0.01)

    async def test() -> None:
        file = SpoolFile(tmp_path / "spool.db")
        file.write(Change([row(1)]))
        sink = SpoolingSink(Spool(file, max_bytes=10**6))
        publisher = FakePublisher(available=True, refusals=20)
        start(sink, publisher)
        await until(lambda: publisher.sent == [1], 5.0)
        await sink.spool.close()

    run(test())
