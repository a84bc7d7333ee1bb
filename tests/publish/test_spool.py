"""The spool on a real disk: what it says is safe outlives kill -9; what it can't keep, it says."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from producer.publish.pending import SPOOLED, Acknowledged, Headers
from producer.publish.spool import Spool
from producer.publish.spool_file import Change, Row, SpoolFile, pack_headers, unpack_headers
from schemas.errors import SpoolError, SpoolFailed, SpoolFull, SpoolLocked
from tests.publish.publishing import run, until, wake_ups

HEADERS: Headers = [("hookline-request-id", "ab"), ("binary", b"\xff"), ("none", None)]


def row(number: int, value: bytes = b"value") -> Row:
    return Row(number, "events", b"key", value, pack_headers(HEADERS), 1_700, False)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "new" / "spool.db")
    file.write(Change([row(1), row(2, bytes(range(256)))]))
    found = file.read(0, 10, 10_000)
    assert found == [row(1), row(2, bytes(range(256)))]
    assert unpack_headers(found[0].headers) == HEADERS
    assert file.read(1, 10, 10_000) == found[1:]
    assert file.read(0, 10, 1) == found[:1], "at least one, however large"
    totals = file.totals()
    assert (totals.events, totals.bytes) == (2, sum(one.size_bytes for one in found))
    assert (totals.oldest_ms, totals.last_number) == (1_700, 2)
    file.close()


def test_removed_and_refused_records_are_gone_from_the_queue_and_only_the_refused_are_kept(
    tmp_path: Path,
) -> None:
    file = SpoolFile(tmp_path / "spool.db")
    file.write(Change([row(number) for number in range(1, 10)]))
    file.write(Change(removed=[1, 3, 4, 5, 9], refused=[(7, "too large")]))
    assert [one.number for one in file.read(0, 10, 10_000)] == [2, 6, 8]
    assert (file.totals().events, file.totals().refused) == (3, 1)
    assert file.reasons() == {"too large": 1}
    assert file.requeue(10) == 1
    assert [one.number for one in file.read(0, 10, 10_000)] == [2, 6, 8, 10]
    assert file.read(8, 1, 1)[0].produced, "the log may have it"
    assert file.totals().refused == 0
    file.close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "spool.db"
    path.parent.mkdir()
    path.touch(0o644)
    file = SpoolFile(path)
    file.write(Change([row(1)]))
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == {"spool.db": 0o600, "spool.db-wal": 0o600}
    file.close()


def test_a_second_process_is_told_that_the_file_is_taken_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    program = (
        "import sys, pathlib; from producer.publish.spool_file import SpoolFile;"
        "held = SpoolFile(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(SpoolLocked, match="open in another process"):
            SpoolFile(path)
        other.kill()
    SpoolFile(path).close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("PRAGMA user_version=2", "of version 2 of the spool, and this Hookline knows 1"),
        ("PRAGMA application_id=7", "another program's file"),
    ],
)
def test_a_file_that_is_not_ours_or_newer_is_left_alone(
    tmp_path: Path, change: str, said: str
) -> None:
    path = tmp_path / "spool.db"
    SpoolFile(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute(change)
    other.close()
    before = path.read_bytes()
    with pytest.raises(SpoolError, match=said):
        SpoolFile(path)
    assert path.read_bytes() == before


def test_rubbish_and_a_folder_that_cannot_be_written_are_errors_with_a_next_step(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"rubbish" * 1_000)
    with pytest.raises(SpoolError, match="move it aside"):
        SpoolFile(path)
    with pytest.raises(SpoolError, match=r"spool\.path: cannot open"):
        SpoolFile(path / "below-a-file")


def test_what_was_committed_outlives_kill_9_and_what_was_not_leaves_no_trace(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    program = (
        "import sys, pathlib; from producer.publish.spool_file import *\n"
        "file = SpoolFile(pathlib.Path(sys.argv[1]))\n"
        "number = 0\n"
        "while True:\n"
        "    rows = [Row(number + n, 't', b'k', b'v' * 500, b'', 0, False) for n in range(1, 51)]\n"
        "    number += 50\n"
        "    file.write(Change(rows))\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as writer:
        assert writer.stdout is not None
        told = 0
        for line in writer.stdout:
            told = int(line)
            if told >= 1_000:
                writer.send_signal(signal.SIGKILL)
                break
        told = max([told, *map(int, writer.stdout.read().split())])
    file = SpoolFile(path)
    events = file.totals().events
    assert events in (told, told + 50)
    assert [one.number for one in file.read(0, 10**6, 10**9)] == list(range(1, events + 1))
    file.close()


# The queue around it.


def add(spool: Spool, value: bytes = b"value") -> asyncio.Future[Acknowledged]:
    waiter: asyncio.Future[Acknowledged] = asyncio.get_running_loop().create_future()
    spool.append(("events", b"key", value, HEADERS), waiter)
    return waiter


def test_many_records_share_a_commit_and_one_wake_up(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10**7)
        before = wake_ups()
        answers = await asyncio.gather(*(add(spool) for _ in range(1_000)))
        assert set(answers) == {SPOOLED}
        assert spool.commits == 1
        assert wake_ups() - before <= 4
        assert (spool.events, spool.uncommitted, spool.spooled_total) == (1_000, 0, 1_000)
        await spool.close()

    run(test())


def test_what_comes_during_a_commit_is_the_next_one(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10**7)
        first = add(spool)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.gather(first, *(add(spool) for _ in range(100)))
        assert spool.commits == 2
        await spool.close()

    run(test())


def test_beyond_its_bound_it_is_full_and_says_so_until_there_is_room(tmp_path: Path) -> None:
    async def test() -> None:
        one = len(b"key") + 1_000 + len(pack_headers(HEADERS))
        spool = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=3 * one)
        await asyncio.gather(*(add(spool, bytes(1_000)) for _ in range(3)))
        assert spool.bytes == 3 * one
        with pytest.raises(SpoolFull, match="3 events"):
            add(spool, b"")
        assert not spool.ready()[0]
        rows = await spool.read(0, 1, 1)
        spool.remove(rows[0])
        assert spool.ready()[0]
        await add(spool, bytes(1_000))
        await spool.close()
        again = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=3 * one)
        assert (again.events, again.bytes, again.last_number) == (3, 3 * one, 4)
        await again.close()

    run(test())


def test_what_is_set_aside_counts_as_bytes_and_not_as_waiting(tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10_000)
        await add(spool)
        (found,) = await spool.read(0, 1, 1)
        spool.set_aside(found, "too large")
        assert (spool.events, spool.bytes, spool.refused) == (0, 0, 1)
        assert spool.refused_bytes == found.size_bytes
        await spool.close()
        again = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10_000)
        assert (again.events, again.refused, again.last_number) == (0, 1, 1)
        await again.close()

    run(test())


def test_a_disk_that_takes_no_more_costs_the_new_ones_and_none_of_the_old(
    tmp_path: Path, small_disk: Any
) -> None:
    async def test() -> None:
        spool = Spool(SpoolFile(tmp_path / "spool.db"), max_bytes=10**8)
        await asyncio.gather(*(add(spool, bytes(1_000)) for _ in range(50)))
        small_disk(200_000)
        outcomes = await asyncio.gather(
            *(add(spool, bytes(1_000)) for _ in range(1_000)), return_exceptions=True
        )
        assert {type(one) for one in outcomes} == {SpoolFailed}
        assert not spool.ready()[0]
        assert (spool.events, spool.uncommitted) == (50, 0)
        small_disk(None)
        # It finds out by itself: an unready gateway gets no webhooks.
        await until(lambda: spool.ready()[0])
        await add(spool)
        assert len(await spool.read(0, 10**6, 10**9)) == 51
        await spool.close()

    run(test())


def test_on_a_full_disk_what_kafka_has_can_still_be_removed(
    tmp_path: Path, small_disk: Any
) -> None:
    async def test() -> None:
        path = tmp_path / "spool.db"
        spool = Spool(SpoolFile(path), max_bytes=10**8)
        await asyncio.gather(*(add(spool, bytes(1_000)) for _ in range(100)))
        rows = await spool.read(0, 100, 10**9)
        small_disk(os.stat(f"{path}-wal").st_size + 40_000)
        failing = [add(spool, bytes(1_000)) for _ in range(1_000)]
        for one in rows:
            spool.remove(one)
        outcomes = await asyncio.gather(*failing, return_exceptions=True)
        assert {type(one) for one in outcomes} == {SpoolFailed}
        small_disk(None)
        await until(lambda: spool.ready()[0])
        assert await spool.read(0, 10**6, 10**9) == []
        await spool.close()

    run(test())


def test_an_empty_spool_gives_its_space_back(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool.db"
        spool = Spool(SpoolFile(path), max_bytes=10**8)
        await asyncio.gather(*(add(spool, bytes(10_000)) for _ in range(2_000)))
        for one in await spool.read(0, 10**6, 10**9):
            spool.remove(one)
        spool.shrink()
        log = Path(f"{path}-wal")
        await until(lambda: path.stat().st_size < 100_000 and log.stat().st_size == 0)
        assert not spool.problem
        await spool.close()

    run(test())
