"""The configurable scheme: every way to sign and to identify, and options that explain."""

import base64
import hashlib
import hmac
import json

import pytest

from producer.providers.provider import Identity, Refusal, Refused, Unreadable, Verified
from producer.providers.registry import build
from schemas.errors import ConfigurationError, SecretFormatError
from tests.providers.http_request import (
    NOW_S,
    ORDER_OPTIONS,
    TICKET_OPTIONS,
    body,
    key,
    payload,
    request,
)

SECRET = "0f" * 24
BODY = payload("hmac", "order.created")
PLAIN = {"header": "X-Signature", "event_id": "header:X-Id", "event_type": "literal:order.created"}


def signed(provider, content=BODY, secret=SECRET, now_s=NOW_S):
    return dict(
        provider.sign(
            content,
            provider.load_key(secret),
            event_id="evt-1",
            event_type="hmac.order.created",
            now_s=now_s,
        )
    )


def verify(provider, headers, content=BODY, secrets=(SECRET,), now_s=NOW_S):
    keys = [key(provider, secret, f"key-{n}") for n, secret in enumerate(secrets)]
    return provider.verify(request(headers, content), keys, now_s)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
@pytest.mark.parametrize("secret_encoding", ["utf8", "hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha="])
def test_what_is_signed_is_verified_and_a_changed_body_is_not(
    algorithm, encoding, secret_encoding, prefix
):
    provider = build(
        "hmac",
        PLAIN
        | {
            "algorithm": algorithm,
            "encoding": encoding,
            "secret_encoding": secret_encoding,
            "prefix": prefix,
        },
    )
    headers = signed(provider)
    assert verify(provider, headers) == Verified("key-0")
    assert verify(provider, headers, BODY + b" ") == Refused(Refusal.SIGNATURE_WRONG)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, lambda mac: mac(b"%b").hex()),
        ({"encoding": "base64"}, lambda mac: base64.b64encode(mac(b"%b")).decode()),
        (
            {"encoding": "base64url"},
            lambda mac: base64.urlsafe_b64encode(mac(b"%b")).decode().rstrip("="),
        ),
        ({"prefix": "v0=", "signed": "v0:{body}"}, lambda mac: "v0=" + mac(b"v0:%b").hex()),
        ({"signed": "{header:X-Id}\n{body}"}, lambda mac: mac(b"evt-1\n%b").hex()),
        ({"signed": "{{{body}}}"}, lambda mac: mac(b"{%b}").hex()),
        ({"signed": "å{body}"}, lambda mac: mac("å".encode() + b"%b").hex()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_signatures_are_what_the_standard_library_computes(options, expected):
    content = b"\xff\x00{body} {timestamp}"

    def mac(template):
        return hmac.new(SECRET.encode(), template.replace(b"%b", content), hashlib.sha256).digest()

    provider = build("hmac", PLAIN | options)
    headers = signed(provider, content)
    assert headers["x-signature"] == expected(mac)
    assert verify(provider, headers, content) == Verified("key-0")


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_the_timestamp_is_signed_and_has_a_window(unit):
    provider = build("hmac", ORDER_OPTIONS | {"timestamp_unit": unit, "tolerance_s": 10})
    headers = signed(provider)
    assert len(headers["x-timestamp"]) == (10 if unit == "s" else 13)
    assert verify(provider, headers, now_s=NOW_S + 10) == Verified("key-0")
    assert verify(provider, headers, now_s=NOW_S - 10) == Verified("key-0")
    outside = Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)
    assert verify(provider, headers, now_s=NOW_S + 10.5) == outside
    assert verify(provider, headers, now_s=NOW_S - 10.5) == outside
    renewed = headers | {"x-timestamp": str(int(headers["x-timestamp"]) + 1)}
    assert verify(provider, renewed) == Refused(Refusal.SIGNATURE_WRONG)


