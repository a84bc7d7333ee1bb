"""What RFC 9112 and RFC 9110 ask of a server where requests are ambiguous, old, odd or many.

Where the two sides of an ambiguity could see different requests, there is one answer at most, and
the connection is closed: what is hidden behind it is never answered.
"""

from __future__ import annotations

import contextlib
import re

import pytest

from tests.gateway.http_socket import HttpSocket, chunked, head
from tests.gateway.running import Gateway, github_body, github_headers

PATH = "/webhooks/acme-github"
HIDDEN = b"GET /livez HTTP/1.1\r\nhost: hidden.test\r\n\r\n"


@pytest.fixture(autouse=True)
def still_well(gateway: Gateway) -> object:
    yield
    body = github_body()
    assert gateway.post("acme-github", github_headers(body), body).status == 200


def statuses(gateway: Gateway, *parts: bytes) -> list[int]:
    """The status of every answer on one connection until the server closes it."""
    with HttpSocket(gateway.port) as connection:
        for part in parts:
            connection.send(part)
        answers = connection.rest()
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answers)]


def signed(body: bytes, *more: tuple[str, str | bytes], path: str = PATH) -> bytes:
    """A webhook's head without any length, which `more` gives."""
    return head(path, [*github_headers(body).items(), *more])


def whole(body: bytes, *more: tuple[str, str | bytes], path: str = PATH) -> bytes:
    """A webhook with its length."""
    return signed(body, ("content-length", str(len(body))), *more, path=path) + body


