"""A spool whose disk is full at the start, whose file is damaged, or whose disk stands still."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from producer.publish import spool as spool_module
from producer.publish.pending import SPOOLED
from producer.publish.spool import Spool
from producer.publish.spool_file import Change, SpoolFile
from producer.publish.spooling_sink import SpoolingSink
from schemas.errors import Overloaded, SpoolError
from tests.publish.publishing import run, until
from tests.publish.test_spool import add, row

Limit = Callable[[int | None], None]


@contextmanager
def full(small_disk: Limit) -> Iterator[None]:
    """Until it ends, also by a failure: the tests' own output may go to a file."""
    small_disk(1)
    try:
        yield
    finally:
        small_disk(None)


def filled(path: Path, events: int) -> None:
    file = SpoolFile(path)
    file.write(Change([row(number, b"%07d" % number * 100) for number in range(1, events + 1)]))
    file.close()


def marked(file: SpoolFile) -> bool:
    return bool(file._db.execute("SELECT open FROM state").fetchone()[0])


def test_a_disk_that_is_full_at_the_start_keeps_nobody_from_starting_or_draining(
    tmp_path: Path, small_disk: Limit
) -> None:
    path = tmp_path / "spool.db"
    filled(path, 3)

    async def test() -> None:
        with full(small_disk):
            file = SpoolFile(path)
            spool = Spool(file, max_bytes=10**8)
            assert [one.number for one in await spool.read(0, 10, 10**6)] == [1, 2, 3]
            await until(lambda: not spool.ready()[0])
        # It finds out by itself that there is room again.
        await until(lambda: spool.ready()[0])
        assert marked(file)
        assert await add(spool) == SPOOLED
        await spool.close()

    run(test())


def test_on_a_full_disk_the_drain_reads_on_though_nothing_can_be_removed(
    tmp_path: Path, small_disk: Limit
) -> None:
    path = tmp_path / "spool.db"
    filled(path, 30)

    async def test() -> None:
        with full(small_disk):
            spool = Spool(SpoolFile(path), max_bytes=10**8)
            numbers: list[int] = []
            while rows := await spool.read(numbers[-1] if numbers else 0, 10, 10**6):
                numbers += [one.number for one in rows]
                for one in rows:
                    spool.remove(one)
            assert numbers == list(range(1, 31))
            assert spool.problem
            assert (spool.events, spool.removing) == (0, 30)
        await until(lambda: spool.removing == 0)
        await spool.close()
        assert SpoolFile(path).totals().events == 0

    run(test())


def test_a_first_start_on_a_full_disk_says_that_it_is_full(
    tmp_path: Path, small_disk: Limit
) -> None:
    with full(small_disk), pytest.raises(SpoolError, match="make room") as caught:
        SpoolFile(tmp_path / "spool.db")
    assert "damaged" not in str(caught.value)


def test_a_file_that_is_damaged_inside_says_what_to_do_with_it(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    filled(path, 1_000)
    data = bytearray(path.read_bytes())
    data[400_000:420_000] = os.urandom(20_000)
    path.write_bytes(data)

    async def test() -> None:
        with pytest.raises(SpoolError, match="move it aside") as caught:
            Spool(SpoolFile(path), max_bytes=10**8)
        assert str(path) in str(caught.value)

    run(test())


def test_to_look_at_a_spool_does_not_forget_that_its_gateway_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    killed = SpoolFile(path)
    killed._db.close()
    look = SpoolFile(path, marks=False)
    assert look.was_killed
    look.close()
    after = SpoolFile(path)
    assert after.was_killed
    after.close()
    assert not SpoolFile(path, marks=False).was_killed


def test_what_waits_for_a_disk_that_stands_still_is_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "_MAX_UNCOMMITTED_BYTES", 10_000)

    async def test() -> None:
        turns: list[Callable[[], None]] = []
        spool = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10**8, run=turns.append)
        waiting = []
        while not spool.clogged:
            waiting.append(add(spool, bytes(1_000)))
        assert len(waiting) == 10
        with pytest.raises(Overloaded, match="wait for the spool's disk"):
            SpoolingSink(spool).publish("events", b"key", b"value", [])
        await until(lambda: turns)
        turns.pop()()
        assert await waiting[-1] == SPOOLED
        assert not spool.clogged
        assert spool.uncommitted_bytes == 0

    run(test())
