"""What a customer may not have us ask: refused, and nothing connects to anything."""

from __future__ import annotations

import asyncio

import pytest

from producer.outgoing.answers import FailureKind
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from tests.outgoing.certificates import Authority
from tests.outgoing.hostile_urls import INSIDE, NAMES, ROWS
from tests.outgoing.servers import (
    Conversation,
    Listener,
    Names,
    connecting,
    failing,
    kind_of,
    serving,
)


@pytest.fixture(scope="module")
def strict() -> OutgoingClient:
    return OutgoingClient(OutgoingPolicy(), resolve=Names.of(NAMES))


@pytest.fixture(scope="module")
def unencrypted() -> OutgoingClient:
    return OutgoingClient(OutgoingPolicy(https_only=False), resolve=Names())


def test_the_list_is_long_and_no_row_is_there_twice() -> None:
    assert len(ROWS) == len(set(ROWS))
    assert len(ROWS) >= 60


@pytest.mark.parametrize(("url", "kind"), ROWS, ids=[ascii(url) for url, _ in ROWS])
def test_a_hostile_url_is_refused_and_nothing_connects(
    url: str, kind: FailureKind, listener: Listener, strict: OutgoingClient
) -> None:
    async def run() -> None:
        with connecting() as connects:
            failure = await failing(strict, url.format(port=listener.port), timeout_s=5)
        assert failure.kind is kind
        assert connects == []
        assert str(failure)

    asyncio.run(run())
    assert listener.came() == 0


def test_the_listener_would_have_seen_a_connection_that_is_allowed(listener: Listener) -> None:
    """So that the test above can fail."""

    async def run() -> None:
        everything = OutgoingPolicy(allow_networks=("127.0.0.0/8", "::1/128"), timeout_s=0.3)
        client = OutgoingClient(everything, resolve=Names.of(NAMES))
        for host in ("127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "inside.test"):
            url = f"https://{host}:{listener.port}/"
            with connecting() as connects:
                assert await kind_of(client, url) is FailureKind.TIMEOUT
            assert len(connects) == 1
            assert listener.came() == 1

    asyncio.run(run())


@pytest.mark.parametrize("url", INSIDE)
def test_unencrypted_is_refused_as_much_where_it_is_allowed(
    url: str, listener: Listener, unencrypted: OutgoingClient
) -> None:
    async def run() -> None:
        with connecting() as connects:
            kind = await kind_of(
                unencrypted, url.replace("https", "http").format(port=listener.port), timeout_s=5
            )
        assert kind is FailureKind.ADDRESS_REFUSED
        assert connects == []

    asyncio.run(run())
    assert listener.came() == 0


def test_a_redirect_to_each_of_them_is_refused_too(
    listener: Listener, authority: Authority
) -> None:
    async def run() -> None:
        location = ""

        async def redirect(conversation: Conversation) -> None:
            await conversation.answer(302, location=location)

        tls = authority.server("start.test")
        async with serving(redirect, tls=tls, address="127.0.0.9") as start:
            policy = OutgoingPolicy(
                allow_networks=("127.0.0.9/32",), ca_file=str(authority.file), timeout_s=10
            )
            names = Names.of({**NAMES, "start.test": (("127.0.0.9",),)})
            client = OutgoingClient(policy, resolve=names)
            for url, _ in ROWS:
                if not url or "\r" in url or "\x00" in url:
                    continue  # no header can hold it
                location = url.format(port=listener.port).encode().decode("latin-1")
                with connecting() as connects:
                    kind = await kind_of(client, f"https://start.test:{start.port}/x")
                assert kind in (
                    FailureKind.ADDRESS_REFUSED, FailureKind.REDIRECT, FailureKind.NAME_UNKNOWN,
                ), url  # fmt: skip
                assert {address[:2] for address in connects} == {("127.0.0.9", start.port)}, url
            assert start.connections >= len(ROWS) - 5

    asyncio.run(run())
    assert listener.came() == 0


def test_a_name_that_is_answered_differently_the_second_time_is_asked_once(
    authority: Authority,
) -> None:
    """DNS rebinding: what was judged is what is connected to."""

    async def run() -> None:
        async def fine(conversation: Conversation) -> None:
            await conversation.answer(200, b"judged")

        async def inside(conversation: Conversation) -> None:
            await conversation.answer(200, b"inside")

        tls = authority.server("rebinding.test")
        async with (
            serving(fine, tls=tls, address="127.0.0.2") as judged,
            serving(inside, tls=tls, address="127.0.0.1", port=judged.port) as other,
        ):
            names = Names.of({"rebinding.test": (("127.0.0.2",), ("127.0.0.1",))})
            client = OutgoingClient(
                OutgoingPolicy(allow_networks=("127.0.0.2/32",), ca_file=str(authority.file)),
                resolve=names,
            )
            url = f"https://rebinding.test:{judged.port}/"
            answer = await client.request("GET", url)
            assert (answer.body, names.asked) == (b"judged", ["rebinding.test"])
            # The next request resolves again, and judges what it gets.
            assert await kind_of(client, url) is FailureKind.ADDRESS_REFUSED
            assert (judged.connections, other.connections) == (1, 0)

    asyncio.run(run())


def test_a_redirect_to_its_own_name_is_resolved_and_judged_again(authority: Authority) -> None:
    async def run() -> None:
        async def redirect(conversation: Conversation) -> None:
            await conversation.answer(302, location="/again")

        tls = authority.server("rebinding.test")
        async with serving(redirect, tls=tls, address="127.0.0.2") as judged:
            names = Names.of({"rebinding.test": (("127.0.0.2",), ("127.0.0.1",))})
            client = OutgoingClient(
                OutgoingPolicy(allow_networks=("127.0.0.2/32",), ca_file=str(authority.file)),
                resolve=names,
            )
            failure = await failing(client, f"https://rebinding.test:{judged.port}/")
            assert failure.kind is FailureKind.ADDRESS_REFUSED
            assert "sends on" in str(failure)
            assert judged.connections == 1

    asyncio.run(run())