#: Heads whose end of the message nobody can tell, or two servers would tell differently.
AMBIGUOUS: dict[str, list[tuple[str, str | bytes]]] = {
    # RFC 9112 section 6.3: chunked is not the final coding, so the length cannot be told.
    "a coding that is not chunked": [("transfer-encoding", "gzip")],
    "chunked is not the last coding": [("transfer-encoding", "chunked, gzip")],
    "chunked is not the last header": [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
    ],
    "identity": [("transfer-encoding", "identity"), ("content-length", "4")],
    "a word that ends in chunked": [("transfer-encoding", "xchunked"), ("content-length", "4")],
    "chunked behind a control character": [
        ("transfer-encoding", b"\x0bchunked"),
        ("content-length", "4"),
    ],
    "no coding": [("transfer-encoding", ""), ("content-length", "4")],
    # Section 6.1: chunked must not be applied twice.
    "chunked twice": [("transfer-encoding", "chunked, chunked")],
    # Section 5.1: no space between a field's name and its colon.
    "a space before the colon": [("transfer-encoding ", "chunked"), ("content-length", "4")],
    "a tab before the colon": [("content-length\t", "4")],
    # Section 5.2: a folded line is refused, or replaced by spaces.
    "a folded coding": [("transfer-encoding", b"\r\n chunked"), ("content-length", "4")],
    # RFC 9110 section 8.6: one number of digits.
    "two lengths": [("content-length", "4"), ("content-length", "46")],
    "two lengths in one": [("content-length", "4, 46")],
    "a length with a sign": [("content-length", "+4")],
    "a length in hex": [("content-length", "0x4")],
    "a length of two words": [("content-length", "4 6")],
    "an empty length": [("content-length", "")],
    "a length of other digits": [("content-length", "٤".encode())],
    "a length beyond 64 bits": [("content-length", str(2**64 + 4))],
    "a header without a colon": [("x-a: b\r\ntransfer-encoding chunked\r\nx-b", "c")],
    "a bare CR in a header": [("x-a", b"b\rtransfer-encoding: chunked")],
    "a NUL in a header": [("x-a", b"b\0c")],
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_head_that_says_no_certain_length_is_refused_and_closed(
    gateway: Gateway, headers: list[tuple[str, str | bytes]]
) -> None:
    found = statuses(gateway, signed(b"0\r\n\r\n", *headers), b"0\r\n\r\n" + HIDDEN)
    assert len(found) <= 1
    assert set(found) <= {400, 413, 431, 501}


@pytest.mark.parametrize(
    "chunks",
    [
        b"-1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b"+1\r\nx\r\n0\r\n\r\n",
        b"1_0\r\nx\r\n0\r\n\r\n",
        b"\r\nx\r\n0\r\n\r\n",
        b"10000000000000001\r\nx\r\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nxyz0\r\n\r\n",
        b"0\r\n" + b"x-trailer: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=[
        *("negative", "0x", "a sign", "an underscore", "no size", "over 64 bits"),
        *("more than its size", "no end of line", "280 kB of trailers"),
    ],
)
def test_a_chunk_that_is_none_is_refused_and_closed(gateway: Gateway, chunks: bytes) -> None:
    found = statuses(gateway, signed(b"x", ("transfer-encoding", "chunked")), chunks, HIDDEN)
    assert len(found) <= 1
    assert set(found) <= {400, 413, 431}


def test_a_length_beside_chunks_hides_no_second_request(gateway: Gateway) -> None:
    # Section 6.1: refused, or read as chunks; and in both cases closed.
    smuggled = b"0\r\n\r\n" + HIDDEN
    for lengths in (
        [("content-length", str(len(smuggled))), ("transfer-encoding", "chunked")],
        [("transfer-encoding", "chunked"), ("content-length", "5")],
        [("transfer-encoding", "CHUNKED"), ("content-length", "0")],
    ):
        found = statuses(gateway, head(PATH, lengths) + smuggled)
        assert found in ([400], [401])


def test_chunks_in_http_1_0_are_faulty_and_closed(gateway: Gateway) -> None:
    # Section 6.1: "MUST treat the message as if the framing is faulty, even if a Content-Length is
    # present, and close the connection after processing the message".
    body = github_body()
    data = signed(body, ("transfer-encoding", "chunked"), ("connection", "keep-alive"))
    old = data.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + chunked(body)
    found = statuses(gateway, old, HIDDEN)
    assert found in ([400], [200], [411], [501])


def test_extensions_and_trailers_of_chunks_change_nothing(gateway: Gateway) -> None:
    body = github_body()
    half = len(body) // 2
    data = b'%x;name=value;quoted="a;b"\r\n%b\r\n' % (half, body[:half])
    data += b"%x\r\n%b\r\n" % (len(body) - half, body[half:])
    # A trailer must not become a header: this signature would be a second one.
    data += b"0\r\nx-hub-signature-256: sha256=00\r\n\r\n"
    with HttpSocket(gateway.port) as connection:
        connection.send(signed(body, ("transfer-encoding", "chunked")) + data + HIDDEN)
        assert [connection.response().status for _ in range(2)] == [200, 200]


def test_an_extension_without_end_is_cut_off_and_not_kept(gateway: Gateway) -> None:
    # Section 7.1.1: a server ought to limit their length.
    before_bytes = gateway.peak_memory_bytes()
    with HttpSocket(gateway.port) as connection:
        connection.send(head(PATH, {"transfer-encoding": "chunked"}) + b"1;")
        for _ in range(320):
            connection.send(b"e" * 65_536)
        assert re.match(rb"HTTP/1\.1 4\d\d |$", connection.rest())
    assert gateway.peak_memory_bytes() - before_bytes < 10_000_000


def test_http_1_0_is_answered_and_closed(gateway: Gateway) -> None:
    body = github_body()
    old = whole(body).replace(b"HTTP/1.1", b"HTTP/1.0", 1).replace(b"host: hookline.test\r\n", b"")
    assert b"host" not in old
    assert statuses(gateway, old, HIDDEN) == [200]
    assert statuses(gateway, b"GET /livez HTTP/1.0\r\n\r\n", HIDDEN) == [200]


@pytest.mark.parametrize("field", ["close", "Close", "x, close"])
def test_a_sender_that_asks_for_it_is_closed_after_its_answer(gateway: Gateway, field: str) -> None:
    body = github_body()
    assert statuses(gateway, whole(body, ("connection", field)) + HIDDEN) == [200]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/2.0\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET /livez http/1.1\r\nhost: x\r\n\r\n",
        b"GET /li vez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"G\0T /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test\r\n\r\n",
    ],
    ids=[
        *("HTTP/0.9", "HTTP/2.0", "the preface of HTTP/2", "HTTP/9.9", "small letters"),
        *("a space in the path", "a NUL", "CONNECT"),
    ],
)
def test_a_first_line_of_another_protocol_is_refused(gateway: Gateway, data: bytes) -> None:
    found = statuses(gateway, data)
    assert len(found) <= 1
    assert set(found) <= {400, 404, 405, 501, 505}


