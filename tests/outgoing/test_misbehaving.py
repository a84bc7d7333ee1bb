"""Systems that hang, drip, flood, lie or break off: each ends in time, within bounds, and says why.

Over bare TCP (plain HTTP, which the policy allows here) where TLS would only stand in the way.
"""

from __future__ import annotations

import asyncio
import gzip
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable

import pytest

from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from producer.outgoing.reading import MAX_PARTS
from tests.outgoing.certificates import Authority
from tests.outgoing.servers import Conversation, Names, failing, serving

LIMIT = 100_000
Handler = Callable[[Conversation], Awaitable[None]]


@pytest.fixture(scope="module")
def client() -> OutgoingClient:
    return OutgoingClient(
        OutgoingPolicy(
            allow_networks=("127.0.0.1/32",), https_only=False, max_answer_bytes=LIMIT, timeout_s=60
        ),
        resolve=Names(**{"good.test": (("127.0.0.1",),)}),
    )


def failure_with(
    client: OutgoingClient, handler: Handler, *, timeout_s: float = 60, read: bool = True
) -> OutgoingFailure:
    async def run() -> OutgoingFailure:
        async with serving(handler, read=read) as server:
            return await failing(client, f"http://good.test:{server.port}/", timeout_s=timeout_s)

    return asyncio.run(run())


def answer_with(client: OutgoingClient, handler: Handler, method: str = "GET") -> OutgoingAnswer:
    async def run() -> OutgoingAnswer:
        async with serving(handler) as server:
            return await client.request(method, f"http://good.test:{server.port}/")

    return asyncio.run(run())


async def hang(conversation: Conversation) -> None:
    await asyncio.Event().wait()


async def drip_head(conversation: Conversation) -> None:
    await conversation.send(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        await conversation.send(b"a")
        await asyncio.sleep(0.02)


async def drip_body(conversation: Conversation) -> None:
    await conversation.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await conversation.send(b"a")
        await asyncio.sleep(0.02)


async def drip_interim(conversation: Conversation) -> None:
    while True:
        await conversation.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("handler", [hang, drip_head, drip_body, drip_interim])
def test_one_deadline_bounds_the_whole(client: OutgoingClient, handler: Handler) -> None:
    began = time.monotonic()
    failure = failure_with(client, handler, timeout_s=0.5)
    assert failure.kind is FailureKind.TIMEOUT
    assert "within 0.5 s" in str(failure)
    assert 0.4 < time.monotonic() - began < 10


def test_a_tls_handshake_that_hangs_ends_in_time(authority: Authority) -> None:
    secure = OutgoingClient(
        OutgoingPolicy(allow_networks=("127.0.0.1/32",)),
        resolve=Names(**{"good.test": (("127.0.0.1",),)}),
    )

    async def run() -> None:
        async with serving(hang, read=False) as server:
            failure = await failing(secure, f"https://good.test:{server.port}/", timeout_s=0.5)
            assert failure.kind is FailureKind.TIMEOUT
            assert "encrypted" in str(failure)

    asyncio.run(run())


def test_name_servers_that_hang_end_in_time(client: OutgoingClient) -> None:
    async def never(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def run() -> None:
        waiting = OutgoingClient(OutgoingPolicy(), resolve=never)
        failure = await failing(waiting, "https://good.test/", timeout_s=0.2)
        assert failure.kind is FailureKind.TIMEOUT
        assert "name servers" in str(failure)

    asyncio.run(run())


def test_the_deadline_is_one_for_all_redirects_together(client: OutgoingClient) -> None:
    async def slow_redirect(conversation: Conversation) -> None:
        await asyncio.sleep(0.4)
        await conversation.answer(302, location="/again")

    failure = failure_with(client, slow_redirect, timeout_s=1.0)
    assert failure.kind is FailureKind.TIMEOUT


def flood(head: bytes, piece: bytes, *, sent: list[int]) -> Handler:
    async def flooding(conversation: Conversation) -> None:
        await conversation.send(head)
        for _ in range(2**30 // len(piece)):
            await conversation.send(piece)
            sent.append(len(piece))

    return flooding


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", bytes(65_536)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
         b"10000\r\n" + bytes(65_536) + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1;aa=bb\r\nx\r\n" * 999),
        (b"HTTP/1.1 200 OK\r\n", b"x-endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 999),
        (b"HTTP/1.1 200 OK\r\nx: ", b"a" * 65_536),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 9_999),
    ],
    ids=["until-close", "length", "chunked", "tiny-chunks", "headers", "one-header", "interim",
         "trailers"],
)  # fmt: skip
def test_an_answer_of_a_gigabyte_is_left_after_a_little(
    client: OutgoingClient, head: bytes, piece: bytes
) -> None:
    sent: list[int] = []
    tracemalloc.start()
    try:
        failure = failure_with(client, flood(head, piece, sent=sent))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failure.kind in (FailureKind.TOO_LARGE, FailureKind.NOT_HTTP)
    assert "larger" in str(failure) or failure.kind is FailureKind.NOT_HTTP
    # What the sockets between them hold, and no more.
    assert sum(sent) < 30_000_000
    assert most < 8_000_000


def test_a_body_in_tiny_pieces_leaves_the_event_loop_to_others(client: OutgoingClient) -> None:
    async def tiny(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await conversation.send(b"1\r\nx\r\n" * LIMIT)

    async def run() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with serving(tiny) as server:
            beside = asyncio.create_task(others())
            failure = await failing(client, f"http://good.test:{server.port}/")
            beside.cancel()
        assert failure.kind is FailureKind.TOO_LARGE
        assert turns >= MAX_PARTS // 400

    asyncio.run(run())


def zipped(body: bytes, coding: str = "gzip") -> Handler:
    async def answering(conversation: Conversation) -> None:
        await conversation.answer(200, body, content_encoding=coding)

    return answering


def test_a_gzip_bomb_is_not_inflated(client: OutgoingClient) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        failure = failure_with(client, zipped(bomb))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failure.kind is FailureKind.TOO_LARGE
    assert most < 3_000_000


def test_what_is_compressed_is_inflated_up_to_the_very_limit(client: OutgoingClient) -> None:
    for size in (0, 1, LIMIT - 1, LIMIT):
        plain = bytes(size)
        for coding, body in (("gzip", gzip.compress(plain)), ("X-GZIP", gzip.compress(plain)),
                             ("deflate", zlib.compress(plain)), ("identity", plain)):  # fmt: skip
            assert answer_with(client, zipped(body, coding)).body == plain
    assert failure_with(client, zipped(gzip.compress(bytes(LIMIT + 1)))).kind is (
        FailureKind.TOO_LARGE
    )


def test_a_body_of_the_very_limit_comes_and_one_byte_more_does_not(
    client: OutgoingClient,
) -> None:
    async def chunked(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await conversation.send(b"a\r\n0123456789\r\n" * (LIMIT // 10), b"0\r\n\r\n")

    async def whole(conversation: Conversation) -> None:
        await conversation.answer(200, b"x" * LIMIT)

    async def more(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (LIMIT + 1))

    assert len(answer_with(client, chunked).body) == LIMIT
    assert len(answer_with(client, whole).body) == LIMIT
    assert failure_with(client, more).kind is FailureKind.TOO_LARGE


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"this is not gzip at all"),
        ("gzip", gzip.compress(b"x" * 1000)[:-9]),
        ("gzip", gzip.compress(b"x") + gzip.compress(b"y")),
        ("br", b"x"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x"))),
    ],
)
def test_a_wrong_content_encoding_is_no_answer(
    client: OutgoingClient, coding: str, body: bytes
) -> None:
    assert failure_with(client, zipped(body, coding)).kind is FailureKind.NOT_HTTP


def test_a_head_request_and_a_204_have_no_body_whatever_they_announce(
    client: OutgoingClient,
) -> None:
    async def announces(conversation: Conversation) -> None:
        await conversation.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\ncontent-encoding: gzip\r\n\r\n"
        )

    async def nothing(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n")

    assert answer_with(client, announces, "HEAD").body == b""
    assert answer_with(client, nothing).status == 204


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"<html>hello</html>\n\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_garbage_is_told_at_once_even_if_the_server_waits(
    client: OutgoingClient, garbage: bytes
) -> None:
    async def talk(conversation: Conversation) -> None:
        await conversation.send(garbage)
        await asyncio.Event().wait()

    failure = failure_with(client, talk)
    assert failure.kind is FailureKind.NOT_HTTP
    # A traceback in a log would quote the answer, in which a token may be (P6).
    assert "no colon" not in "".join(traceback.format_exception(failure))


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTT", b"HTTP/1.1 200 OK\r\nx:", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"],
)
@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_breaks_off_is_told(
    client: OutgoingClient, sent: bytes, reset: bool
) -> None:
    async def leave(conversation: Conversation) -> None:
        await conversation.send(sent)
        if reset:
            conversation.reset()

    assert failure_with(client, leave).kind is FailureKind.CONNECTION_BROKEN