@pytest.mark.parametrize(
    "text", ["", " 5", "5 ", "-0", "1e9", "1.0", "nan", "٣", "²", "9" * 5000, "\ud800", "5\x00"]
)
def test_a_timestamp_that_is_not_plain_digits_is_refused(text):
    provider = build("hmac", ORDER_OPTIONS)
    headers = signed(provider) | {"x-timestamp": text}
    assert verify(provider, headers) == Refused(Refusal.TIMESTAMP_MALFORMED)


@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256=",
        "a",
        "sha256=a",
        "sha256=" + "a" * 63,
        "sha256=" + "a" * 66,
        "sha256=" + "é" * 64,
        "sha256=" + "\ud800" * 43,
        "sha256=" + "!" * 44,
        "sha256=" + "a" * 100_000,
        "sha256 " + "a" * 64,
        "\x00",
    ],
)
def test_a_malformed_signature_is_refused_as_such(encoding, text):
    provider = build("hmac", ORDER_OPTIONS | {"encoding": encoding})
    headers = signed(provider) | {"x-signature": text}
    assert verify(provider, headers) == Refused(Refusal.SIGNATURE_MALFORMED)


def test_the_two_alphabets_of_base64_are_not_mixed():
    mark = {"encoding": "base64", "prefix": ""}
    standard = build("hmac", PLAIN | mark)
    url = build("hmac", PLAIN | mark | {"encoding": "base64url"})
    for number in range(200):
        text = signed(standard, str(number).encode())["x-signature"]
        if "+" in text or "/" in text:
            given = verify(url, {"x-signature": text, "x-id": "1"}, str(number).encode())
            assert given == Refused(Refusal.SIGNATURE_MALFORMED)
            return
    pytest.fail("no signature had a character of one alphabet only")


@pytest.mark.parametrize(
    ("name", "missing", "repeated"),
    [
        ("x-signature", Refusal.SIGNATURE_MISSING, Refusal.SIGNATURE_MALFORMED),
        ("x-timestamp", Refusal.TIMESTAMP_MISSING, Refusal.TIMESTAMP_MALFORMED),
    ],
)
def test_a_missing_or_repeated_header_is_refused(name, missing, repeated):
    provider = build("hmac", ORDER_OPTIONS)
    headers = signed(provider)
    value = headers.pop(name)
    assert verify(provider, headers) == Refused(missing)
    assert verify(provider, headers | {name: [value, value]}) == Refused(repeated)


def test_a_repeated_or_missing_header_of_the_signed_text_or_identity_is_refused():
    provider = build("hmac", PLAIN | {"signed": "{header:X-Id}.{body}"})
    headers = signed(provider)
    malformed = Refused(Refusal.SIGNATURE_MALFORMED)
    assert verify(provider, headers) == Verified("key-0")
    assert verify(provider, headers | {"x-id": ["evt-1", "evt-1"]}) == malformed
    assert verify(provider, headers | {"x-id": "é"}) == malformed
    del headers["x-id"]
    assert verify(provider, headers) == malformed


def test_each_of_several_active_secrets_verifies_under_its_own_name():
    provider = build("hmac", PLAIN)
    headers = signed(provider)
    assert verify(provider, headers, secrets=["new", SECRET]) == Verified("key-1")
    assert verify(provider, headers, secrets=["new"]) == Refused(Refusal.SIGNATURE_WRONG)
    assert verify(provider, headers, secrets=[]) == Refused(Refusal.NO_ACTIVE_SECRET)


@pytest.mark.parametrize(
    ("encoding", "secret"),
    [("utf8", ""), ("utf8", "\ud800"), ("hex", "0f0"), ("hex", "x9"), ("base64", "s3cr!t")],
)
def test_a_secret_of_another_encoding_is_refused_without_being_shown(encoding, secret):
    provider = build("hmac", PLAIN | {"secret_encoding": encoding})
    with pytest.raises(SecretFormatError, match="secret_encoding") as caught:
        provider.load_key(secret)
    assert not secret or secret not in str(caught.value)


