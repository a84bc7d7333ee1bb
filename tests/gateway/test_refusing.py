"""What is not believed or not allowed: the right 4xx, the same for all that must look the same."""

from __future__ import annotations

import json
import time

import pytest

from tests.gateway.http_socket import Response, exchange, get, head
from tests.gateway.running import (
    BODY_CANARY,
    HEADER_CANARY,
    Gateway,
    github_body,
    github_headers,
    signed_headers,
)

ORDER = json.dumps({"id": "e", "type": "order.paid", "data": {"id": BODY_CANARY}}).encode()
SCHEMES = {
    "acme-github": "x-hub-signature-256",
    "acme-standard": "webhook-signature",
    "acme-hmac": "x-signature",
    "acme-base64": "x-signature",
}
#: For every scheme.
MALFORMED = {
    "no comma, no prefix": "canary-of-a-header",
    "not ASCII, as Latin-1": "v1,ünïcödé-canary",
    "not ASCII, as UTF-8": "v1,ünïcödé-canary".encode(),
    "empty": "",
    "only a space": " ",
    "100 kB long": "v1,canary" + "ab" * 50_000,
    "NUL-like text": "sha256=%00%00",
}
MALFORMED_IN = {
    "acme-github": {
        "no equals sign": "sha256canary-of-a-header",
        "only the prefix": "sha256=",
        "bad hex": "sha256=" + "zz" * 32,
        "too short": "sha256=abcd",
        "too long": "sha256=" + "ab" * 33,
        "100 kB long": "sha256=" + "ab" * 50_000,
        "another algorithm": "sha1=" + "ab" * 20,
        "not ASCII digits": b"sha256=" + "\uff11\uff12".encode() * 16,
    },
    "acme-standard": {
        "no comma": "v1canary-of-a-header",
        "only the version": "v1,",
        "bad base64": "v1,canary-of-a-header!!",
        "bad base64 of the right length": "v1," + "!" * 43 + "=",
        "bad base64 of an asymmetric one": "v1a," + "!" * 86 + "==",
        "too short": "v1,YWJj",
        "100 kB long": "v1," + "YWJj" * 25_000,
        "50,000 entries": "v1, " * 25_000,
        "an unknown version": "v9,YWJj",
    },
    "acme-hmac": {
        "bad hex": "zz" * 32,
        "odd hex": "a" * 63,
        "too short": "abcd",
        "too long": "ab" * 33,
        "100 kB long": "ab" * 50_000,
    },
    "acme-base64": {
        "no prefix": "YWJj" * 21,
        "only the prefix": "v0=",
        "bad base64": "v0=" + "!" * 86 + "==",
        "a stray character": "v0=" + "YWJj" * 10 + "!" + "YWJj" * 11 + "YQ==",
        "base64url": "v0=" + "_-" * 43 + "==",
        "too short": "v0=YWJj",
        "100 kB long": "v0=" + "YWJj" * 25_000,
    },
}
FORMS = [
    pytest.param(connection, text, id=f"{connection}-{form}")
    for connection in SCHEMES
    for form, text in {**MALFORMED, **MALFORMED_IN[connection]}.items()
]


def post(gateway: Gateway, connection: str, headers: dict[str, str | bytes]) -> Response:
    """POST the order with these headers, of which some are no text."""
    pairs = [*headers.items(), ("content-length", str(len(ORDER)))]
    return gateway.exchange(head(f"/webhooks/{connection}", pairs) + ORDER)


@pytest.mark.parametrize(("connection", "text"), FORMS)
def test_a_malformed_signature_is_401_and_told_as_such(
    gateway: Gateway, connection: str, text: str | bytes
) -> None:
    headers = {**signed_headers(connection, ORDER), SCHEMES[connection]: text}
    response = post(gateway, connection, headers)
    assert response.status == 401
    # A header that is not ASCII does not get past the HTTP server, which drops it.
    code = "signature_missing" if not text.isascii() else "signature_malformed"
    assert response.json()["error"] == code
    assert response.json()["request_id"] == response.headers["x-request-id"]
    line = gateway.line_of(response, "refused")
    assert (line["status"], line["connection"]) == (401, connection)


@pytest.mark.parametrize("connection", SCHEMES)
def test_a_forged_signature_is_refused(gateway: Gateway, connection: str) -> None:
    headers = signed_headers(connection, ORDER)
    response = gateway.post(connection, headers, ORDER.replace(b"paid", b"free"))
    assert response.status == 401
    assert response.json()["error"] == "signature_refused"
    assert BODY_CANARY.encode() not in response.body


@pytest.mark.parametrize("connection", SCHEMES)
def test_a_missing_signature_is_401(gateway: Gateway, connection: str) -> None:
    headers = signed_headers(connection, ORDER)
    del headers[SCHEMES[connection]]
    response = gateway.post(connection, headers, ORDER)
    assert (response.status, response.json()["error"]) == (401, "signature_missing")


@pytest.mark.parametrize("connection", SCHEMES)
@pytest.mark.parametrize("right_first", [True, False])
def test_a_repeated_signature_header_is_401(
    gateway: Gateway, connection: str, right_first: bool
) -> None:
    headers = list(signed_headers(connection, ORDER).items())
    other = (SCHEMES[connection], HEADER_CANARY)
    headers = [*headers, other] if right_first else [other, *headers]
    headers.append(("content-length", str(len(ORDER))))
    response = gateway.exchange(head(f"/webhooks/{connection}", headers) + ORDER)
    assert response.status == 401


