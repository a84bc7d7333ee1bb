"""The vendors' own libraries and ours agree, in both directions."""

import base64
import hmac
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qs, urlencode

import pytest
import stripe
from cloudevents.core.bindings.http import (
    from_binary_event,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError
from twilio.request_validator import RequestValidator

from producer.providers.provider import Batch, Refusal, Refused, Request, Verified
from producer.providers.registry import build
from tests.providers.http_request import RepeatableHeaders, key, payload
from tests.providers.subjects import HUBSPOT_OPTIONS, OTHER_WHSEC, TWILIO_OPTIONS, WHSEC

URL = TWILIO_OPTIONS["url"]
TEXTS = ['{"type":"a.b"}', '{"name":"Å ☃ 🎉"}', "", "payload=%7B%7D", "x" * 70_000]
VERIFIED = Verified("2026-11")
WRONG = Refused(Refusal.SIGNATURE_WRONG)


def asked(headers, body, query=""):
    return Request(RepeatableHeaders(headers.items()), body, query)


def now_s():
    return int(datetime.now(UTC).timestamp())


# Stripe


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_stripes_library_signs_we_verify(text):
    header = stripe.WebhookSignature.generate_signature_header(text, WHSEC, 1_700_000_000)
    provider = build("stripe", {})
    request = asked({"stripe-signature": header}, text.encode())
    assert provider.verify(request, [key(provider, WHSEC)], 1_700_000_100) == VERIFIED
    assert provider.verify(request, [key(provider, OTHER_WHSEC)], 1_700_000_100) == WRONG


def test_while_a_secret_of_stripe_is_rolled_either_is_enough():
    made = stripe.WebhookSignature.generate_signature_header
    old, new = (made("{}", secret, 1_700_000_000) for secret in (WHSEC, OTHER_WHSEC))
    both = f"{old},{new.partition(',')[2]},v0={'0' * 64}"
    provider = build("stripe", {})
    for secret in (WHSEC, OTHER_WHSEC):
        request = asked({"stripe-signature": both}, b"{}")
        assert provider.verify(request, [key(provider, secret)], 1_700_000_000) == VERIFIED


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_we_sign_stripes_library_verifies(text):
    provider = build("stripe", {})
    material = provider.load_key(WHSEC)
    headers = provider.sign(text.encode(), material, event_id="e", event_type="t", now_s=now_s())
    assert stripe.WebhookSignature.verify_header(text, headers["stripe-signature"], WHSEC, 300)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(text + " ", headers["stripe-signature"], WHSEC, 300)


# Slack


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_slacks_library_signs_we_verify(text):
    signature = SignatureVerifier("s3cret").generate_signature(timestamp="1700000000", body=text)
    headers = {"x-slack-signature": signature, "x-slack-request-timestamp": "1700000000"}
    provider = build("slack", {})
    request = asked(headers, text.encode())
    assert provider.verify(request, [key(provider, "s3cret")], 1_700_000_000) == VERIFIED
    assert provider.verify(request, [key(provider, "other")], 1_700_000_000) == WRONG


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_we_sign_slacks_library_verifies(text):
    provider = build("slack", {})
    material = provider.load_key("s3cret")
    headers = provider.sign(
        text.encode(), material, event_id="e", event_type="t", now_s=1_700_000_000
    )
    verifier = SignatureVerifier("s3cret", SimpleNamespace(now=lambda: 1_700_000_000))
    assert verifier.is_valid_request(text, headers)
    assert not verifier.is_valid_request(text + " ", headers)


# Twilio

FORMS = [
    {"MessageSid": "SM1", "MessageStatus": "sent", "Body": "Grüße & thanks + 1=2"},
    {"B": "2", "a": "1", "A": "", "é": "☃"},
    {},
]


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("query", ["", "tenant=acme&x=%20y"])
@pytest.mark.parametrize("algorithm", ["HMAC_SHA1", "HMAC_SHA256"])
@pytest.mark.parametrize("port", ["", ":443"])
def test_what_twilios_library_signs_we_verify(form, query, algorithm, port):
    seen = URL.replace(".com/", f".com{port}/") + (f"?{query}" if query else "")
    signature = RequestValidator("t0ken").compute_signature(seen, form, algorithm)
    headers = {
        "x-twilio-signature": signature,
        "x-twilio-webhooks-signature-settings": f"key=k1,algorithm={algorithm}",
    }
    provider = build("twilio", TWILIO_OPTIONS)
    request = asked(headers, urlencode(form).encode(), query)
    assert provider.verify(request, [key(provider, "t0ken")], 0) == VERIFIED
    assert provider.verify(request, [key(provider, "other")], 0) == WRONG
    elsewhere = build("twilio", {"url": URL + "/other"})
    assert elsewhere.verify(request, [key(elsewhere, "t0ken")], 0) == WRONG


def test_a_field_that_is_there_twice_is_signed_as_twilios_library_does():
    class MultiDict(dict):
        def getall(self, name):
            return self[name]

    form = MultiDict({"b": ["2", "1", "2"], "a": ["x"]})
    signature = RequestValidator("t0ken").compute_signature(URL, form)
    provider = build("twilio", TWILIO_OPTIONS)
    request = asked({"x-twilio-signature": signature}, b"b=2&a=x&b=1&b=2")
    assert provider.verify(request, [key(provider, "t0ken")], 0) == VERIFIED


def test_what_we_sign_twilios_library_verifies():
    provider = build("twilio", TWILIO_OPTIONS)
    material = provider.load_key("t0ken")
    validator = RequestValidator("t0ken")
    said = {"event_id": "e", "event_type": "t", "now_s": 0.0}
    for form in FORMS:
        sent = provider.outgoing(urlencode(form).encode(), material, **said)
        assert sent.query == ""
        assert validator.validate(URL, form, sent.headers["x-twilio-signature"])
    text = '[{"note":"Å ☃"}]'
    sent = provider.outgoing(text.encode(), material, **said)
    assert list(parse_qs(sent.query)) == ["bodySHA256"]
    signature = sent.headers["x-twilio-signature"]
    assert validator.validate(f"{URL}?{sent.query}", text, signature)
    assert not validator.validate(f"{URL}?{sent.query}", text + " ", signature)


def test_json_is_verified_by_its_hash_in_the_query():
    text = '{"note":"Å"}'
    validator = RequestValidator("t0ken")
    query = f"a=1&bodySHA256={validator.compute_hash(text)}"
    signature = validator.compute_signature(f"{URL}?{query}", {})
    provider = build("twilio", TWILIO_OPTIONS)
    keys = [key(provider, "t0ken")]
    headers = {"x-twilio-signature": signature}
    assert provider.verify(asked(headers, text.encode(), query), keys, 0) == VERIFIED
    assert provider.verify(asked(headers, b"{}", query), keys, 0) == WRONG
    assert provider.verify(asked(headers, text.encode(), query + "&b=1"), keys, 0) == WRONG
    assert provider.verify(asked(headers, text.encode()), keys, 0) == WRONG


# Standard Webhooks, which GitLab's signing token follows, and Svix


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_the_standard_library_signs_is_gitlabs_too(text):
    moment = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    headers = {
        "webhook-id": "7bafea1a",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(WHSEC).sign("7bafea1a", moment, text),
    }
    provider = build("gitlab", {})
    request = asked(headers, text.encode())
    assert provider.verify(request, [key(provider, WHSEC)], moment.timestamp()) == VERIFIED
    assert provider.verify(request, [key(provider, OTHER_WHSEC)], moment.timestamp()) == WRONG


def test_what_we_sign_as_gitlab_the_standard_library_verifies():
    provider = build("gitlab", {})
    body = payload("gitlab", "issue.open")
    headers = provider.sign(
        body, provider.load_key(WHSEC), event_id="e1", event_type="gitlab.issue", now_s=now_s()
    )
    assert Webhook(WHSEC).verify(body, dict(headers)) == json.loads(body)


def test_svixs_library_and_ours_agree():
    moment = datetime.fromtimestamp(now_s(), UTC)
    signature = SvixWebhook(WHSEC).sign("msg_1", moment, "{}")
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(moment.timestamp())),
        "svix-signature": signature,
    }
    provider = build("standard_webhooks", {})
    keys = [key(provider, WHSEC)]
    assert provider.verify(asked(headers, b"{}"), keys, moment.timestamp()) == VERIFIED
    ours = provider.sign(b"{}", keys[0].material, event_id="m", event_type="t", now_s=now_s())
    SvixWebhook(WHSEC).verify(b"{}", dict(ours))
    with pytest.raises(WebhookVerificationError):
        SvixWebhook(WHSEC).verify(b"{ }", dict(ours))


