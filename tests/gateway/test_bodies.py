"""Bodies and headers that are too much, too slow or broken off; the gateway goes on after each."""

from __future__ import annotations

import contextlib
import time

import pytest

from schemas.codec import EVENT
from tests.gateway.http_socket import Closed, HttpSocket, chunked, head
from tests.gateway.running import Gateway, github_body, github_headers, sized_body

LIMIT = 200_000


@pytest.fixture(autouse=True)
def still_well(gateway: Gateway) -> object:
    yield
    body = github_body()
    assert gateway.post("acme-github", github_headers(body), body).status == 200


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_a_body_up_to_the_limit_is_accepted(gateway: Gateway, size: int) -> None:
    body = sized_body(size)
    assert gateway.post("acme-github", github_headers(body), body).status == 200
    headers = {**github_headers(body), "transfer-encoding": "chunked"}
    response = gateway.exchange(head("/webhooks/acme-github", headers) + chunked(body))
    assert response.status == 200


def test_one_byte_more_is_413(gateway: Gateway) -> None:
    body = sized_body(LIMIT + 1)
    response = gateway.post("acme-github", github_headers(body), body)
    assert (response.status, response.json()["error"]) == (413, "body_too_large")
    assert response.headers["connection"] == "close"
    assert gateway.line_of(response, "refused")["connection"] == "acme-github"


def test_one_byte_more_in_chunks_is_413(gateway: Gateway) -> None:
    body = sized_body(LIMIT + 1)
    headers = {**github_headers(body), "transfer-encoding": "chunked"}
    response = gateway.exchange(head("/webhooks/acme-github", headers) + chunked(body))
    assert response.status == 413


def test_a_declared_giant_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    for length in ("1000000000000", "9" * 18):
        response = gateway.exchange(head("/webhooks/acme-github", {"content-length": length}))
        assert response.status == 413


def test_endless_chunks_are_cut_off(gateway: Gateway) -> None:
    with HttpSocket(gateway.port) as connection:
        connection.send(head("/webhooks/acme-github", {"transfer-encoding": "chunked"}))
        part = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        for _ in range(200):
            connection.send(part)
        # What was sent beyond the limit may reset the connection before the answer is read.
        with contextlib.suppress(Closed):
            assert connection.response().status == 413


@pytest.mark.parametrize("connection", ["acme-github", "never-heard-of"])
@pytest.mark.parametrize(
    "length", [{"transfer-encoding": "chunked"}, {"content-length": "199999"}], ids=str
)
def test_a_flood_of_bytes_is_not_kept(
    gateway: Gateway, connection: str, length: dict[str, str]
) -> None:
    before_bytes = gateway.peak_memory_bytes()
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(4):
        with HttpSocket(gateway.port) as sender:
            sender.send(head(f"/webhooks/{connection}", length))
            for _ in range(200):
                sender.send(part)
    # 52 MB were sent, at most four times the limit is held.
    assert gateway.peak_memory_bytes() - before_bytes < 10_000_000


@pytest.mark.parametrize("length", [{"content-length": "500"}, {"content-length": "100000"},
                                    {"transfer-encoding": "chunked"}])  # fmt: skip
def test_a_body_that_does_not_come_is_408(gateway: Gateway, length: dict[str, str]) -> None:
    began_s = time.monotonic()
    response = gateway.exchange(head("/webhooks/acme-github", length))
    assert response.status == 408
    assert response.json()["error"] == "body_too_slow"
    assert response.headers["connection"] == "close"
    assert 0.5 < time.monotonic() - began_s < 5


def test_a_body_that_drips_is_408(gateway: Gateway) -> None:
    with HttpSocket(gateway.port) as connection:
        connection.send(head("/webhooks/acme-github", {"content-length": "1000"}))
        for _ in range(12):
            connection.send(b"x")
            time.sleep(0.1)
        assert connection.response().status == 408


def test_slow_headers_are_closed(gateway: Gateway) -> None:
    with HttpSocket(gateway.port) as connection:
        connection.send(b"POST /webhooks/acme-github HTTP/1.1\r\nhost: x\r\nx-a: ")
        assert 0.3 < connection.closed_after_s() < 5


def test_a_connection_that_says_nothing_is_closed(gateway: Gateway) -> None:
    with HttpSocket(gateway.port) as connection:
        assert connection.closed_after_s() < 5


def test_a_sender_that_goes_away_is_no_fault_of_ours(gateway: Gateway) -> None:
    for length in ({"content-length": "1000"}, {"transfer-encoding": "chunked"}):
        with HttpSocket(gateway.port) as connection:
            connection.send(head("/webhooks/acme-github", length) + b"5\r\nhello\r\n")
    body = github_body()
    headers = {**github_headers(body), "content-length": str(len(body))}
    for _ in range(5):
        with HttpSocket(gateway.port) as connection:
            connection.send(head("/webhooks/acme-github", headers) + body)


@pytest.mark.parametrize(
    "data",
    [
        b"canary of nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        head("/webhooks/acme-github", {"content-length": "-5"}),
        head("/webhooks/acme-github", {"content-length": "five"}),
        head("/webhooks/acme-github", {"content-length": "9" * 40}),
        head("/webhooks/acme-github", [("content-length", "5"), ("content-length", "6")])
        + b"hello!",
        head("/webhooks/acme-github", {"transfer-encoding": "chunked"})
        + b"zz\r\nhello\r\n0\r\n\r\n",
        head("/webhooks/acme-github", {"x-a": "canary" * 100_000}),
        head("/webhooks/acme-github", [(f"x-{n}", "canary") for n in range(500)]),
    ],
    ids=[
        *("nonsense", "TLS", "negative length", "length in words", "giant length"),
        *("two lengths", "bad chunk", "600 kB header", "500 headers"),
    ],
)
def test_malformed_http_is_4xx_or_closed(gateway: Gateway, data: bytes) -> None:
    with contextlib.suppress(Closed):
        assert 400 <= gateway.exchange(data).status < 500


