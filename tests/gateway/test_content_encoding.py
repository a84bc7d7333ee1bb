"""Compressed bodies: signed as they come, inflated within the limit, kept whole where they lie."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.gateway.http.content_encoding import inflated
from producer.providers.provider import Unreadable
from schemas.codec import DEAD_LETTER, EVENT
from tests.gateway.http_socket import HttpSocket, Response, head
from tests.gateway.running import (
    BODY_CANARY,
    Gateway,
    github_body,
    signed_headers,
    sized_body,
    vendor_request,
)
from tests.gateway.test_vendors import body_of
from tests.parts.mock_cluster import MockCluster
from tests.providers.http_request import RepeatableHeaders

LIMIT = 200_000
QUARANTINED = "quarantined: authentic, but the provider's rules cannot read it"
ORDER = json.dumps(
    {"id": "evt_1", "type": "order.paid", "data": {"id": "order-1", "note": BODY_CANARY}}
).encode()
BODIES = {"acme-github": github_body(), "acme-standard": ORDER, "acme-hmac": ORDER}


def raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


def post(gateway: Gateway, connection: str, body: bytes, coding: str) -> Response:
    return gateway.post(
        connection, {**signed_headers(connection, body), "content-encoding": coding}, body
    )


def event(gateway: Gateway, response: Response) -> Any:
    line = gateway.line_of(response, "accepted")
    message = gateway.message(gateway.events_topic, line["partition"], line["offset"])
    return EVENT.decode(message.value())


@pytest.mark.parametrize("connection", BODIES)
@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("GZip", gzip.compress),
     ("deflate", zlib.compress), ("identity", bytes)],
)  # fmt: skip
def test_a_compressed_body_is_in_the_log_as_it_was_before(
    gateway: Gateway, connection: str, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    plain = BODIES[connection]
    response = post(gateway, connection, compress(plain), coding)
    assert response.status == 200
    kept = event(gateway, response)
    assert kept.payload == plain
    assert "content-encoding" not in kept.headers


def test_the_signature_is_over_what_came_and_not_over_what_it_becomes(gateway: Gateway) -> None:
    plain = BODIES["acme-github"]
    headers = {**signed_headers("acme-github", plain), "content-encoding": "gzip"}
    response = gateway.post("acme-github", headers, gzip.compress(plain))
    assert (response.status, response.json()["error"]) == (401, "signature_refused")


def test_a_body_may_become_as_large_as_the_limit_and_no_larger(gateway: Gateway) -> None:
    response = post(gateway, "acme-github", gzip.compress(sized_body(LIMIT)), "gzip")
    assert response.status == 200
    assert len(event(gateway, response).payload) == LIMIT
    response = post(gateway, "acme-github", gzip.compress(sized_body(LIMIT + 1)), "gzip")
    assert gateway.line_of(response, QUARANTINED)["reason"] == "inflated_too_large"


GZIPPED = gzip.compress(ORDER)
WRONG = {
    "a bomb": (gzip.compress(bytes(150_000_000)), "gzip", "inflated_too_large"),
    "a zlib bomb": (zlib.compress(bytes(150_000_000)), "deflate", "inflated_too_large"),
    "truncated": (GZIPPED[:-1], "gzip", "encoding_truncated"),
    "truncated in its head": (GZIPPED[:5], "gzip", "encoding_truncated"),
    "nothing": (b"", "gzip", "encoding_truncated"),
    "a wrong sum": (GZIPPED[:-8] + bytes(8), "gzip", "encoding_broken"),
    "not compressed": (ORDER, "gzip", "encoding_broken"),
    "raw deflate": (raw_deflate(ORDER), "deflate", "encoding_broken"),
    "more behind": (GZIPPED + b"canary", "gzip", "encoding_trailing"),
    "a second member": (GZIPPED * 2, "gzip", "encoding_trailing"),
    "10,000 empty members": (gzip.compress(b"") * 9_000, "gzip", "encoding_trailing"),
    "twice": (gzip.compress(GZIPPED), "gzip, gzip", "encoding_unknown"),
    "unknown": (GZIPPED, "br", "encoding_unknown"),
    "canary": (GZIPPED, "canary", "encoding_unknown"),
    "gzip of no JSON": (gzip.compress(b"canary"), "gzip", "body_not_json"),
}


@pytest.mark.parametrize("connection", ["acme-github", "acme-standard"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_signed_and_cannot_be_inflated_is_quarantined_and_answered_200(
    gateway: Gateway, connection: str, case: str
) -> None:
    body, coding, reason = WRONG[case]
    before = gateway.metric("hookline_quarantined_total", connection=connection, reason=reason)
    response = post(gateway, connection, body, coding)
    assert response.status == 200
    line = gateway.line_of(response, QUARANTINED)
    assert line["reason"] == reason
    assert "canary" not in line["detail"]
    message = gateway.message(gateway.quarantine_topic, line["partition"], line["offset"])
    letter = DEAD_LETTER.decode(message.value())
    # As it came, so that a person has all of it; inflated only if that was possible.
    assert letter.value == (b"canary" if case == "gzip of no JSON" else body)
    after = gateway.metric("hookline_quarantined_total", connection=connection, reason=reason)
    assert after == before + 1


@pytest.mark.parametrize("provider", ["microsoft_graph", "twilio"])
def test_where_the_proof_is_inside_the_body_a_compressed_one_is_401(
    gateway: Gateway, provider: str
) -> None:
    path, data = vendor_request(provider, body_of(provider))
    lines, _, body = data.partition(b"\r\n\r\n")
    headers = [line.split(b": ", 1) for line in lines.split(b"\r\n")[2:]]
    kept = {name.decode(): value.decode() for name, value in headers}
    packed = gzip.compress(body)
    more = {"content-encoding": "gzip", "content-length": str(len(packed))}
    assert gateway.exchange(head(path, {**kept, **more}) + packed).status == 401


def test_two_headers_are_several_codings(gateway: Gateway) -> None:
    headers = [
        *signed_headers("acme-github", GZIPPED).items(),
        *[("content-encoding", "gzip")] * 2,
        ("content-length", str(len(GZIPPED))),
    ]
    response = gateway.exchange(head("/webhooks/acme-github", headers) + GZIPPED)
    assert gateway.line_of(response, QUARANTINED)["reason"] == "encoding_unknown"


@pytest.fixture(scope="module")
def small(cluster: MockCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Room for five inflated bodies, and a second until an event is safe."""
    settings = {"gateway": {"max_reading_bytes": 1_048_576}, "publish": {"linger_ms": 1000}}
    with Gateway(cluster.bootstrap_servers, tmp_path_factory.mktemp("small"), settings) as running:
        yield running
        assert "Traceback" not in running.log()


