"""Whatever a sender writes, a provider answers with a value of its contract and never raises."""

import ast
import inspect
import json
import os
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producer.providers import json_pointer
from producer.providers.json_fields import JsonFields
from producer.providers.provider import (
    Batch,
    Identity,
    Refusal,
    Refused,
    Reply,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.registry import PROVIDERS, build
from producer.providers.timestamps import to_us
from producer.providers.unreadable import Reason
from schemas.event import MAX_ID_CHARS, Event, dedupe_id, resource_key
from tests.providers.http_request import PAYLOADS, RepeatableHeaders, key
from tests.providers.subjects import SUBJECTS as KINDS

# Each example goes to every subject below: HOOKLINE_FUZZ_EXAMPLES=25000 makes over a million
# inputs of verify, identify and handshake each.
EXAMPLES = int(os.environ.get("HOOKLINE_FUZZ_EXAMPLES", "1000"))
MANY = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
SOME = settings(MANY, max_examples=max(300, EXAMPLES // 4))

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
for kind in KINDS:
    provider = kind.build()
    SUBJECTS.append((provider, [kind.key(provider), kind.key(provider, kind.other, "second")]))
for name, options, secret in (
    ("standard_webhooks", {"resource_version": "body:/data/version"}, WHPK),
    ("hmac", HEADER_SOURCES, "s"),
    ("cloudevents", {"query_token": True, "version_attribute": "sequence"}, "s"),
    ("shopify", {"shop_domain": "acme.myshopify.com"}, "s"),
):
    provider = build(name, options)
    SUBJECTS.append((provider, [key(provider, secret), key(provider, secret, "verify-token")]))

NAMES = [
    *("x-hub-signature-256", "x-github-delivery", "x-github-event", "content-type"),
    *("webhook-id", "webhook-timestamp", "webhook-signature", "idempotency-key"),
    *("svix-id", "svix-timestamp", "svix-signature", "authorization", "x-api-key"),
    *("x-signature", "x-timestamp", "x-desk-signature", "x-id", "x-type", "x-version"),
    *("x-gitlab-token", "stripe-signature", "x-slack-signature", "x-slack-request-timestamp"),
    *("x-shopify-hmac-sha256", "x-shopify-topic", "x-shopify-event-id", "x-shopify-triggered-at"),
    *("x-twilio-signature", "x-twilio-webhooks-signature-settings", "i-twilio-idempotency-token"),
    *("ce-id", "ce-source", "ce-type", "ce-specversion", "ce-subject", "ce-time", "ce-sequence"),
    *("x-signature-256", "webhook-request-origin", "calendly-webhook-signature"),
    *("x-hubspot-signature-v3", "x-hubspot-request-timestamp", "x-hub-signature"),
    *("x-atlassian-webhook-identifier", "x-pagerduty-signature", "typeform-signature"),
    *("x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp"),
]
# Surrogates too: an adapter may decode headers with surrogateescape.
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=40)
VALUES = st.one_of(
    ANY_TEXT,
    st.sampled_from(
        [
            *("", "issues", "push", "ping", "1614265330", "9" * 5000, "-0", "٣", "nan", "x" * 513),
            *("sha256=" + "a" * 64, "v1," + "A" * 43 + "=", "v1a," + "A" * 86 + "==", "v1,,"),
            *("a" * 64, "v1 v1a v2, ,", "\x00", "a.b", "x" * 100_000, "v0=" + "a" * 64),
            *("t=1614265330,v1=" + "a" * 64, "t=1,t=2,v1=", "Bearer x", "Basic eDp5", "Basic !"),
            *("orders/create", "application/cloudevents+json", "1.0", "%ff%00", "A" * 27 + "="),
            *("application/cloudevents-batch+json", "application/x-www-form-urlencoded"),
            *("key=1,algorithm=HMAC_SHA256", "algorithm=MD5", "A" * 43 + "="),
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
        *("object_kind", "object_attributes", "project", "iid", "merge_request", "created"),
        *("object", "related_object", "entry", "changes", "messaging", "field", "value", "time"),
        *("metadata", "messages", "statuses", "sender", "recipient", "message", "changed_fields"),
        *("resource", "resourceData", "lifecycleEvent", "clientState", "subscriptionId"),
        *("specversion", "source", "subject", "sequence", "challenge", "event_ts", "channel"),
        *("webhookEvent", "issue", "fields", "updated", "worklog", "issueLink", "sprint", "uri"),
        *("eventId", "subscriptionType", "objectId", "occurredAt", "portalId", "objectTypeId"),
        *("payload", "scheduled_event", "created_at", "form_response", "token", "submitted_at"),
        *("event_type", "incident", "occurred_at", "resource_type"),
        *("event_time", "team_id", "trigger_id", "updated_at", "shop_id", "inventory_item_id"),
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
SAMPLES = [path.read_bytes() for path in sorted(PAYLOADS.glob("*/*.*")) if path.parent != PAYLOADS]


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
    st.lists(OBJECTS, max_size=3).map(lambda value: json.dumps({"value": value}).encode()),
    st.lists(OBJECTS, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.tuples(OBJECTS, st.lists(OBJECTS, max_size=3)).map(
        lambda pair: json.dumps(
            {"object": "page", "entry": [{"changes": pair[1], **pair[0]}]}
        ).encode()
    ),
    st.sampled_from([b"[" * 100_000, b'{"data":' * 100_000, b'{"type":1e999}', b'"\\ud800"']),
)


QUERIES = st.one_of(
    st.just(""),
    ANY_TEXT,
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *("validationToken", "hub.mode", "hub.verify_token", "hub.challenge"),
                    *("access_token", "bodySHA256", "a"),
                ]
            ),
            st.one_of(ANY_TEXT, st.sampled_from(["subscribe", "%ff", "s", "+", "a" * 64])),
        ),
        max_size=4,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)),
)