def test_a_length_and_chunks_together_are_refused_and_the_connection_closed(
    gateway: Gateway,
) -> None:
    # RFC 9112, 6.1: it may be an attempt to smuggle a request past a proxy.
    body = github_body()
    headers = {**github_headers(body), "transfer-encoding": "chunked", "content-length": "3"}
    with HttpSocket(gateway.port) as connection:
        connection.send(head("/webhooks/acme-github", headers) + chunked(body))
        assert connection.response().status == 400
        # A second request hidden behind the ambiguity gets no answer on this connection.
        connection.send(head("/livez", {}, "GET"))
        with pytest.raises(Closed):
            connection.response()


def test_one_connection_carries_many_requests(gateway: Gateway) -> None:
    body = github_body()
    with HttpSocket(gateway.port) as connection:
        for _ in range(20):
            headers = {**github_headers(body), "content-length": str(len(body))}
            connection.send(head("/webhooks/acme-github", headers) + body)
            assert connection.response().status == 200


def test_a_body_in_crumbs_is_refused_and_one_in_small_pieces_is_not(gateway: Gateway) -> None:
    body = sized_body(LIMIT)
    headers = {**github_headers(body), "transfer-encoding": "chunked"}
    response = gateway.exchange(head("/webhooks/acme-github", headers) + chunked(body, 64))
    assert response.status == 200
    before_bytes = gateway.peak_memory_bytes()
    # Each piece would be an object of 35 bytes.
    for _ in range(5):
        with HttpSocket(gateway.port) as sender:
            sender.send(head("/webhooks/acme-github", headers) + chunked(body, 2))
            with contextlib.suppress(Closed):
                assert sender.response().status == 400
    assert gateway.peak_memory_bytes() - before_bytes < 4_000_000


def test_a_sender_that_reads_no_answers_is_not_read_from_for_ever(gateway: Gateway) -> None:
    with HttpSocket(gateway.port) as sender:
        sender._socket.settimeout(5.0)
        before_bytes = gateway.peak_memory_bytes()
        request = head("/livez", {}, "GET") * 200
        until_s = time.monotonic() + 30
        cut_off = False
        while not cut_off and time.monotonic() < until_s:
            try:
                sender._socket.sendall(request)
            except (TimeoutError, ConnectionError):
                cut_off = True
        assert cut_off
    assert gateway.peak_memory_bytes() - before_bytes < 4_000_000


def test_many_requests_at_once_are_answered_in_their_order(gateway: Gateway) -> None:
    body = github_body()
    requests = b""
    for number in range(100):
        if number % 3 == 0:
            requests += head("/livez", {}, "GET")
            continue
        signed = github_headers(body) if number % 3 == 1 else {}
        headers = {**signed, "content-length": str(len(body))}
        requests += head("/webhooks/acme-github", headers) + body
    with HttpSocket(gateway.port) as sender:
        sender.send(requests)
        statuses = [sender.response().status for _ in range(100)]
    assert statuses == [200 if number % 3 < 2 else 401 for number in range(100)]


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "head first"])
def test_an_upgrade_that_nobody_asked_for_costs_no_body(
    gateway: Gateway, chunks: bool, apart: bool
) -> None:
    # Java's HttpClient sends it with every request over plain HTTP.
    body = github_body()
    framing = {"transfer-encoding": "chunked"} if chunks else {"content-length": str(len(body))}
    java = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2-settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    }
    first = head("/webhooks/acme-github", {**github_headers(body), **framing, **java})
    rest = chunked(body) if chunks else body
    with HttpSocket(gateway.port) as sender:
        if apart:
            sender.send(first)
            time.sleep(0.05)
            sender.send(rest)
        else:
            sender.send(first + rest)
        response = sender.response()
    assert response.status == 200
    assert response.headers["connection"] == "close"
    line = gateway.line_of(response, "accepted")
    message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
    assert EVENT.decode(message.value()).payload == body


def test_trailers_without_end_are_cut_off(gateway: Gateway) -> None:
    body = github_body()
    headers = {**github_headers(body), "transfer-encoding": "chunked"}
    data = chunked(body).removesuffix(b"\r\n") + b"x-trailer: "
    before_bytes = gateway.peak_memory_bytes()
    with HttpSocket(gateway.port) as sender:
        sender.send(head("/webhooks/acme-github", headers) + data)
        for _ in range(100):
            sender.send(b"x" * 65_536)
        with contextlib.suppress(Closed):
            assert sender.response().status == 400
    assert gateway.peak_memory_bytes() - before_bytes < 4_000_000


def test_a_slow_head_behind_a_request_costs_that_one_no_answer(gateway: Gateway) -> None:
    body = github_body()
    headers = {**github_headers(body), "content-length": str(len(body))}
    with HttpSocket(gateway.port) as sender:
        sender.send(head("/webhooks/acme-github", headers) + body + b"POST /webh")
        assert sender.response().status == 200
        assert sender.closed_after_s() < 5


def test_chunks_in_http_1_0_are_refused_however_they_are_written(gateway: Gateway) -> None:
    body = github_body()
    headers = [*github_headers(body).items(), ("transfer-encoding", b"\xff, chunked")]
    data = head("/webhooks/acme-github", headers).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert gateway.exchange(data + chunked(body)).status == 400