def test_orders_are_identified_by_their_sources():
    assert build("hmac", ORDER_OPTIONS).identify(request({}, BODY)) == Identity(
        event_id="evt-00091822",
        event_type="hmac.order.created",
        resource_type="order",
        resource_id="770184",
        resource_version=1,
        occurred_at_us=1_795_433_170_000_000,
    )
    later = build("hmac", ORDER_OPTIONS).identify(request({}, payload("hmac", "order.shipped")))
    assert (later.resource_id, later.resource_version) == ("770184", 4)


def test_tickets_are_identified_by_their_sources():
    given = build("hmac", TICKET_OPTIONS).identify(request({}, payload("hmac", "ticket.changed")))
    assert given == Identity(
        event_id="5f0c8f1e-54ce-4e1c-9b7c-2f6d0a1f7a10",
        event_type="hmac.tickets.update",
        resource_type="ticket",
        resource_id="DESK-1207",
        resource_version=1_795_439_384_120_000,
        occurred_at_us=1_795_439_384_120_000,
    )


def test_headers_are_sources_too():
    provider = build(
        "hmac",
        PLAIN
        | {
            "event_type": "header:X-Topic",
            "resource_type": "header:X-Kind",
            "resource_id": "header:X-Entity",
            "resource_version": "header:X-Revision",
            "occurred_at": "header:X-At",
            "occurred_at_unit": "ms",
        },
    )
    headers = {
        "x-id": "e",
        "x-topic": "orders/create",
        "x-kind": "Order",
        "x-entity": "7",
        "x-revision": "12",
        "x-at": "1500",
    }
    # The body is not read, so it may be anything.
    assert provider.identify(request(headers, b"\xff")) == Identity(
        event_id="e",
        event_type="hmac.orders.create",
        resource_type="order",
        resource_id="7",
        resource_version=12,
        occurred_at_us=1_500_000,
    )
    assert set(provider.kept_headers) == set(headers)


@pytest.mark.parametrize("kind", ["a b", "é", "a/b", 7, True, [], "x" * 300])
def test_a_resource_type_that_is_no_slug_is_unreadable(kind):
    provider = build("hmac", ORDER_OPTIONS | {"resource_type": "body:/kind"})
    given = provider.identify(request({}, body(json.loads(BODY) | {"kind": kind})))
    assert given.reason == "resource_type_malformed"


def test_a_configured_resource_that_is_not_there_is_quarantined_unless_told_otherwise():
    content = body({"event_id": "e", "event": "a.b"})
    given = build("hmac", ORDER_OPTIONS).identify(request({}, content))
    assert given == Unreadable("resource_id_missing", "there is no resource id")
    alone = build("hmac", ORDER_OPTIONS | {"when_no_resource": "key_alone"})
    given = alone.identify(request({}, content))
    assert (given.resource_type, given.resource_id) == ("event", "e")


def test_without_a_configured_resource_each_event_is_keyed_alone():
    given = build("hmac", PLAIN).identify(request({"x-id": "e"}, b""))
    assert (given.resource_type, given.resource_id) == ("event", "e")


def test_a_signature_header_is_never_kept():
    assert "x-signature" not in build("hmac", ORDER_OPTIONS).kept_headers


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"header": "X Signature"}, "options.header: 'X Signature' is no header's name"),
        ({"algorithm": "md5"}, "options.algorithm: input should be 'sha1'"),
        ({"signed": "{timestamp}"}, "must have {body} once"),
        ({"signed": "{body}{body}"}, "must have {body} once"),
        ({"signed": "{payload}"}, "write {body}, {timestamp} or {header:X-Name}"),
        ({"signed": "{body!r}"}, "write {body}, {timestamp} or {header:X-Name}"),
        ({"signed": "{body"}, "lone brace"),
        ({"signed": "{body}", "timestamp_header": "X-T"}, "not signed, so anybody could renew it"),
        ({"timestamp_header": None}, "write which header it is in timestamp_header"),
        ({"event_id": "/id"}, "names no source"),
        ({"event_id": "body:id"}, "is no JSON pointer"),
        ({"event_id": "body:/a~2"}, "write ~0"),
        ({"event_id": "literal:"}, "names no source"),
        ({"event_id": "header:X-Signature"}, "write another source"),
        ({"tolerance_s": 0}, "options.tolerance_s: input should be greater"),
        ({"resource_id": None}, "write where its id is in resource_id"),
        ({"hedder": "X"}, "options.hedder: provider 'hmac' has no such option; there are: "),
    ],
)
def test_a_wrong_option_is_told_with_what_to_write(change, problem):
    with pytest.raises(ConfigurationError) as caught:
        build("hmac", ORDER_OPTIONS | change)
    assert any(problem in line for line in caught.value.problems), caught.value.problems


