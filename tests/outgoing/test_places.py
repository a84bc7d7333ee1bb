"""Requests at once: so many and no more, and every place is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from producer.outgoing.answers import FailureKind
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from tests.outgoing.servers import Conversation, Names, failing, serving


def client_of(max_concurrent: int = 32, max_waiting: int = 256) -> OutgoingClient:
    policy = OutgoingPolicy(
        allow_networks=("127.0.0.1/32",),
        https_only=False,
        timeout_s=60,
        max_concurrent=max_concurrent,
        max_waiting=max_waiting,
    )
    return OutgoingClient(policy, resolve=Names(**{"good.test": (("127.0.0.1",),)}))


async def hang(conversation: Conversation) -> None:
    await asyncio.Event().wait()


def test_a_request_that_is_cancelled_leaves_no_connection() -> None:
    async def run() -> None:
        client = client_of()
        ended = asyncio.Event()

        async def until_closed(conversation: Conversation) -> None:
            await conversation.reader.read()
            ended.set()

        async with serving(until_closed) as server:
            task = asyncio.create_task(client.request("GET", f"http://good.test:{server.port}/"))
            await until(lambda: server.conversations != [])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(ended.wait(), 30)

    asyncio.run(run())


async def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_so_many_requests_at_once_and_no_more() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def hold(conversation: Conversation) -> None:
            await go.wait()
            await conversation.answer(200)

        client = client_of(max_concurrent=2, max_waiting=3)
        async with serving(hold) as server:
            url = f"http://good.test:{server.port}/"
            tasks = [asyncio.create_task(client.request("GET", url)) for _ in range(5)]
            await until(lambda: server.open == 2)
            # A place that is not free in time is ours to explain, not the system's.
            busy = await failing(client, url, timeout_s=60)
            assert busy.kind is FailureKind.BUSY
            tasks.pop().cancel()
            await asyncio.sleep(0)
            assert (await failing(client, url, timeout_s=0.1)).kind is FailureKind.BUSY
            go.set()
            assert [(await task).status for task in tasks] == [200] * 4
            assert server.most_open == 2
            # Every place was given back.
            assert (await client.request("GET", url)).status == 200
            await client.close()
            assert (await failing(client, url)).kind is FailureKind.BUSY

    asyncio.run(run())


def test_places_are_given_back_after_failures() -> None:
    async def run() -> None:
        async def leave(conversation: Conversation) -> None:
            conversation.reset()

        client = client_of(max_concurrent=1)
        async with serving(leave) as server:
            for _ in range(3):
                failure = await failing(client, f"http://good.test:{server.port}/")
                assert failure.kind is FailureKind.CONNECTION_BROKEN
        async with serving(hang) as server:
            for _ in range(2):
                url = f"http://good.test:{server.port}/"
                assert (await failing(client, url, timeout_s=0.1)).kind is FailureKind.TIMEOUT
        assert (await failing(client, "https://none.test/")).kind is FailureKind.NAME_UNKNOWN

    asyncio.run(run())
