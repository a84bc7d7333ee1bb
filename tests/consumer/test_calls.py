"""How many external handlers run at once, how many are looked up ahead, what becomes of both."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from queue import SimpleQueue

from consumer.engine.apply_runs import RecordRun
from consumer.engine.commands import ExternalDone, Limits, Released
from consumer.engine.external import ExternalHandlers
from consumer.engine.tracing import ConsumerTracing
from hookline import Handlers
from schemas.event import Event
from tests.consumer.rig import P, Rig, event


def _rig(folder: Path, concurrency: int = 2) -> Rig:
    handlers = Handlers()

    @handlers.on("*")
    async def call(event: Event) -> None:
        """Run by the test."""

    return Rig(handlers, folder, limits=Limits(concurrency=concurrency))


def _ids(runs: list[RecordRun]) -> list[str]:
    return [run.items[0].event.event_id for run in runs if run.items[0].event]


def test_no_more_run_at_once_than_may_and_the_next_begins_at_once(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    rig.log(*(event(f"e{n}", f"{n}") for n in range(10)))
    rig.settle()
    assert _ids(rig.started) == ["e0", "e1"]
    # Its place is free when its call has ended, not when that is committed.
    rig.dispatcher.obey(ExternalDone(rig.started[0], None))
    assert _ids(rig.started) == ["e0", "e1", "e2"]
    ended = 1
    while ended < len(rig.started):
        rig.dispatcher.obey(ExternalDone(rig.started[ended], None))
        ended += 1
        assert len(rig.started) - ended <= 2
        rig.settle()
    assert len(set(_ids(rig.started))) == len(rig.started) == 10


def test_what_waits_for_a_place_is_given_back_when_its_partition_is_drained(
    tmp_path: Path,
) -> None:
    rig = _rig(tmp_path)
    rig.log(*(event(f"e{n}", f"{n}") for n in range(10)))
    rig.settle()
    drained = threading.Event()
    rig.dispatcher.obey(Released([P], drained))
    assert not drained.is_set()
    for run in list(rig.started):
        rig.dispatcher.obey(ExternalDone(run, None))
        rig.settle()
    assert drained.is_set()
    assert _ids(rig.started) == ["e0", "e1"]


def test_a_place_is_not_lost_with_a_partition_that_comes_back(tmp_path: Path) -> None:
    rig = _rig(tmp_path)
    rig.log(*(event(f"e{n}", f"{n}") for n in range(10)))
    rig.settle()
    first = list(rig.started)
    rig.lose()
    rig.claim()
    rig.offset = 0
    rig.log(*(event(f"e{n}", f"{n}") for n in range(10)))
    rig.settle()
    assert rig.started == first
    for run in first:
        rig.dispatcher.obey(ExternalDone(run, None))
    rig.later(1)
    assert len(rig.started) == 4


def test_a_handler_that_is_cut_off_before_it_began_is_answered_all_the_same(
    tmp_path: Path,
) -> None:
    rig = _rig(tmp_path)
    rig.log(event("e"))
    rig.settle()
    (run,) = rig.started
    answers: SimpleQueue[tuple[RecordRun, Exception | None]] = SimpleQueue()
    handlers = ExternalHandlers(
        threads=1,
        timeout_s=60.0,
        tracing=ConsumerTracing("g", enabled=False),
        done=lambda run, error: answers.put((run, error)),
    )
    busy = threading.Event()
    asyncio.run_coroutine_threadsafe(_hold(busy), handlers._loop)
    handlers.start(run)
    handlers.cancel(P)
    rig.lose()
    busy.set()
    answered, error = answers.get(timeout=10)
    assert answered is run
    assert "no longer ours" in str(error)
    handlers.close()
    assert handlers.idle


async def _hold(busy: threading.Event) -> None:
    busy.wait(10)