# Section 3.2: "A server MUST respond with a 400 status code to any HTTP/1.1 request message that
# lacks a Host header field and to any that contains more than one".
@pytest.mark.parametrize("hosts", [b"", b"host: a.test\r\nhost: b.test\r\n"], ids=["none", "two"])
def test_http_1_1_needs_one_host(gateway: Gateway, hosts: bytes) -> None:
    body = github_body()
    data = whole(body).replace(b"host: hookline.test\r\n", hosts, 1)
    with HttpSocket(gateway.port) as connection:
        connection.send(data)
        assert connection.response().status == 400


def test_a_whole_address_in_the_first_line_is_its_path(gateway: Gateway) -> None:
    # Section 3.2.2: "a server MUST accept the absolute-form in requests".
    body = github_body()
    data = whole(body, path=f"http://elsewhere.test{PATH}?a=b")
    assert gateway.exchange(data).status == 200
    assert gateway.exchange(whole(body, path="http://elsewhere.test")).status == 404


def test_an_empty_line_before_a_request_is_ignored(gateway: Gateway) -> None:
    # Section 2.2: "SHOULD ignore at least one empty line (CRLF) received prior to the
    # request-line".
    assert gateway.exchange(b"\r\n" + whole(github_body())).status == 200


def test_a_sender_that_waits_for_100_continue_gets_it(gateway: Gateway) -> None:
    # RFC 9110 section 10.1.1.
    body = github_body()
    with HttpSocket(gateway.port) as connection:
        length = ("content-length", str(len(body)))
        connection.send(signed(body, length, ("expect", "100-continue")))
        assert connection.response().status == 100
        connection.send(body)
        assert connection.response().status == 200
    with HttpSocket(gateway.port) as connection:
        too_long = ("content-length", "200001")
        connection.send(signed(body, too_long, ("expect", "100-continue")))
        assert connection.response().status == 413


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/no-such-path", PATH])
def test_the_answer_to_head_has_no_body(gateway: Gateway, path: str) -> None:
    with HttpSocket(gateway.port) as connection:
        last = head("/livez", {"connection": "close"}, "GET")
        connection.send(head(path, {}, "HEAD") + last)
        first, _, second = connection.rest().partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 ")
    # A body would stand where the next answer must begin.
    assert second.startswith(b"HTTP/1.1 200 ")


def test_what_is_sent_at_once_is_answered_in_order(gateway: Gateway) -> None:
    # Section 9.3.2.
    body, forged = github_body(), github_body(action="closed")
    bad = head(PATH, {**github_headers(body), "content-length": str(len(forged))}) + forged
    in_chunks = signed(body, ("transfer-encoding", "chunked")) + chunked(body, 100)
    one_of_each = [
        *((whole(body), 200), (bad, 401), (head("/livez", {}, "GET"), 200)),
        *((in_chunks, 200), (whole(body, path="/webhooks/nobody"), 404)),
        *((head(PATH, {}, "GET"), 405), (head("/metrics", {}, "GET"), 200)),
    ]
    many = one_of_each * 5
    ids = []
    with HttpSocket(gateway.port) as connection:
        connection.send(b"".join(data for data, _ in many))
        for _, status in many:
            response = connection.response()
            assert response.status == status
            ids.append(response.headers.get("x-request-id"))
    given = [one for one in ids if one is not None]
    assert len(set(given)) == len(given) == 5 * 5


def test_requests_that_come_byte_by_byte_are_answered_in_order(gateway: Gateway) -> None:
    body = github_body()
    data = whole(body) + HIDDEN
    with HttpSocket(gateway.port) as connection:
        for at in range(len(data)):
            connection.send(data[at : at + 1])
        assert [connection.response().status for _ in range(2)] == [200, 200]


def test_a_refusal_that_closes_answers_nothing_behind_it(gateway: Gateway) -> None:
    too_large = head(PATH, {"content-length": "200001"}) + bytes(200_001)
    found = statuses(gateway, whole(github_body()) + too_large + HIDDEN)
    # What was not read may reset the connection before the last answer is read.
    assert found in ([200, 413], [200])


def test_answers_that_nobody_reads_are_not_piled_up(gateway: Gateway) -> None:
    before_bytes = gateway.peak_memory_bytes()
    part = head("/metrics", {}, "GET") * 1_000
    sent_bytes = 0
    with HttpSocket(gateway.port, timeout_s=1.0) as connection, contextlib.suppress(TimeoutError):
        # Each answer has some 10 kB: 400 MB in all, would they be made.
        for _ in range(40):
            connection.send(part)
            sent_bytes += len(part)
    assert gateway.peak_memory_bytes() - before_bytes < 32_000_000, sent_bytes