# CloudEvents

ATTRIBUTES = {
    "id": "a 1/é",
    "source": "/northwind/warehouse",
    "type": "com.example.order.placed",
    "specversion": "1.0",
    "subject": "order 1001 / ü",
    "time": datetime(2026, 11, 23, 10, 0, tzinfo=UTC),
    "datacontenttype": "application/json",
}


@pytest.mark.parametrize("to_http", [to_binary_event, to_structured_event])
def test_what_the_cloudevents_library_sends_we_read(to_http):
    message = to_http(CloudEvent(ATTRIBUTES, {"state": "placed"}))
    provider = build("cloudevents", {})
    headers = {name.lower(): value for name, value in message.headers.items()}
    request = asked({**headers, "authorization": "bearer t"}, message.body)
    assert provider.verify(request, [key(provider, "t")], 0) == VERIFIED
    identity = provider.identify(request)
    assert identity.event_id == "/northwind/warehouse#a 1/é"
    assert identity.event_type == "cloudevents.com.example.order.placed"
    assert identity.resource_type == "subject"
    assert identity.resource_id == "/northwind/warehouse#order 1001 / ü"
    assert identity.occurred_at_us == 1_795_428_000_000_000


def test_what_we_send_the_cloudevents_library_reads():
    provider = build("cloudevents", {})
    material = provider.load_key("t")
    said = {"event_id": "e 1", "event_type": "cloudevents.a.b", "now_s": 0.0}
    body = payload("cloudevents", "order.placed")
    message = SimpleNamespace(headers=provider.sign(body, material, **said), body=body)
    assert from_structured_event(message).get_id() == "3f1c-0001"
    message = SimpleNamespace(headers=provider.sign(b'{"a":1}', material, **said), body=b'{"a":1}')
    event = from_binary_event(message)
    assert (event.get_id(), event.get_type()) == ("e 1", "a.b")