@MANY
@given(headers=HEADERS, body=BODIES, query=QUERIES, now_s=st.floats(0, 2e9))
def test_verify_never_raises_and_never_believes_what_nobody_signed(headers, body, query, now_s):
    # A token of one letter is guessed: without the letter, nobody is believed.
    plain = [(name, value) for name, value in headers if value not in ("s", "t")]
    request = Request(RepeatableHeaders(plain), body, query.replace("access_token=s", ""))
    for provider, keys in SUBJECTS:
        given_back = provider.verify(request, keys, now_s)
        if provider.name == "microsoft_graph" and b'"clientState"' in body:
            assert isinstance(given_back, Refused | Verified)
            continue
        assert type(given_back) is Refused
        assert type(given_back.reason) is Refusal


@MANY
@given(
    headers=HEADERS,
    body=BODIES,
    query=QUERIES,
    method=st.sampled_from(["GET", "POST", "OPTIONS"]),
    now_s=st.floats(0, 2e9),
)
def test_a_handshake_never_raises_and_answers_what_a_header_can_hold(
    headers, body, query, method, now_s
):
    request = Request(RepeatableHeaders(headers), body, query, bytes(16), method)
    for provider, keys in SUBJECTS:
        reply = provider.handshake(request, keys, now_s)
        assert reply is None or type(reply) in (Reply, Refused)
        if isinstance(reply, Reply):
            assert type(reply.body) is bytes
            for _, value in reply.headers:
                assert value.isascii()
                assert value.isprintable()


@MANY
@given(headers=HEADERS, body=BODIES, query=QUERIES)
def test_identify_never_raises_and_gives_only_what_the_envelope_can_hold(headers, body, query):
    request = Request(RepeatableHeaders(headers), body, query, bytes(16))
    for provider, _ in SUBJECTS:
        found = provider.identify(request)
        if type(found) is Batch:
            for part in found.parts:
                assert type(part.payload) is bytes
                assert_is_an_answer(provider.name, part.identity)
        else:
            assert_is_an_answer(provider.name, found)


def assert_is_an_answer(provider_name, given_back):
    if isinstance(given_back, Unreadable):
        assert given_back.reason in {reason.value for reason in Reason}
        assert type(given_back.reason) is str
        return
    assert type(given_back) is Identity
    assert_fits_the_envelope(provider_name, given_back)


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
        if keys[0].material.__class__.__name__ == "_Ed25519Key":
            continue
        sent = provider.outgoing(
            body, keys[0].material, event_id="e-1", event_type=f"{provider.name}.a.b", now_s=now_s
        )
        headers = dict(sent.headers)
        if "x-shopify-shop-domain" in headers:
            headers["x-shopify-shop-domain"] = "acme.myshopify.com"
        request = Request(RepeatableHeaders(headers.items()), sent.body, sent.query)
        given_back = provider.verify(request, keys, now_s)
        if provider.name == "microsoft_graph" and given_back != Verified("2026-11"):
            # Only notifications can carry its secret.
            assert given_back.reason in (Refusal.SIGNATURE_MALFORMED, Refusal.SIGNATURE_MISSING)
            continue
        assert given_back == Verified("2026-11")


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


def test_no_provider_compares_what_is_secret_but_in_constant_time():
    # A check by reading; benchmarks.gateway.timing measures it.
    modules = {sys.modules[kind.__module__] for kind in PROVIDERS.values()}
    modules.add(sys.modules["producer.providers.secret_text"])
    suspicious = {"expected", "signature", "token", "digest", "given", "material", "secret"}
    for module in modules:
        tree = ast.parse(inspect.getsource(module))
        for compare in (node for node in ast.walk(tree) if isinstance(node, ast.Compare)):
            if not any(isinstance(op, ast.Eq | ast.NotEq) for op in compare.ops):
                continue
            names = {
                node.id if isinstance(node, ast.Name) else node.attr
                for side in (compare.left, *compare.comparators)
                for node in [side]
                if isinstance(node, ast.Name | ast.Attribute)
            }
            assert not names & suspicious, f"{module.__name__}:{compare.lineno}"
