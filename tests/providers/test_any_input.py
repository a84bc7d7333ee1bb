"""Whatever a sender writes, a provider answers with a value of its contract and never raises."""

import hmac
import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producer.providers import json_pointer
from producer.providers.json_fields import JsonFields
from producer.providers.provider import Identity, Refusal, Refused, Request, Unreadable, Verified
from producer.providers.registry import build
from producer.providers.timestamps import to_us
from producer.providers.unreadable import Reason
from schemas.event import MAX_ID_CHARS, Event, dedupe_id, resource_key
from tests.providers.http_request import (
    ORDER_OPTIONS,
    TICKET_OPTIONS,
    RepeatableHeaders,
    key,
    payload,
)

MANY = settings(
    max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
SOME = settings(MANY, max_examples=500)

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHPK = "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g="
HEADER_SOURCES = {
    "header": "X-Signature",
    "signed": "{header:X-Id}.{timestamp}.{body}",
    "timestamp_header": "X-Timestamp",
    "event_id": "header:X-Id",
    "event_type": "header:X-Type",
    "resource_type": "body:/order/0/kind",
    "resource_id": "body:/order/id",
    "resource_version": "header:X-Version",
    "occurred_at": "body:/order",
}
SUBJECTS = []
for name, options, secrets in (
    ("github", {}, ["s"]),
    ("standard_webhooks", {}, [WHSEC, WHPK]),
    ("standard_webhooks", {"resource_version": "body:/data/version"}, [WHSEC]),
    ("hmac", ORDER_OPTIONS, ["s"]),
    ("hmac", TICKET_OPTIONS, ["s"]),
    ("hmac", HEADER_SOURCES, ["s"]),
):
    provider = build(name, options)
    SUBJECTS.append((provider, [key(provider, secret) for secret in secrets]))

NAMES = [
    *("x-hub-signature-256", "x-github-delivery", "x-github-event", "content-type"),
    *("webhook-id", "webhook-timestamp", "webhook-signature"),
    *("svix-id", "svix-timestamp", "svix-signature"),
    *("x-signature", "x-timestamp", "x-desk-signature", "x-id", "x-type", "x-version"),
]
# Surrogates too: an adapter may decode headers with surrogateescape.
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)
VALUES = st.one_of(
    ANY_TEXT,
    st.sampled_from(
        [
            *("", "issues", "push", "ping", "1614265330", "9" * 5000, "-0", "٣", "nan", "x" * 513),
            *("sha256=" + "a" * 64, "v1," + "A" * 43 + "=", "v1a," + "A" * 86 + "==", "v1,,"),
            *("a" * 64, "v1 v1a v2, ,", "\x00", "a.b", "x" * 100_000),
        ]
    ),
)
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=12)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(10**300, 10**301),
    st.text(max_size=8),
    st.sampled_from(["a.b", "2026-11-23T10:00:00Z", "0001-01-01T00:00:00+14:00", "9" * 20, "x\0"]),
)
FIELDS = st.sampled_from(
    [
        *("action", "repository", "issue", "pull_request", "organization", "installation", "id"),
        *("number", "updated_at", "ref", "ref_type", "hook_id", "type", "timestamp", "data"),
        *("version", "event_id", "event", "order", "revision", "sent_at", "ticket", "topic", "0"),
    ]
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(FIELDS, inner, max_size=8)
    ),
    max_leaves=20,
)
OBJECTS = st.dictionaries(FIELDS, DOCUMENTS, max_size=10)
SAMPLES = [
    payload(folder, name)
    for folder, name in (
        ("github", "issues.opened"),
        ("github", "push"),
        ("standard_webhooks", "customer.updated"),
        ("hmac", "order.created"),
        ("hmac", "ticket.changed"),
    )
]