def test_each_event_of_our_batch_is_one_of_the_librarys():
    provider = build("cloudevents", {})
    body = payload("cloudevents", "batch")
    said = {"event_id": "e", "event_type": "t", "now_s": 0.0}
    headers = provider.sign(body, provider.load_key("t"), **said)
    batch = provider.identify(asked(headers, body))
    assert type(batch) is Batch
    for part in batch.parts:
        message = SimpleNamespace(headers={"content-type": part.content_type}, body=part.payload)
        assert part.identity.event_id.endswith("#" + from_structured_event(message).get_id())


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("v1=" + "a" * 64, Refusal.TIMESTAMP_MISSING),
        ("t=1700000000,t=1700000000,v1=" + "a" * 64, Refusal.TIMESTAMP_MALFORMED),
        ("t=1.7e9,v1=" + "a" * 64, Refusal.TIMESTAMP_MALFORMED),
        ("t=٣,v1=" + "a" * 64, Refusal.TIMESTAMP_MALFORMED),
        ("t=1700000000", Refusal.SIGNATURE_MALFORMED),
        ("t=1700000000,v0=" + "a" * 64, Refusal.SIGNATURE_MALFORMED),
        ("t=1700000000,v1=" + "g" * 64, Refusal.SIGNATURE_MALFORMED),
        ("t=1700000000,v1=" + "a" * 63, Refusal.SIGNATURE_MALFORMED),
        ("t=1700000000" + ",v1=" * 31 + ",v1=" + "a" * 64, Refusal.SIGNATURE_MALFORMED),
        ("t=1700000000,v1=" + "a" * 64, Refusal.SIGNATURE_WRONG),
    ],
)
def test_a_header_of_stripe_that_is_none_says_why(header, reason):
    provider = build("stripe", {})
    request = asked({"stripe-signature": header}, b"{}")
    assert provider.verify(request, [key(provider, WHSEC)], 1_700_000_000) == Refused(reason)


