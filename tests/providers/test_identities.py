"""What each provider makes of realistic payloads: type, resource, version, time, id."""

import json

import pytest

from credentials.key_ring import Key
from producer.providers.provider import Batch, Request, Unreadable
from producer.providers.registry import build
from schemas.errors import SecretFormatError
from tests.providers.expected_identities import EXPECTED
from tests.providers.http_request import NOW_S, PAYLOADS, RepeatableHeaders
from tests.providers.subjects import HUBSPOT_OPTIONS, TOKEN_OPTIONS, TWILIO_OPTIONS

OPTIONS = {
    "twilio": TWILIO_OPTIONS,
    "hubspot": HUBSPOT_OPTIONS,
    "token": TOKEN_OPTIONS,
    "cloudevents": {"version_attribute": "sequence"},
}


def sent(provider_name, body, event_type="x.y", event_id="evt-1", options=None):
    provider = build(provider_name, OPTIONS.get(provider_name, {}) if options is None else options)
    out = provider.outgoing(
        body, provider.load_key("s3cret"), event_id=event_id, event_type=event_type, now_s=NOW_S
    )
    request = Request(RepeatableHeaders(out.headers.items()), out.body, out.query, bytes(16))
    return provider, request


def identities(provider_name, body, **said):
    provider, request = sent(provider_name, body, **said)
    found = provider.identify(request)
    return [part.identity for part in found.parts] if type(found) is Batch else [found]


@pytest.mark.parametrize(
    ("provider", "file", "expected"), EXPECTED, ids=[f"{p}-{f}" for p, f, _ in EXPECTED]
)
def test_a_realistic_payload_is_identified(provider, file, expected):
    topic = file.rpartition(".")[0] if provider == "shopify" else "x.y"
    headers_type = f"{provider}.{topic}"
    found = identities(provider, (PAYLOADS / provider / file).read_bytes(), event_type=headers_type)
    given = [
        (
            one.event_type.removeprefix(f"{provider}."),
            f"{one.resource_type}/{one.resource_id}".replace("/northwind/warehouse", "…"),
            one.resource_version,
            one.occurred_at_us,
        )
        for one in found
    ]
    for one, (event_type, resource, version, occurred_at) in zip(given, expected, strict=True):
        assert one[0] == event_type
        assert one[1].startswith(resource) if resource.endswith("/") else one[1] == resource
        assert one[2:] == (version, occurred_at)
    assert len({one.event_id for one in found}) == len(found)


def test_every_payload_file_has_an_expectation():
    said = {(provider, file) for provider, file, _ in EXPECTED} | {
        ("slack", "url_verification.json")
    }
    own = {"github", "hmac", "standard_webhooks"}
    files = {
        (path.parent.name, path.name)
        for path in PAYLOADS.glob("*/*")
        if path.parent.name not in own
    }
    assert files == said