@st.composite
def damaged_samples(draw):
    sample = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(sample) - 1))
        sample[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(sample)


BODIES = st.one_of(
    st.binary(max_size=60),
    OBJECTS.map(lambda value: json.dumps(value).encode()),
    OBJECTS.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
    st.binary(max_size=40).map(lambda value: b"payload=" + value),
    damaged_samples(),
    st.sampled_from([b"[" * 100_000, b'{"data":' * 100_000, b'{"type":1e999}', b'"\\ud800"']),
)


@MANY
@given(headers=HEADERS, body=BODIES, now_s=st.floats(0, 2e9))
def test_verify_never_raises_and_never_believes_what_nobody_signed(headers, body, now_s):
    request = Request(RepeatableHeaders(headers), body)
    for provider, keys in SUBJECTS:
        given_back = provider.verify(request, keys, now_s)
        assert type(given_back) is Refused
        assert type(given_back.reason) is Refusal


@MANY
@given(headers=HEADERS, body=BODIES)
def test_identify_never_raises_and_gives_only_what_the_envelope_can_hold(headers, body):
    request = Request(RepeatableHeaders(headers), body)
    for provider, _ in SUBJECTS:
        given_back = provider.identify(request)
        if isinstance(given_back, Unreadable):
            assert given_back.reason in {reason.value for reason in Reason}
            assert type(given_back.reason) is str
            continue
        assert type(given_back) is Identity
        assert_fits_the_envelope(provider.name, given_back)


def assert_fits_the_envelope(provider_name, identity):
    for text in (identity.event_id, identity.resource_id):
        assert 0 < len(text) <= MAX_ID_CHARS
        assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in text)
    assert identity.event_type.startswith(provider_name + ".")
    assert set(identity.resource_type) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert identity.resource_type
    assert identity.resource_version is None or -(2**63) <= identity.resource_version < 2**63
    dedupe_id("t", "c", identity.event_id)
    resource_key("t", "c", identity.resource_type, identity.resource_id).encode()
    event = Event(
        request_id=bytes(16),
        environment="e",
        tenant="t",
        connection="c",
        provider=provider_name,
        event_id=identity.event_id,
        event_type=identity.event_type,
        resource_type=identity.resource_type,
        resource_id=identity.resource_id,
        received_at_us=0,
        payload=b"",
        occurred_at_us=identity.occurred_at_us,
    )
    assert event.occurred_at is None or event.occurred_at.tzinfo is not None


@SOME
@given(body=BODIES, now_s=st.integers(0, 2_000_000_000))
def test_whatever_the_body_what_is_signed_is_verified(body, now_s):
    for provider, keys in SUBJECTS:
        headers = provider.sign(
            body, keys[0].material, event_id="e-1", event_type=f"{provider.name}.a.b", now_s=now_s
        )
        request = Request(RepeatableHeaders(headers.items()), body)
        assert provider.verify(request, keys, now_s) == Verified("2026-11")


POINTERS = st.lists(
    st.lists(st.one_of(FIELDS, st.sampled_from(["", 'a"b', "é", "a/b", "-"])), min_size=1).map(
        lambda tokens: tuple(tokens[:3])
    ),
    max_size=5,
)


@SOME
@given(pointers=POINTERS, document=OBJECTS)
def test_the_typed_reader_finds_what_the_whole_document_has(pointers, document):
    body = json.dumps(document).encode()
    found = JsonFields(pointers).read(body)
    whole = JsonFields([*pointers, ("0",)]).read(body)
    assert isinstance(found, Unreadable) or isinstance(whole, Unreadable) or found == whole[:-1]
    if isinstance(found, list):
        expected = [json_pointer.resolve(document, tokens) for tokens in pointers]
        assert found == expected


@MANY
@given(value=st.one_of(SCALARS, ANY_TEXT, st.floats()), unit=st.sampled_from(["s", "ms"]))
def test_a_time_is_an_integer_of_microseconds_or_nothing(value, unit):
    moment_us = to_us(value, unit)
    assert moment_us is None or type(moment_us) is int


def test_the_comparison_is_the_constant_time_one():
    # A check by reading, because time cannot be measured well enough in a test.
    from producer.providers import github, hmac_signature, standard_webhooks

    for module in (github, hmac_signature, standard_webhooks):
        assert module.hmac is hmac
        source = Path(module.__file__).read_text("utf-8")
        assert "expected ==" not in source
        assert "hmac.compare_digest(expected, signature)" in source
