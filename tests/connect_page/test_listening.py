"""A stream of changes speaks when nothing happens, has its end, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from console.connect.listening import Listeners
from producer.connect.session import SessionRefused
from producer.connect.view import View
from schemas.errors import StoreUnavailable
from tests.connect_page.fake_service import FakeService

VIEW = FakeService()
TOKEN = VIEW.make()


class Changes:
    """Views as a test gives them, and whether it was closed."""

    def __init__(self, end: Exception | None = None) -> None:
        self.views: asyncio.Queue[View | None] = asyncio.Queue()
        self.end = end
        self.closed = False

    async def follow(self) -> AsyncIterator[View]:
        try:
            while (view := await self.views.get()) is not None:
                yield view
            if self.end is not None:
                raise self.end
        finally:
            self.closed = True


async def _all(stream: AsyncIterator[bytes]) -> list[bytes]:
    async with asyncio.timeout(10):
        return [piece async for piece in stream]


def test_a_heartbeat_loses_no_change() -> None:
    async def run() -> None:
        changes = Changes()
        stream = Listeners(heartbeat_s=0.02).stream("s", changes.follow())
        async with asyncio.timeout(10):
            assert await anext(stream) == b": still here\n\n"
            assert await anext(stream) == b": still here\n\n"
            changes.views.put_nowait(VIEW.view_of(TOKEN))
            while (piece := await anext(stream)).startswith(b":"):
                pass
        assert piece.startswith(b'event: state\ndata: {"revision":0,')
        assert piece.endswith(b"\n\n")
        changes.views.put_nowait(None)
        assert all(one.startswith(b":") for one in await _all(stream))
        assert changes.closed

    asyncio.run(run())


def test_a_stream_ends_in_time_and_gives_its_place_back() -> None:
    async def run() -> None:
        listeners = Listeners(max_age_s=0.05, max_of_session=1, max_listeners=2)
        changes = Changes()
        stream = listeners.stream("s", changes.follow())
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert listeners.full("s")
        assert not listeners.full("other")
        async with asyncio.timeout(10):
            await first
        await _all(stream)
        assert not listeners.full("s")
        assert len(listeners) == 0
        assert changes.closed

    asyncio.run(run())


def test_of_many_that_are_let_in_at_once_no_more_begin_than_may() -> None:
    async def run() -> None:
        listeners = Listeners(max_of_session=2, max_listeners=3)
        of = [*["s"] * 10, "other", "another"]
        changes = [Changes() for _ in of]
        assert not listeners.full("s")
        streams = [listeners.stream(s, c.follow()) for s, c in zip(of, changes, strict=True)]
        for one in changes:
            one.views.put_nowait(VIEW.view_of(TOKEN))
        begun = await asyncio.gather(*(anext(one, b"") for one in streams))
        assert [bool(piece) for piece in begun] == [True] * 2 + [False] * 8 + [True, False]
        assert len(listeners) == 3
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        assert len(listeners) == 0

    asyncio.run(run())


def test_who_goes_away_in_the_middle_leaves_nothing_behind() -> None:
    async def run() -> None:
        listeners, changes = Listeners(), Changes()
        task = asyncio.ensure_future(_all(listeners.stream("s", changes.follow())))
        while not len(listeners):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # What it held is let go of by the loop at the latest.
        async with asyncio.timeout(10):
            while len(listeners) or not changes.closed:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    asyncio.run(run())


def test_an_error_ends_the_stream_and_is_no_fault() -> None:
    async def run() -> None:
        for error in (SessionRefused("expired", "x"), StoreUnavailable("away")):
            changes = Changes(error)
            changes.views.put_nowait(None)
            assert await _all(Listeners().stream("s", changes.follow())) == []

    asyncio.run(run())
