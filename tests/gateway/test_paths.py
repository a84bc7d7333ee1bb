"""Names of connections as no sender writes them: each is its own bytes, and never another's."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.gateway.http_socket import get, head
from tests.gateway.running import Gateway, github_body, github_headers

#: Ways to write acme-github that are not acme-github.
ALMOST = {
    "full-width letters": quote("\uff41\uff43\uff4d\uff45-github"),
    "a Cyrillic a": quote("\u0430cme-github"),
    "a dotless i": quote("acme-g\u0131thub"),
    "a combining accent": quote("acme-github\u0301"),
    "a zero-width space": quote("acme\u200b-github"),
    "a byte order mark": quote("\ufeffacme-github"),
    "right to left": quote("\u202eacme-github"),
    "a long dash": quote("acme\u2010github"),
    "a soft hyphen": quote("acme\u00ad-github"),
    "a Kelvin sign": quote("acme-github\u212a"),
    "overlong UTF-8 of a letter": "%c1%a1cme-github",
    "overlong UTF-8 of a slash": "..%c0%afacme-github",
    "a lone surrogate": "acme-github%ed%a0%80",
    "half of a character": "acme-github%e2%82",
    "UTF-16": "a%00c%00m%00e%00-%00g%00i%00t%00h%00u%00b%00",
    "encoded twice": "%2561cme-github",
    "encoded thrice": "%252561cme-github",
    "a percent sign alone": "acme-github%",
    "half an escape": "acme-github%6",
    "no hex": "acme-github%zz",
    "IIS's Unicode": "%u0061cme-github",
    "a NUL": "acme-github%00.json",
    "a tab": "%09acme-github",
    "a line end": "acme-github%0d%0aset-cookie:%20a=b",
    "a backslash": "..%5cacme-github",
    "a parameter": "acme-github;v=1",
    "a suffix": "acme-github.json",
    "a plus": "acme-github+",
    "a quote": "acme-github'%20OR%20'1'='1",
    "a template": "%7b%7bacme-github%7d%7d",
}
#: Ways from one place to another, were they files.
TRAVERSAL = [
    "/webhooks/../webhooks/acme-github",
    "/webhooks/./acme-github",
    "/webhooks/acme-paused/../acme-github",
    "/webhooks/acme-github/.",
    "/webhooks/acme-github/..",
    "/webhooks/%2e%2e/webhooks/acme-github",
    "/webhooks/%2e/acme-github",
    "/webhooks/..;/acme-github",
    "/webhooks\\acme-github",
    "/webhooks%2facme-github",
    "/webhooks%5cacme-github",
    "//webhooks/acme-github",
    "/../../../../etc/passwd",
    "/webhooks/../../../../etc/passwd",
    "/webhooks/..%2f..%2f..%2fetc%2fpasswd",
    "/webhooks/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/webhooks/file:%2f%2f%2fetc%2fpasswd",
    "/webhooks/%2e%2e/%2e%2e/livez",
]


def post(gateway: Gateway, path: str | bytes) -> tuple[int, bytes, dict[str, str]]:
    body = github_body()
    headers = {**github_headers(body), "content-length": str(len(body))}
    if isinstance(path, str):
        data = head(path, headers) + body
    else:
        data = head("/PATH", headers).replace(b"/PATH", path, 1) + body
    response = gateway.exchange(data)
    return response.status, response.body, response.headers


@pytest.mark.parametrize("name", ALMOST.values(), ids=ALMOST)
def test_what_only_looks_like_a_connection_is_none(gateway: Gateway, name: str) -> None:
    status, body, headers = post(gateway, f"/webhooks/{name}")
    assert status in (400, 404)
    # It is not given back either, in any form.
    assert b"github" not in body
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "name",
    ["\u0430cme-github".encode(), b"\xe1cme-github", b"acme-github\x80", b"acme-github\xff\xfe"],
    ids=["UTF-8", "Latin-1", "a stray byte", "no UTF-8"],
)
def test_bytes_that_no_address_may_hold_are_no_connection(gateway: Gateway, name: bytes) -> None:
    status, body, _ = post(gateway, b"/webhooks/" + name)
    assert status in (400, 404)
    assert b"github" not in body


@pytest.mark.parametrize("path", TRAVERSAL)
def test_a_path_leads_nowhere_else(gateway: Gateway, path: str) -> None:
    status, body, _ = post(gateway, path)
    assert status in (400, 404)
    assert b"root:" not in body
    response = get(gateway.port, path)
    assert response.status in (400, 404, 405)
    assert b"root:" not in response.body


def test_a_query_or_fragment_is_no_part_of_the_name(gateway: Gateway) -> None:
    for tail in ("?", "?a=/../acme-paused", "?%00", "?a=" + "b" * 4_000):
        assert post(gateway, f"/webhooks/acme-github{tail}")[0] == 200
    # A client never sends a fragment (RFC 9112 section 3.2.1): no connection, or bad syntax.
    assert post(gateway, "/webhooks/acme-paused#/../acme-github")[0] in (400, 404)