@pytest.mark.parametrize(
    ("timestamp", "code"),
    [
        ("not a number", "timestamp_malformed"),
        ("١٧٦٤", "timestamp_malformed"),
        ("1e9", "timestamp_malformed"),
        ("9" * 5_000, "timestamp_malformed"),
        ("-1", "timestamp_malformed"),
        ("1000000000", "timestamp_outside_window"),
        ("99999999999", "timestamp_outside_window"),
    ],
    ids=["words", "other digits", "exponent", "5000 digits", "negative", "2001", "5138"],
)
@pytest.mark.parametrize(
    ("connection", "name"),
    [("acme-standard", "webhook-timestamp"), ("acme-hmac", "x-timestamp")],
)
def test_a_bad_timestamp_is_401(
    gateway: Gateway, connection: str, name: str, timestamp: str, code: str
) -> None:
    headers = list((signed_headers(connection, ORDER) | {name: ""}).items())
    headers = [(n, timestamp.encode() if n == name else v) for n, v in headers]
    headers.append(("content-length", str(len(ORDER))))
    response = gateway.exchange(head(f"/webhooks/{connection}", headers) + ORDER)
    assert response.status == 401
    # A header that is not ASCII does not get past the HTTP server, which drops it.
    assert response.json()["error"] in (code, "timestamp_missing")


@pytest.mark.parametrize(
    ("connection", "name"),
    [
        ("acme-standard", "webhook-timestamp"),
        ("acme-standard", "webhook-id"),
        ("acme-hmac", "x-timestamp"),
    ],
)
def test_a_repeated_signed_header_is_401(gateway: Gateway, connection: str, name: str) -> None:
    headers = signed_headers(connection, ORDER)
    again = {f"{name}": headers[name]}
    pairs = [*headers.items(), *again.items(), ("content-length", str(len(ORDER)))]
    response = gateway.exchange(head(f"/webhooks/{connection}", pairs) + ORDER)
    assert response.status == 401
    assert response.json()["error"].endswith("_malformed")


@pytest.mark.parametrize("connection", SCHEMES)
@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe canary", b"canary, not JSON", b"", b"[" * 100_000],
    ids=["not UTF-8", "not JSON", "empty", "deeply nested"],
)
def test_a_body_that_cannot_be_read_is_401_first_where_it_is_not_authentic(
    gateway: Gateway, connection: str, body: bytes
) -> None:
    response = gateway.post(connection, signed_headers(connection, b"another body"), body)
    assert (response.status, response.json()["error"]) == (401, "signature_refused")


@pytest.mark.parametrize("connection", ["acme-standard", "acme-hmac"])
def test_an_old_but_well_signed_request_is_401(gateway: Gateway, connection: str) -> None:
    headers = signed_headers(connection, ORDER, time.time() - 3_600)
    response = gateway.post(connection, headers, ORDER)
    assert (response.status, response.json()["error"]) == (401, "timestamp_outside_window")


def test_unknown_paused_and_revoked_connections_look_the_same(gateway: Gateway) -> None:
    body = github_body()
    answers = []
    for connection in ("never-heard-of", "acme-paused", "acme-revoked"):
        response = gateway.post(connection, github_headers(body), body)
        request_id = response.headers.pop("x-request-id")
        response.headers.pop("date")
        answers.append(
            (response.status, response.headers, response.body.replace(request_id.encode(), b""))
        )
        line = gateway.line_of(response._replace(headers={"x-request-id": request_id}), "refused")
        assert "connection" not in line
    assert answers[0][0] == 404
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/",
        "/webhooks",
        "/webhooks/acme-github/",
        "/webhooks//acme-github",
        "/webhooks/acme-github%00",
        "/webhooks/acme-github%2f..%2facme-github",
        "/webhooks/..%2facme-github",
        "/webhooks/%ff%fe",
        "/webhooks/acme-github%20",
        "/webhooks/ACME-GITHUB",
        "/webhooks/%61cme-paused",
        "/webhooks/%252e",
        "/webhooks/" + "a" * 8_000,
        "/%77ebhooks/nobody",
        "/",
        "/etc/passwd",
    ],
)
def test_a_path_that_is_no_connection_is_404(gateway: Gateway, path: str) -> None:
    body = github_body()
    headers = {**github_headers(body), "content-length": str(len(body))}
    response = gateway.exchange(head(path, headers) + body)
    assert response.status == 404
    assert response.headers["x-request-id"]


def test_an_encoded_letter_of_a_connection_is_that_letter(gateway: Gateway) -> None:
    body = github_body()
    assert gateway.post("%61cme%2dgithub?a=b", github_headers(body), body).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"])
def test_only_post_is_allowed(gateway: Gateway, method: str) -> None:
    for connection in ("acme-github", "never-heard-of"):
        data = head(f"/webhooks/{connection}", {"content-length": "0"}, method)
        response = gateway.exchange(data)
        assert response.status == 405
        assert response.headers["allow"] == "POST"


def test_a_path_that_is_not_ours_is_404_for_get(gateway: Gateway) -> None:
    response = get(gateway.port, "/admin")
    assert (response.status, response.json()["error"]) == (404, "no_such_path")


def test_a_flood_of_refusals_does_not_fill_the_log(gateway: Gateway) -> None:
    before = len(gateway.lines("refused"))
    for _ in range(200):
        data = head("/webhooks/acme-github", {"content-length": "2"}) + b"{}"
        assert exchange(gateway.port, data).status == 401
    time.sleep(1.1)
    gateway.post("acme-github", {}, b"{}")
    assert len(gateway.lines("refused")) - before < 100
    assert sum(line["count"] for line in gateway.lines("refused, not shown")) > 0
