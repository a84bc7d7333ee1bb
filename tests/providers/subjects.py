"""Every provider with options, a secret, another secret and a body that it can identify."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from credentials.key_ring import Key
from producer.providers.provider import Provider, Request
from producer.providers.registry import build
from tests.providers.http_request import (
    NOW_S,
    ORDER_OPTIONS,
    PAYLOADS,
    TICKET_OPTIONS,
    RepeatableHeaders,
)

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_WHSEC = "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA=="
TOKEN_OPTIONS: dict[str, Any] = {
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_id": "body:/data/id",
    "occurred_at": "body:/created_at",
}
TWILIO_OPTIONS = {"url": "https://hooks.example.com/webhooks/acme-twilio"}
HUBSPOT_OPTIONS = {"url": "https://hooks.example.com/webhooks/acme-hubspot"}


class Subject(NamedTuple):
    """`proof` is the header that proves; None where the proof is in the body."""

    name: str
    provider: str
    options: Mapping[str, Any]
    secret: str
    other: str
    payload: str
    proof: str | None
    timestamped: bool = False

    def build(self) -> Provider:
        return build(self.provider, self.options)

    def body(self) -> bytes:
        return (PAYLOADS / self.provider / self.payload).read_bytes()

    def key(self, provider: Provider, secret: str | None = None, name: str = "2026-11") -> Key:
        return Key(name, provider.load_key(self.secret if secret is None else secret))

    def request(
        self,
        provider: Provider,
        body: bytes | None = None,
        *,
        secret: str | None = None,
        now_s: float = NOW_S,
        changed: Mapping[str, str | list[str] | None] | None = None,
    ) -> Request:
        """As the system would send it, with some headers changed, repeated or (None) left out."""
        sent = provider.outgoing(
            self.body() if body is None else body,
            self.key(provider, secret).material,
            event_id="evt-1",
            event_type=f"{self.provider}.orders.create",
            now_s=now_s,
        )
        headers: dict[str, str | list[str] | None] = {**sent.headers, **(changed or {})}
        pairs = [
            (name, value)
            for name, values in headers.items()
            if values is not None
            for value in ([values] if isinstance(values, str) else values)
        ]
        return Request(RepeatableHeaders(pairs), sent.body, sent.query, bytes(16))


SUBJECTS = (
    Subject("github", "github", {}, "s", "t", "issues.opened.json", "x-hub-signature-256"),
    Subject(
        *("standard", "standard_webhooks", {}, WHSEC, OTHER_WHSEC, "invoice.paid.json"),
        *("webhook-signature", True),
    ),
    Subject(
        *("hmac", "hmac", ORDER_OPTIONS, "s", "t", "order.created.json", "x-signature", True),
    ),
    Subject(
        "hmac-b64", "hmac", TICKET_OPTIONS, "s", "t", "ticket.changed.json", "x-desk-signature"
    ),
    Subject("gitlab-token", "gitlab", {}, "s3cret", "other", "issue.open.json", "x-gitlab-token"),
    Subject(
        *("gitlab-signed", "gitlab", {}, WHSEC, OTHER_WHSEC, "push.json"),
        *("webhook-signature", True),
    ),
    Subject(
        "stripe", "stripe", {}, WHSEC, "whsec_o", "invoice.paid.json", "stripe-signature", True
    ),
    Subject("shopify", "shopify", {}, "s", "t", "orders.create.json", "x-shopify-hmac-sha256"),
    Subject("slack", "slack", {}, "s", "t", "message.json", "x-slack-signature", True),
    Subject("slack-form", "slack", {}, "s", "t", "block_actions.form", "x-slack-signature", True),
    Subject(
        *("twilio", "twilio", TWILIO_OPTIONS, "s", "t", "message.delivered.form"),
        "x-twilio-signature",
    ),
    Subject(
        *("twilio-json", "twilio", TWILIO_OPTIONS, "s", "t", "event_streams.json"),
        "x-twilio-signature",
    ),
    Subject("graph", "microsoft_graph", {}, "s", "t", "three_notifications.json", None),
    Subject("meta", "meta", {}, "s", "t", "page.batch.json", "x-hub-signature-256"),
    Subject("meta-wa", "meta", {}, "s", "t", "whatsapp.message.json", "x-hub-signature-256"),
    Subject("ce-bearer", "cloudevents", {}, "s", "t", "order.placed.json", "authorization"),
    Subject(
        *("ce-hmac", "cloudevents", {"authentication": "hmac", "version_attribute": "sequence"}),
        *("s", "t", "batch.json", "x-signature-256"),
    ),
    Subject("token", "token", TOKEN_OPTIONS, "s", "t", "order.created.json", "authorization"),
    Subject(
        *("basic", "token", {**TOKEN_OPTIONS, "scheme": "basic"}, "u:s", "u:t"),
        *("order.created.json", "authorization"),
    ),
    Subject(
        *("key", "token", {**TOKEN_OPTIONS, "scheme": "header", "header": "X-Api-Key"}, "s", "t"),
        *("order.created.json", "x-api-key"),
    ),
    Subject(
        *("calendly", "calendly", {}, "s", "t", "invitee.created.json"),
        *("calendly-webhook-signature", True),
    ),
    Subject(
        *("hubspot", "hubspot", HUBSPOT_OPTIONS, "s", "t", "three_events.json"),
        *("x-hubspot-signature-v3", True),
    ),
    Subject("jira", "jira", {}, "s", "t", "issue_updated.json", "x-hub-signature"),
    Subject(
        *("pagerduty", "pagerduty", {}, "s", "t", "incident.triggered.json"),
        "x-pagerduty-signature",
    ),
    Subject("typeform", "typeform", {}, "s", "t", "form_response.json", "typeform-signature"),
    Subject(
        *("zendesk", "zendesk", {}, "s", "t", "ticket.created.json"),
        *("x-zendesk-webhook-signature", True),
    ),
)


def json_body(value: Any) -> bytes:
    return json.dumps(value).encode()