def test_a_bomb_takes_no_memory_and_a_forged_one_is_not_looked_into(small: Gateway) -> None:
    bomb = WRONG["a bomb"][0]
    signed = {**signed_headers("acme-github", bomb), "content-encoding": "gzip"}
    forged = {**signed_headers("acme-github", b"another"), "content-encoding": "gzip"}
    before_bytes = small.peak_memory_bytes()
    assert small.post("acme-github", forged, bomb).status == 401
    assert small.post("acme-github", signed, bomb).status == 200
    # It would be 150 MB.
    assert small.peak_memory_bytes() - before_bytes < 10_000_000


def test_what_bodies_become_counts_as_memory_until_they_are_answered(small: Gateway) -> None:
    body = gzip.compress(sized_body(LIMIT - 1_000))
    headers = {
        **signed_headers("acme-github", body),
        "content-encoding": "gzip",
        "content-length": str(len(body)),
    }
    request = head("/webhooks/acme-github", headers) + body
    for _ in range(3):
        with HttpSocket(small.port) as sender:
            sender.send(request * 8)
            answers = [sender.response() for _ in range(8)]
        assert [answer.status for answer in answers] == [200] * 5 + [503] * 3
        assert {answer.json()["error"] for answer in answers[5:]} == {"overloaded"}


def of(coding: str) -> RepeatableHeaders:
    return RepeatableHeaders([("content-encoding", coding)])


@given(st.binary(max_size=3_000), st.integers(0, 9), st.integers(0, 3_000))
def test_inflating_gives_back_all_or_a_reason(body: bytes, level: int, limit: int) -> None:
    for coding, packed in (
        ("gzip", gzip.compress(body, level)), ("deflate", zlib.compress(body, level))
    ):  # fmt: skip
        found = inflated(of(coding), packed, limit)
        if len(body) <= limit:
            assert found == body
        else:
            assert isinstance(found, Unreadable)
            assert found.reason == "inflated_too_large"


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda body, at, byte: gzip.compress(body)[:at] + byte + gzip.compress(body)[at + 1 :],
            st.binary(max_size=200),
            st.integers(0, 220),
            st.binary(max_size=2),
        ),
    ),
    st.sampled_from(["gzip", "deflate", "x-gzip", " GZIP ", "identity", "", ",", "br"]),
)
def test_whatever_comes_is_a_body_within_the_limit_or_a_reason(body: bytes, coding: str) -> None:
    found = inflated(of(coding), body, 150)
    if isinstance(found, Unreadable):
        assert found.reason.startswith(("encoding_", "inflated_"))
    else:
        assert len(found) <= 150 or found is body


def test_of_a_bomb_no_more_than_the_limit_is_made() -> None:
    bomb = WRONG["a bomb"][0]
    tracemalloc.start()
    try:
        found = inflated(of("gzip"), bomb, 1_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found, Unreadable)
    assert peak_bytes < 3_000_000