def test_gitlabs_id_is_the_one_that_stays_when_it_tries_again():
    provider = build("gitlab", {})
    body = (PAYLOADS / "gitlab" / "push.json").read_bytes()

    def event_id(**headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return provider.identify(Request(RepeatableHeaders(named.items()), body)).event_id

    shared = {"x_gitlab_event_uuid": "shared-by-recursion"}
    assert event_id(webhook_id="a", idempotency_key="a", **shared) == "a"
    assert event_id(idempotency_key="b", **shared) == "b"
    old = event_id(**shared)
    assert len(old) == 32
    assert old == event_id()


def test_a_connection_with_a_signing_token_takes_no_secret_token():
    provider = build("gitlab", {})
    body = b"{}"
    keys = [_key(provider, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    request = Request(RepeatableHeaders([("x-gitlab-token", "MfKQ9r8GKYqr")]), body)
    assert provider.verify(request, keys, 0).reason == "signature_wrong"


def _key(provider, secret, name="2026-11"):
    return Key(name, provider.load_key(secret))


def test_one_action_at_shopify_is_one_event_per_topic_and_entity():
    def event_id(topic, body):
        return identities("shopify", body, event_type=f"shopify.{topic}", event_id="act-1")[
            0
        ].event_id

    assert event_id("orders.create", b'{"id":1}') == event_id("orders.create", b'{"id":1,"a":2}')
    ids = {
        event_id("orders.create", b'{"id":1}'),
        event_id("orders.paid", b'{"id":1}'),
        event_id("orders.create", b'{"id":2}'),
    }
    assert len(ids) == 3


def test_a_webhook_of_another_shop_of_the_app_is_refused():
    provider = build("shopify", {"shop_domain": "acme.myshopify.com"})
    key = _key(provider, "s")
    headers = dict(
        provider.sign(b"{}", key.material, event_id="e", event_type="shopify.a.b", now_s=0)
    )
    assert provider.verify(Request(RepeatableHeaders(headers.items()), b"{}"), [key], 0).secret_name
    headers["x-shopify-shop-domain"] = "evil.myshopify.com"
    given = provider.verify(Request(RepeatableHeaders(headers.items()), b"{}"), [key], 0)
    assert given.reason == "signature_wrong"


def test_calls_that_say_the_same_status_twice_are_told_apart():
    fields = b"CallSid=CA1&CallStatus=in-progress"
    assert identities("twilio", fields, event_id="t1")[0].event_id == "t1"
    provider = build("twilio", TWILIO_OPTIONS)
    bare = provider.identify(Request(RepeatableHeaders([]), fields + b"&SequenceNumber=3"))
    assert bare.event_id == "CA1:in-progress:3"
    message = identities("twilio", b"MessageSid=SM1&MessageStatus=sent", event_id="t1")[0]
    assert message.event_id == "SM1:sent"


def graph(*notifications):
    return json.dumps({"value": notifications}).encode()


NOTIFICATION = {"subscriptionId": "s", "changeType": "updated", "resource": "users/1"}


def test_the_client_state_is_in_no_event():
    body = graph({**NOTIFICATION, "id": "1", "note": 12345678901234567890123}, NOTIFICATION)
    provider, request = sent("microsoft_graph", body)
    assert b"s3cret" in request.body
    for part in provider.identify(request).parts:
        assert b"s3cret" not in part.payload
        assert b"clientState" not in part.payload
        assert len(json.loads(part.payload)["value"]) == 1
    assert b"12345678901234567890123" in provider.identify(request).parts[0].payload


def test_one_notification_of_another_subscription_refuses_all():
    provider, request = sent("microsoft_graph", graph(NOTIFICATION, NOTIFICATION))
    key = _key(provider, "s3cret")
    assert provider.verify(request, [key], 0).secret_name == "2026-11"
    value = json.loads(request.body)["value"]
    for state, reason in (("other", "signature_wrong"), (None, "signature_missing")):
        changed = [value[0], {**value[1], "clientState": state}]
        mixed = Request(request.headers, json.dumps({"value": changed}).encode())
        assert provider.verify(mixed, [key], 0).reason == reason
    both = [key, _key(provider, "other", "second")]
    mixed = Request(
        request.headers,
        json.dumps({"value": [{**value[0], "clientState": "other"}, value[1]]}).encode(),
    )
    assert provider.verify(mixed, both, 0).secret_name == "second"


def test_graph_without_an_id_takes_the_etag_and_without_both_never_a_copy():
    tagged = {**NOTIFICATION, "resourceData": {"@odata.etag": "W/1"}}
    newer = {**NOTIFICATION, "resourceData": {"@odata.etag": "W/2"}}
    first, second, third = identities("microsoft_graph", graph(tagged, newer, tagged))
    assert first.event_id == third.event_id != second.event_id
    provider = build("microsoft_graph", {})
    bodies = [
        Request(RepeatableHeaders([]), graph(NOTIFICATION, NOTIFICATION), "", bytes([n]) * 16)
        for n in (1, 2)
    ]
    ids = {part.identity.event_id for body in bodies for part in provider.identify(body).parts}
    assert len(ids) == 4


@pytest.mark.parametrize("provider", ["microsoft_graph", "meta", "cloudevents", "twilio"])
def test_a_request_with_more_events_than_one_may_have_is_kept_as_one(provider):
    many = {
        "microsoft_graph": graph(*[NOTIFICATION] * 1001),
        "meta": json.dumps(
            {"object": "user", "entry": [{"id": "1", "changed_fields": ["a"] * 1001}]}
        ).encode(),
        "cloudevents": b"[" + b"{}," * 1000 + b"{}]",
        "twilio": b"[" + b"{}," * 1000 + b"{}]",
    }[provider]
    provider_object, request = sent(provider, many)
    (part,) = provider_object.identify(request).parts
    assert type(part.identity) is Unreadable
    assert part.identity.reason == "batch_too_large"
    assert b"s3cret" not in part.payload


def test_each_event_of_meta_is_what_meta_would_have_sent_for_it_alone():
    provider, request = sent("meta", (PAYLOADS / "meta" / "page.batch.json").read_bytes())
    batch = provider.identify(request)
    for part in batch.parts:
        again = provider.identify(Request(request.headers, part.payload))
        assert [one.identity for one in again.parts] == [part.identity]


def test_each_event_of_graph_is_what_graph_would_have_sent_for_it_alone():
    file = PAYLOADS / "microsoft_graph" / "three_notifications.json"
    provider, request = sent("microsoft_graph", file.read_bytes())
    for part in provider.identify(request).parts:
        again = provider.identify(Request(request.headers, part.payload))
        assert [one.identity for one in again.parts] == [part.identity]


def test_metas_verify_token_proves_no_webhook():
    provider = build("meta", {})
    token = _key(provider, "v3rify", "verify-token")
    headers = provider.sign(b"{}", token.material, event_id="e", event_type="t", now_s=0)
    request = Request(RepeatableHeaders(headers.items()), b"{}")
    assert provider.verify(request, [token], 0).reason == "no_active_secret"
    assert provider.verify(request, [token, _key(provider, "app")], 0).reason == "signature_wrong"


def test_an_id_longer_than_an_id_may_be_is_a_digest_of_it():
    event = {
        "specversion": "1.0",
        "id": "i" * 600,
        "source": "/s",
        "type": "a.b",
        "subject": "x" * 600,
    }
    (one,) = identities("cloudevents", json.dumps(event).encode())
    assert len(one.event_id) == len(one.resource_id) == 32


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"id": "1", "source": "/s", "type": "a"}, "body_unexpected"),
        ({"specversion": "0.3", "id": "1", "source": "/s", "type": "a"}, "body_unexpected"),
        ({"specversion": "1.0", "source": "/s", "type": "a"}, "event_id_missing"),
        ({"specversion": "1.0", "id": "1", "type": "a"}, "event_id_missing"),
        ({"specversion": "1.0", "id": 1, "source": "/s", "type": "a"}, "event_id_missing"),
        ({"specversion": "1.0", "id": "1", "source": "/s"}, "event_type_missing"),
        ({"specversion": "1.0", "id": "1", "source": ["/s"], "type": "a"}, "body_unexpected"),
        (
            {"specversion": "1.0", "id": "1", "source": "/s", "type": "a", "sequence": "x"},
            "resource_version_malformed",
        ),
    ],
)
def test_a_cloudevent_that_is_none_says_why(event, reason):
    provider = build("cloudevents", OPTIONS["cloudevents"])
    headers = RepeatableHeaders([("content-type", "application/cloudevents+json; charset=utf-8")])
    assert provider.identify(Request(headers, json.dumps(event).encode())).reason == reason


