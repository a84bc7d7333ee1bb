"""Requests from an entry's calls: a value stays within its place."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from producer.connect.calls import place, prepare
from producer.connect.system import Call
from producer.outgoing.answers import FailureKind, OutgoingFailure
from tests.connect.systems import TOKEN_FIELD, system

NASTY = "a/../b?x=1#y&z=2 %2e\r\nHost: evil é"


@pytest.mark.parametrize(
    ("template", "values", "url"),
    [
        ("https://{shop}.example/x", {"shop": "acme-1"}, "https://acme-1.example/x"),
        ("{address}/api", {"address": "https://a.example/"}, "https://a.example/api"),
        ("https://a.example/r/{repo}", {"repo": "acme/shop"}, "https://a.example/r/acme/shop"),
        ("https://a.example/r/{repo}", {"repo": "a b?c#d"}, "https://a.example/r/a%20b%3Fc%23d"),
        (
            "https://a.example/?q={q}&r=1",
            {"q": "a&b=c/d"},
            "https://a.example/?q=a%26b%3Dc%2Fd&r=1",
        ),
        ("https://a.example/{x}", {"x": "%2e%2e"}, "https://a.example/%252e%252e"),
        ("https://a.example/{unknown}", {}, "https://a.example/{unknown}"),
        ("https://a.example/{x}", {"x": "{y}", "y": "no"}, "https://a.example/%7By%7D"),
    ],
)
def test_a_value_is_encoded_for_its_place(template: str, values: dict[str, str], url: str) -> None:
    assert place(template, values) == url


@pytest.mark.parametrize(
    "shop",
    ["evil.example/", "a@evil.example", "a#", "a?", "a:1", "", ".", "a..b", "-a", "a\\", "a b",
     "é", "a\n", "a%2f"],
)  # fmt: skip
def test_what_could_name_another_host_is_refused(shop: str) -> None:
    with pytest.raises(OutgoingFailure) as refused:
        place("https://{shop}.example/x", {"shop": shop})
    assert refused.value.kind is FailureKind.ADDRESS_MALFORMED


@pytest.mark.parametrize("value", ["..", ".", "a/../b", "../x", "x/.."])
def test_no_value_leads_up_out_of_its_path(value: str) -> None:
    with pytest.raises(OutgoingFailure):
        place("https://a.example/r/{x}", {"x": value})


def test_a_body_holds_values_as_they_are_and_nothing_else_of_them() -> None:
    call = Call.model_validate(
        {"method": "POST", "path": "/x", "json": {"a": ["{token}"], "b": {"c": "is {token}"}}}
    )
    values = {"address": "https://a.example", "token": 'quote " brace } {address}'}
    prepared = prepare(system(), call, values)
    assert json.loads(prepared.content or b"") == {
        "a": [values["token"]],
        "b": {"c": f"is {values['token']}"},
    }
    assert prepared.headers["Content-Type"] == "application/json"
    form = Call.model_validate({"method": "POST", "path": "/x", "form": {"a": ["1", "{token}"]}})
    prepared = prepare(system(), form, values)
    assert parse_qs((prepared.content or b"").decode())["a"] == ["1", values["token"]]


@pytest.mark.parametrize(
    ("authorisation", "header", "value"),
    [
        ({"kind": "bearer", "token": "{token}"}, "Authorization", "Bearer s3cret"),
        (
            {"kind": "basic", "username": "{token}", "password": "x"},
            "Authorization",
            "Basic " + base64.b64encode(b"s3cret:x").decode(),
        ),
        (
            {"kind": "api_key", "name": "X-Key", "value": "Token {token}"},
            "X-Key",
            "Token s3cret",
        ),
    ],
)
def test_each_authorisation_is_added(
    authorisation: dict[str, str], header: str, value: str
) -> None:
    one = system(authorisation=authorisation)
    assert one.validation is not None
    prepared = prepare(one, one.validation, {"address": "https://a.example", "token": "s3cret"})
    assert prepared.headers[header] == value
    assert prepared.url == "https://a.example/me"
    assert "s3cret" not in repr(prepared)


def test_a_key_in_the_query_is_encoded() -> None:
    one = system(
        authorisation={"kind": "api_key", "place": "query", "name": "key", "value": "{token}"},
        fields=[{"id": "address", "label": "A", "kind": "url"}, TOKEN_FIELD],
    )
    assert one.validation is not None
    prepared = prepare(one, one.validation, {"address": "https://a.example", "token": NASTY})
    assert parse_qs(urlsplit(prepared.url).query)["key"] == [NASTY]