def test_every_missing_option_is_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        build("hmac", {})
    assert [line.partition(":")[0] for line in caught.value.problems] == [
        "options.event_id",
        "options.event_type",
        "options.header",
    ]


def test_an_unknown_provider_is_answered_with_those_there_are():
    with pytest.raises(ConfigurationError, match="github, gitlab, hmac, hubspot, jira, meta"):
        build("gitlub", {})


LIST = {**PLAIN, "prefix": "v1=", "separator": ","}


def test_of_several_signatures_any_one_is_enough():
    provider = build("hmac", LIST)
    new, old = (signed(provider, secret=one)["x-signature"] for one in (SECRET, "a" * 48))
    told = {"x-id": "evt-1"}
    for text in (f"{new},{old}", f"{old}, {new}", f"v9=x,{new}", f"{old},v1=zz,,{new},"):
        assert verify(provider, {**told, "x-signature": text}) == Verified("key-0")
    for text in (old, f"{old},{old}", f"v1={new},v2={new[3:]},{old}"):
        assert verify(provider, {**told, "x-signature": text}) == Refused(Refusal.SIGNATURE_WRONG)
    for text in ("", ",", "v1=", new[3:], ",".join([old] * 40 + [new])):
        assert verify(provider, {**told, "x-signature": text}) == Refused(
            Refusal.SIGNATURE_MALFORMED
        )


def test_a_signature_behind_more_than_are_read_counts_for_nothing():
    provider = build("hmac", LIST)
    new = signed(provider)["x-signature"]
    given = verify(provider, {"x-id": "evt-1", "x-signature": "v1=," * 16 + new})
    assert given == Refused(Refusal.SIGNATURE_MALFORMED)


def test_without_a_separator_a_list_is_malformed():
    provider = build("hmac", {**PLAIN, "prefix": "v1="})
    text = signed(provider)["x-signature"]
    given = verify(provider, {"x-id": "evt-1", "x-signature": f"{text},{text}"})
    assert given == Refused(Refusal.SIGNATURE_MALFORMED)


ISO = {
    **PLAIN,
    "signed": "{timestamp}{body}",
    "timestamp_header": "X-Timestamp",
    "timestamp_unit": "iso",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:46:11Z", Verified("key-0")),
        ("2026-11-23T11:46:11.5+01:00", Verified("key-0")),
        ("2026-11-23T10:40:11Z", Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)),
        ("2026-11-23T10:52:11Z", Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)),
        ("1795430771", Refused(Refusal.TIMESTAMP_MALFORMED)),
        ("yesterday", Refused(Refusal.TIMESTAMP_MALFORMED)),
        ("", Refused(Refusal.TIMESTAMP_MALFORMED)),
    ],
)
def test_a_time_of_signing_may_be_iso_8601(text, expected):
    provider = build("hmac", ISO)
    digest = hmac.digest(SECRET.encode(), text.encode() + BODY, "sha256").hex()
    headers = {"x-id": "evt-1", "x-timestamp": text, "x-signature": digest}
    now_s = 1_795_430_771.0
    assert verify(provider, headers, now_s=now_s) == expected


def test_a_prefix_with_the_separator_in_it_is_refused():
    with pytest.raises(ConfigurationError, match="each would end the other"):
        build("hmac", {**PLAIN, "prefix": "v,", "separator": ","})