def test_a_format_of_cloudevents_that_is_not_json_is_kept_for_a_person():
    provider = build("cloudevents", {})
    headers = RepeatableHeaders([("content-type", "application/cloudevents+protobuf")])
    assert provider.identify(Request(headers, b"\x0a")).reason == "body_unexpected"


def test_the_token_in_the_query_is_taken_only_where_the_options_say():
    for query_token, expected in ((True, "secret_name"), (False, "reason")):
        provider = build("cloudevents", {"query_token": query_token})
        key = _key(provider, "t 1")
        request = Request(RepeatableHeaders([]), b"{}", "access_token=t%201&p=q")
        assert hasattr(provider.verify(request, [key], 0), expected)
    provider = build("cloudevents", {"query_token": True})
    twice = Request(RepeatableHeaders([]), b"{}", "access_token=t&access_token=t")
    also = Request(RepeatableHeaders([("authorization", "Bearer t")]), b"{}", "access_token=t")
    for request in (twice, also):
        given = provider.verify(request, [_key(provider, "t")], 0)
        assert given.reason == "signature_malformed"


@pytest.mark.parametrize("secret", ["xoxb-1", "xoxp-1", "xapp-1"])
def test_a_token_of_slack_is_not_its_signing_secret(secret):
    with pytest.raises(SecretFormatError, match="signing secret"):
        build("slack", {}).load_key(secret)