# Calendly signs as Stripe does, under a name of its own


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_stripes_library_signs_is_calendlys_too(text):
    header = stripe.WebhookSignature.generate_signature_header(text, "k3y", 1_700_000_000)
    provider = build("calendly", {})
    request = asked({"calendly-webhook-signature": header}, text.encode())
    assert provider.verify(request, [key(provider, "k3y")], 1_700_000_100) == VERIFIED
    assert provider.verify(request, [key(provider, "other")], 1_700_000_100) == WRONG
    assert provider.verify(request, [key(provider, "k3y")], 1_700_000_400) == Refused(
        Refusal.TIMESTAMP_OUTSIDE_WINDOW
    )


# The formulas that the vendors' pages show, by the standard library alone


def mac(text: str, how: str = "hex") -> str:
    digest = hmac.new(b"s3cret", text.encode(), "sha256")
    return digest.hexdigest() if how == "hex" else base64.b64encode(digest.digest()).decode()


FORMULAS = {
    "typeform": lambda body: {"typeform-signature": f"sha256={mac(body, 'base64')}"},
    "pagerduty": lambda body: {"x-pagerduty-signature": f"v1={'0' * 64},v1={mac(body)}"},
    "jira": lambda body: {"x-hub-signature": f"sha256={mac(body)}"},
    "zendesk": lambda body: {
        "x-zendesk-webhook-signature": mac(f"2023-11-14T22:13:20Z{body}", "base64"),
        "x-zendesk-webhook-signature-timestamp": "2023-11-14T22:13:20Z",
    },
    "hubspot": lambda body: {
        "x-hubspot-signature-v3": mac(f"POST{HUBSPOT_OPTIONS['url']}{body}1700000000000", "base64"),
        "x-hubspot-request-timestamp": "1700000000000",
    },
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_the_vendors_formula_signs_we_verify(name, text):
    provider = build(name, HUBSPOT_OPTIONS if name == "hubspot" else {})
    headers = FORMULAS[name](text)
    keys = [key(provider, "s3cret")]
    assert provider.verify(asked(headers, text.encode()), keys, 1_700_000_000) == VERIFIED
    assert provider.verify(asked(headers, text.encode() + b" "), keys, 1_700_000_000) == WRONG
    other = [key(provider, "other")]
    assert provider.verify(asked(headers, text.encode()), other, 1_700_000_000) == WRONG


def test_hubspot_signs_the_query_and_the_method_too():
    provider = build("hubspot", HUBSPOT_OPTIONS)
    url = HUBSPOT_OPTIONS["url"]
    headers = {
        "x-hubspot-signature-v3": mac(f"POST{url}?a=1[]1700000000000", "base64"),
        "x-hubspot-request-timestamp": "1700000000000",
    }
    keys = [key(provider, "s3cret")]
    assert provider.verify(asked(headers, b"[]", "a=1"), keys, 1_700_000_000) == VERIFIED
    assert provider.verify(asked(headers, b"[]"), keys, 1_700_000_000) == WRONG
    put = Request(RepeatableHeaders(headers.items()), b"[]", "a=1", method="PUT")
    assert provider.verify(put, keys, 1_700_000_000) == WRONG