@pytest.mark.parametrize("reset", [False, True])
def test_one_that_breaks_off_in_the_handshake_is_told(authority: Authority, reset: bool) -> None:
    async def leave(conversation: Conversation) -> None:
        await conversation.reader.read(1)
        if reset:
            conversation.reset()

    async def run() -> None:
        secure = OutgoingClient(
            OutgoingPolicy(allow_networks=("127.0.0.1/32",), timeout_s=60),
            resolve=Names(**{"good.test": (("127.0.0.1",),)}),
        )
        async with serving(leave, read=False) as server:
            failure = await failing(secure, f"https://good.test:{server.port}/")
            # Which of the two it is hangs on what was written before the end came.
            assert failure.kind in (FailureKind.CONNECTION_BROKEN, FailureKind.TLS)

    asyncio.run(run())


def test_where_nothing_listens_is_told(client: OutgoingClient) -> None:
    async def run() -> None:
        async with serving(hang) as server:
            port = server.port
        failure = await failing(client, f"http://good.test:{port}/")
        assert failure.kind is FailureKind.CONNECTION_REFUSED
        assert "nothing answers" in str(failure)

    asyncio.run(run())


def test_the_next_address_of_a_name_is_tried_where_the_first_does_not_answer() -> None:
    async def fine(conversation: Conversation) -> None:
        await conversation.answer(200, b"fine")

    async def run() -> None:
        async with serving(fine) as server:
            client = OutgoingClient(
                OutgoingPolicy(allow_networks=("127.0.0.0/8",), https_only=False, timeout_s=60),
                resolve=Names(**{"good.test": (("127.0.0.7", "127.0.0.1"),)}),
            )
            assert (await client.request("GET", f"http://good.test:{server.port}/")).status == 200

    asyncio.run(run())
