"""What is sent, to whom, and what of it goes on after a redirect."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from producer.outgoing.answers import FailureKind
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from producer.outgoing.resolving import SystemResolver
from tests.outgoing.certificates import Authority
from tests.outgoing.servers import (
    Conversation,
    Listener,
    Names,
    Server,
    failing,
    kind_of,
    serving,
)

GIVEN = {"Authorization": "Bearer s3cret", "X-Api-Key": "k3y", "Cookie": "c", "Accept": "a/b"}
SENSITIVE = ("authorization", "x-api-key", "cookie", "content-type")


def client_of(**policy: object) -> OutgoingClient:
    settings = {"allow_networks": ("127.0.0.1/32",), "https_only": False, "timeout_s": 60, **policy}
    return OutgoingClient(
        OutgoingPolicy(**settings),  # type: ignore[arg-type]
        resolve=Names(**{"a.test": (("127.0.0.1",),), "b.test": (("127.0.0.1",),)}),
    )


@asynccontextmanager
async def redirecting(
    status: int, where: Callable[[int, str], str], *, steps: int = 1
) -> AsyncIterator[Server]:
    """Sends on `steps` times to `where(port, path)`, then answers 200."""
    server: Server

    async def handler(conversation: Conversation) -> None:
        path = conversation.head.split(" ")[1]
        if len(server.conversations) <= steps:
            await conversation.answer(status, b"moved", location=where(server.port, path))
        else:
            await conversation.answer(200, b"here")

    async with serving(handler) as server:
        yield server


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await test()

    asyncio.run(whole())


def test_a_request_goes_out_as_it_was_given_and_the_answer_comes_back() -> None:
    async def test() -> None:
        async def answer(conversation: Conversation) -> None:
            await conversation.send(
                b"HTTP/1.1 418 x\r\nX-One: a\r\nx-one: b\r\nX-Two: \xe9\r\n\r\nbody"
            )

        async with serving(answer) as server:
            ticks = iter([0, 12_900_000])
            client = OutgoingClient(
                OutgoingPolicy(allow_networks=("127.0.0.1/32",), https_only=False),
                resolve=Names(**{"a.test": (("127.0.0.1",),)}),
                clock=lambda: next(ticks),
            )
            got = await client.request(
                "post", f"http://a.test:{server.port}/x?q=1#f", headers=GIVEN, content=b"hello"
            )
            assert (got.status, got.body, got.took_ms) == (418, b"body", 12)
            assert got.headers["x-one"] == "a, b"
            assert got.headers["x-two"] == "\xe9"
            asked = server.conversations[0]
            assert asked.head.startswith("POST /x?q=1 HTTP/1.1\r\n")
            assert asked.content == b"hello"
            assert asked.header("host") == f"a.test:{server.port}"
            assert asked.header("authorization") == "Bearer s3cret"
            assert asked.header("user-agent") == "Hookline"
            assert asked.header("accept") == "a/b"
            assert asked.header("accept-encoding") == "gzip"

    run(test)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_within_its_origin_a_redirect_keeps_the_credentials(status: int) -> None:
    async def test() -> None:
        async with redirecting(status, lambda port, _: "/there") as server:
            answer = await client_of().request(
                "GET", f"http://a.test:{server.port}/", headers=GIVEN
            )
            assert answer.url.endswith("/there")
            assert server.conversations[1].header("authorization") == "Bearer s3cret"
            assert server.conversations[1].header("x-api-key") == "k3y"

    run(test)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_drops_all_that_was_given(status: int) -> None:
    async def test() -> None:
        async with redirecting(status, lambda port, _: f"http://b.test:{port}/") as server:
            answer = await client_of().request(
                "GET",
                f"http://a.test:{server.port}/",
                headers={**GIVEN, "Content-Type": "text/plain"},
            )
            assert answer.body == b"here"
            first, second = server.conversations
            assert first.header("authorization") == "Bearer s3cret"
            assert [second.header(name) for name in SENSITIVE] == [None] * 4
            assert second.header("accept") == "a/b"
            assert "s3cret" not in second.head

    run(test)


def test_another_port_of_the_same_host_is_another_origin() -> None:
    async def test() -> None:
        async def here(conversation: Conversation) -> None:
            await conversation.answer(200)

        async with serving(here) as other:
            to = f"http://a.test:{other.port}/"
            async with redirecting(302, lambda *_: to) as server:
                url = f"http://a.test:{server.port}/"
                await client_of().request("GET", url, headers=GIVEN)
                assert other.conversations[0].header("authorization") is None

    run(test)


def test_credentials_do_not_come_back_with_the_way_back() -> None:
    async def test() -> None:
        there = iter(["b", "a"])
        async with redirecting(
            302, lambda port, _: f"http://{next(there)}.test:{port}/", steps=2
        ) as server:
            await client_of().request("GET", f"http://a.test:{server.port}/", headers=GIVEN)
            assert [(one.header("host") or "")[:1] for one in server.conversations] == [
                "a",
                "b",
                "a",
            ]
            assert [one.header("authorization") for one in server.conversations] == [
                "Bearer s3cret", None, None,
            ]  # fmt: skip

    run(test)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"),
     (303, "HEAD", "HEAD"), (307, "POST", "POST"), (308, "PUT", "PUT"), (302, "PATCH", "PATCH")],
)  # fmt: skip
def test_method_and_content_after_a_redirect_follow_rfc_9110(
    status: int, method: str, then: str
) -> None:
    async def test() -> None:
        async with redirecting(status, lambda *_: "/there") as server:
            content = None if method == "HEAD" else b"secret=1"
            await client_of().request(
                method,
                f"http://a.test:{server.port}/",
                content=content,
                headers={"content-type": "x/y"},
            )
            second = server.conversations[1]
            assert second.head.split(" ")[0] == then
            assert second.content == (content if then == method and content else b"")
            if then == "GET":
                assert second.header("content-type") is None

    run(test)


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "POST"), (301, "DELETE")])
def test_content_and_changes_are_never_sent_on_to_another_origin(status: int, method: str) -> None:
    async def test() -> None:
        async with redirecting(status, lambda port, _: f"http://b.test:{port}/") as server:
            failure = await failing(
                client_of(), f"http://a.test:{server.port}/", method=method, content=b"secret=1"
            )
            assert failure.kind is FailureKind.REDIRECT
            assert "b.test" in str(failure)
            assert server.connections == 1

    run(test)


def test_so_many_redirects_and_no_more() -> None:
    async def test() -> None:
        async with redirecting(302, lambda *_: "/again", steps=3) as server:
            url = f"http://a.test:{server.port}/"
            assert (await client_of(max_redirects=3).request("GET", url)).status == 200
        async with redirecting(302, lambda *_: "/again", steps=4) as server:
            url = f"http://a.test:{server.port}/"
            assert await kind_of(client_of(max_redirects=3), url) is FailureKind.REDIRECT
            assert server.connections == 4

    run(test)


def test_a_redirect_to_plain_http_is_refused(authority: Authority) -> None:
    async def test() -> None:
        tls = authority.server("a.test")
        to = ""

        async def downgrade(conversation: Conversation) -> None:
            await conversation.answer(302, location=to)

        async with serving(downgrade, tls=tls) as server, serving(downgrade) as plain:
            to = f"http://a.test:{plain.port}/"
            for https_only in (True, False):
                client = client_of(https_only=https_only, ca_file=str(authority.file))
                failure = await failing(client, f"https://a.test:{server.port}/")
                assert failure.kind is FailureKind.REDIRECT
                assert "not encrypted" in str(failure)
            assert plain.connections == 0

    run(test)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer s3cret\r\nX-Injected: 1"},
        {"Authorization": "Bearer s3cret\n"},
        {"Authorization": "s3cret\x00"},
        {"Authorization": "s3cret\u2019"},
        {"X-Key: a\r\nX": "s3cret"},
        {"": "s3cret"},
        {"Host": "s3cret"},
        {"Content-Length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"X-Key": "a", "x-key": "b"},
    ],
)
def test_a_header_that_could_do_more_than_it_says_is_refused(headers: dict[str, str]) -> None:
    async def test() -> None:
        async with redirecting(200, lambda *_: "") as server:
            failure = await failing(client_of(), f"http://a.test:{server.port}/", headers=headers)
            assert failure.kind is FailureKind.REQUEST_MALFORMED
            assert "s3cret" not in str(failure)
            assert server.connections == 0

    run(test)


def test_methods_are_those_of_apis() -> None:
    async def test() -> None:
        for method in ("CONNECT", "TRACE", "GET / HTTP/1.1\r\nx: y\r\n\r\n", ""):
            kind = await kind_of(client_of(), "http://a.test/", method=method)
            assert kind is FailureKind.REQUEST_MALFORMED

    run(test)


def test_failures_quote_nothing_of_a_url_but_its_host() -> None:
    async def test() -> None:
        for url in (
            "https://10.0.0.1/p4th?token=s3cret",
            "https://none.test/p4th?token=s3cret",
            "http://user:s3cret@a.test/p4th",
            "https://a.test:99999/p4th?s3cret",
        ):
            failure = await failing(client_of(), url)
            assert "s3cret" not in str(failure)
            assert "p4th" not in str(failure)

    run(test)


def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, listener: Listener
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for written in (name, name.upper()):
            monkeypatch.setenv(written, f"http://127.0.0.3:{listener.port}")

    async def test() -> None:
        async with redirecting(302, lambda *_: "/there") as server:
            url = f"http://a.test:{server.port}/"
            assert (await client_of().request("GET", url)).status == 200

    run(test)
    assert listener.came() == 0


def test_hosts_on_the_premises_may_be_inside_and_others_may_not() -> None:
    allowed = ("erp.corp.test", "a.lan.test")
    others = ("lan.test", "xerp.corp.test", "evil-lan.test", "erp.corp.test.evil.test")

    async def test() -> None:
        async def fine(conversation: Conversation) -> None:
            await conversation.answer(200)

        names = Names.of(dict.fromkeys((*allowed, *others), (("127.0.0.1",),)))
        policy = OutgoingPolicy(allow_hosts=("ERP.corp.test", "*.lan.test"), https_only=False)
        client = OutgoingClient(policy, resolve=names)
        metadata = Names.of({"meta.lan.test": (("169.254.169.254",),)})
        async with serving(fine) as server:
            for name in (*allowed, "Erp.Corp.Test"):
                url = f"http://{name}:{server.port}/"
                assert (await client.request("GET", url)).status == 200
            for name in (*others, "127.0.0.1"):
                kind = await kind_of(client, f"http://{name}:{server.port}/")
                assert kind is FailureKind.ADDRESS_REFUSED, name
        inside = OutgoingClient(policy, resolve=metadata)
        assert await kind_of(inside, "http://meta.lan.test/") is FailureKind.ADDRESS_REFUSED

    run(test)


def test_the_systems_own_resolver_finds_names_and_says_where_there_are_none(
    authority: Authority,
) -> None:
    async def test() -> None:
        with pytest.raises((OSError, UnicodeError)):
            await SystemResolver()("a" * 70 + ".test")

        async def fine(conversation: Conversation) -> None:
            await conversation.answer(200)

        async with serving(fine, tls=authority.server("localhost")) as server:
            url = f"https://localhost:{server.port}/"
            policy = OutgoingPolicy(allow_hosts=("localhost",), ca_file=str(authority.file))
            assert (await OutgoingClient(policy).request("GET", url, timeout_s=60)).status == 200

    run(test)


def test_lookups_that_hang_are_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    running = 0

    def hanging(*_: object, **__: object) -> list[object]:
        nonlocal running
        running += 1
        release.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def test() -> None:
        resolver = SystemResolver(max_lookups=2)
        monkeypatch.setattr(socket, "getaddrinfo", hanging)
        client = OutgoingClient(OutgoingPolicy(), resolve=resolver)
        kinds = await asyncio.gather(
            *(kind_of(client, f"https://n{n}.test/", timeout_s=0.3) for n in range(6))
        )
        assert set(kinds) == {FailureKind.TIMEOUT}
        assert running == 2
        # The threads end late; then their places are free for others.
        release.set()
        assert await asyncio.wait_for(resolver("late.test"), 30) == ["127.0.0.1"]

    run(test)
