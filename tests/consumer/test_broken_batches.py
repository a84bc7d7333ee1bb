"""Batches that break, and calls that outlive what they were made for: as found by review."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from consumer.core.backoff import Backoff
from consumer.engine.commands import ExternalDone, Limits
from consumer.engine.group_commit import BatchResult
from hookline import Event, Handlers
from schemas.errors import StoreUnavailable
from tests.consumer.rig import Rig, event


def test_a_handler_that_rolls_back_the_whole_transaction_is_disposed_of_alone(
    tmp_path: Path,
) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def apply(event: Event, tx: Any) -> None:
        text = "INSERT OR ROLLBACK INTO effects VALUES (?)"
        tx.execute(text, ("e0" if event.event_id == "bad" else event.event_id,))

    rig = Rig(handlers, tmp_path, schema="CREATE TABLE effects (id TEXT UNIQUE)")
    rig.log(event("e0", "0"))
    rig.settle()
    rig.log(event("a", "1"), event("bad", "2"), event("b", "3"))
    for _ in range(30):
        rig.later(30)
    assert sorted(rig.effects()) == ["a", "b", "e0"]
    assert rig.parked() + len(rig.letters()) == 1


@pytest.mark.parametrize("others", ["waiting calls", "a stream of good events"])
def test_one_that_breaks_its_transaction_is_found_among_others_that_never_end(
    tmp_path: Path, others: str
) -> None:
    handlers = Handlers()

    @handlers.on("bad.*")
    def bad(event: Event, tx: Any) -> None:
        tx.execute("INSERT OR ROLLBACK INTO effects VALUES ('x')")

    @handlers.on("good.*")
    def good(event: Event, tx: Any) -> None:
        tx.execute("INSERT INTO effects VALUES (?)", (event.event_id,))

    @handlers.on("call.*")
    async def call(event: Event) -> None:
        """Run by the test."""

    schema = "CREATE TABLE effects (id TEXT UNIQUE); INSERT INTO effects VALUES ('x')"
    rig = Rig(handlers, tmp_path, schema=schema, limits=Limits(concurrency=4))
    rig.log(event("x", "1", event_type="bad.x"))
    ended = 0
    for turn in range(400):
        rig.log(event(f"c{turn}", f"c{turn}", event_type="call.x"))
        if others != "waiting calls":
            rig.log(event(f"g{turn}", f"g{turn}", event_type="good.x"))
        rig.step()
        rig.now += 1
        rig.dispatcher.wake()
        while ended < len(rig.started):
            rig.dispatcher.obey(ExternalDone(rig.started[ended], None))
            ended += 1
    assert rig.parked() == 1
    assert ended > 300
    rig.settle()
    assert len(rig.effects()) == 1 + (400 if others != "waiting calls" else 0)


def test_a_task_of_a_handler_that_exits_ends_no_other_handler(tmp_path: Path) -> None:
    handlers = Handlers()
    done: list[str] = []

    @handlers.on("*")
    async def call(event: Event) -> None:
        async def leave() -> None:
            raise SystemExit(3)

        if event.event_id == "bad":
            await asyncio.gather(leave())
        done.append(event.event_id)

    rig = Rig(handlers, tmp_path, threads=True)
    rig.log(event("bad", "1"))
    rig.settle()
    time.sleep(0.1)
    rig.log(event("good", "2"))
    deadline_s = time.monotonic() + 10
    while not done and time.monotonic() < deadline_s:
        rig.settle()
        time.sleep(0.01)
    assert done == ["good"]
    rig.external.close()


def test_a_call_of_a_log_that_began_anew_ends_before_the_next_of_its_key(tmp_path: Path) -> None:
    handlers = Handlers()

    @handlers.on("*")
    async def call(event: Event) -> None:
        """Run by the test."""

    rig = Rig(handlers, tmp_path)
    rig.log(event("a", "9"), event("old", "1"))
    rig.settle()
    rig.dispatcher.obey(ExternalDone(rig.started[0], None))
    rig.settle()
    rig.offset = 0
    rig.log(event("new", "1"))
    rig.later(1)
    assert [run.items[0].event.event_id for run in rig.started] == ["a", "old"]  # type: ignore[union-attr]
    rig.dispatcher.obey(ExternalDone(rig.started[1], None))
    rig.later(1)
    assert [run.items[0].event.event_id for run in rig.started] == ["a", "old", "new"]  # type: ignore[union-attr]


def test_what_a_failed_batch_gives_back_of_a_lost_partition_makes_no_batch(tmp_path: Path) -> None:
    handlers = Handlers()

    @handlers.on("*")
    def fail(event: Event, tx: Any) -> None:
        raise ConnectionError("the other side is away")

    rig = Rig(handlers, tmp_path, backoff=Backoff(budget_s=0.0))
    rig.log(event("e"))
    rig.settle()
    assert rig.parked() == 1
    # It is tried again, fails, and the batch that would note so finds no store.
    for _ in range(50):
        rig.now += 30
        rig.dispatcher.wake()
        rig.dispatcher.hand_out()
        batch = rig.batches.get_nowait()
        assert batch is not None
        if batch.postponements:
            break
        rig.dispatcher.obey(rig.committer.carry_out(batch))
    assert batch.postponements
    rig.lose()
    rig.dispatcher.obey(BatchResult(batch=batch, error=StoreUnavailable("away")))
    rig.now += 3600
    rig.dispatcher.wake()
    rig.dispatcher.hand_out()
    assert rig.batches.empty()
