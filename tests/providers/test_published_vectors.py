"""Signatures that others published, and the vendor's own library, agree with ours."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from producer.providers.provider import Refusal, Refused, Verified
from producer.providers.registry import build
from tests.providers.http_request import key, request

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SLACK_BY_OPTIONS = {
    "header": "X-Slack-Signature",
    "prefix": "v0=",
    "signed": "v0:{timestamp}:{body}",
    "timestamp_header": "X-Slack-Request-Timestamp",
    "event_id": "body:/event_id",
    "event_type": "body:/type",
}
PROVIDERS = {
    "standard-webhooks": [("standard_webhooks", {}), ("gitlab", {})],
    "github": [("github", {}), ("meta", {})],
    "slack": [("slack", {}), ("hmac", SLACK_BY_OPTIONS)],
    "meta": [("meta", {}), ("github", {})],
    "shopify": [("shopify", {})],
    "jira": [("jira", {})],
    "hubspot": [("hubspot", {"url": "https://www.example.com/webhook_uri"})],
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["source"])
def test_a_published_signature_is_judged_as_its_publisher_says(vector):
    for name, options in PROVIDERS[vector["scheme"]]:
        if name == "gitlab" and ("public_key" in vector or "svix-id" in vector["headers"]):
            # GitLab has secret keys alone, under the specification's own names.
            continue
        provider = build(name, options)
        active = key(provider, vector.get("secret") or vector["public_key"])
        given = provider.verify(
            request(vector["headers"], vector["body"].encode()), [active], vector.get("now", 0)
        )
        expected = Verified("2026-11") if vector["valid"] else Refused(Refusal.SIGNATURE_WRONG)
        assert given == expected


@pytest.mark.parametrize("text", ['{"type":"a.b"}', '{"name":"Å ☃"}', ""])
def test_what_the_vendors_library_signs_we_verify(text):
    moment = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", moment, text),
    }
    provider = build("standard_webhooks", {})
    given = provider.verify(
        request(headers, text.encode()), [key(provider, SECRET)], moment.timestamp()
    )
    assert given == Verified("2026-11")


def test_what_we_sign_the_vendors_library_verifies():
    provider = build("standard_webhooks", {})
    now_s = datetime.now(UTC).timestamp()
    text = '{"type":"invoice.paid","note":"Å ☃"}'
    headers = dict(
        provider.sign(
            text.encode(),
            provider.load_key(SECRET),
            event_id="msg_2",
            event_type="standard_webhooks.invoice.paid",
            now_s=now_s,
        )
    )
    assert Webhook(SECRET).verify(text, headers) == json.loads(text)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(text + " ", headers)
