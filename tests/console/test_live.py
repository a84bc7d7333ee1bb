"""News by server-sent events: to all listeners, from one look at the store, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from console.live import Live
from consumer.monitor.contract import EventFilter, EventPage, Questions, RequestFilter, RequestPage
from schemas.execution import Execution


class Changing:
    """Questions whose newest event is another one when a test says so."""

    def __init__(self) -> None:
        self.newest: object = "a"
        self.looks = 0
        self.broken = False

    def events(self, wanted: EventFilter, *, after: str = "", limit: int = 50) -> EventPage:
        self.looks += 1
        if self.broken:
            raise OSError("away")
        return EventPage((cast(Execution, self.newest),))

    def requests(self, wanted: RequestFilter, *, after: str = "", limit: int = 50) -> RequestPage:
        return RequestPage(())


def live(questions: Changing, **more: float) -> Live:
    return Live(cast(Questions, questions), "production", look_every_s=0.005, **more)  # type: ignore[arg-type]


async def following(stream: AsyncIterator[bytes]) -> bytes:
    async with asyncio.timeout(5):
        return await anext(stream)


async def looked(questions: Changing, times: int) -> None:
    began = questions.looks
    async with asyncio.timeout(5):
        while questions.looks < began + times:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def test_every_listener_hears_of_what_is_new_from_one_looker() -> None:
    async def run() -> None:
        questions = Changing()
        news = live(questions)
        streams = [news.stream() for _ in range(5)]
        for stream in streams:
            assert b"event: hello" in await following(stream)
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await looked(questions, 3)
        assert not any(one.done() for one in waiting)
        questions.newest = "b"
        async with asyncio.timeout(5):
            assert {bytes(text) for text in await asyncio.gather(*waiting)} == {
                b"event: changed\ndata: 1\n\n"
            }
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]
        assert news.listeners == 0

    asyncio.run(run())


def test_nobody_looks_while_nobody_listens() -> None:
    async def run() -> None:
        questions = Changing()
        news = live(questions)
        assert questions.looks == 0
        stream = news.stream()
        await following(stream)
        await looked(questions, 2)
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        before = questions.looks
        await asyncio.sleep(0.05)
        assert questions.looks == before

    asyncio.run(run())


def test_a_store_that_is_away_ends_no_stream() -> None:
    async def run() -> None:
        questions = Changing()
        news = live(questions)
        stream = news.stream()
        await following(stream)
        await looked(questions, 2)
        waiting = asyncio.ensure_future(anext(stream))
        questions.broken = True
        await looked(questions, 3)
        questions.newest, questions.broken = "b", False
        async with asyncio.timeout(5):
            assert b"changed" in await waiting
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_listeners_are_bounded_in_number_and_time() -> None:
    async def run() -> None:
        news = live(Changing(), max_listeners=1, max_age_s=0.05)
        stream = news.stream()
        await following(stream)
        assert news.full
        async with asyncio.timeout(5):
            rest = [text async for text in stream]
        assert all(text.startswith(b":") for text in rest)
        assert not news.full

    asyncio.run(run())


@pytest.mark.parametrize("signed_in", [True, False])
def test_the_stream_is_for_those_who_are_signed_in(stage, signed_in: bool) -> None:  # type: ignore[no-untyped-def]
    client = stage.visitor()
    if not signed_in:
        client.cookies.clear()
        assert client.get("/live", headers={"accept": "text/event-stream"}).status_code == 401
