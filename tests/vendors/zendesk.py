"""Zendesk's webhooks API and the events of tickets.

From developer.zendesk.com: "Webhooks API", "Security and authentication", "Verifying webhook
authenticity", "Ticket events". API tokens sign in as `{email}/token:{token}`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import secrets
from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

import msgspec

from tests.outgoing.certificates import Authority
from tests.vendors.delivery import Deliveries
from tests.vendors.serving import Answer, Asked, Vendor

_WEBHOOK = re.compile(r"/api/v2/webhooks/([0-9A-Z]+)(/signing_secret)?")


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who signs in with a token."""

    email: str
    token: str
    administrator: bool = True


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook of one Zendesk."""

    id: str
    subdomain: str
    endpoint: str
    secret: str
    subscriptions: tuple[str, ...]
    name: str


class Zendesk(Vendor):
    """`*.zendesk.com`; a name that nobody has is answered too, by 404."""

    system = "zendesk"
    hosts = ("*.zendesk.com",)
    kept = frozenset({"id", "secret", "algorithm", "endpoint"})

    def __init__(self, authority: Authority, deliveries: Deliveries) -> None:
        self.agents: dict[str, list[Agent]] = {}
        self.webhooks: dict[str, Webhook] = {}
        self._tickets = count(35_436)
        super().__init__(authority, deliveries)

    def present(self) -> list[str]:
        """See Vendor."""
        return list(self.webhooks)

    def answer(self, asked: Asked) -> Answer:
        """See Vendor."""
        subdomain = asked.host.partition(".")[0]
        if subdomain not in self.agents:
            title = f"No help desk at {asked.host}"
            message = "There is no help desk configured at this address. It may be misspelt."
            return Answer(status=404, json={"error": {"title": title, "message": message}})
        agent = self._agent(subdomain, asked.headers.get("authorization", ""))
        if agent is None:
            return Answer(status=401, json={"error": "Couldn't authenticate you"})
        if not agent.administrator:
            told = "You do not have access to this page. Please contact the account owner."
            return Answer(status=403, json={"error": {"title": "Forbidden", "message": told}})
        if asked.path == "/api/v2/webhooks":
            if asked.method == "POST":
                return self._create(asked, subdomain)
            mine = [one for one in self.webhooks.values() if one.subdomain == subdomain]
            meta = {"has_more": False, "after_cursor": "", "before_cursor": ""}
            return Answer(json={"webhooks": [_told(one) for one in mine], "meta": meta})
        found = _WEBHOOK.fullmatch(asked.path)
        webhook = self.webhooks.get(found[1]) if found is not None else None
        if found is None or webhook is None or webhook.subdomain != subdomain:
            missing = {"code": "ResourceNotFound", "title": "Resource not found"}
            return Answer(status=404, json={"errors": [missing]})
        if found[2] is not None:
            if asked.method == "POST":
                # "Reset Webhook Signing Secret".
                webhook = msgspec.structs.replace(webhook, secret=_new_secret())
                self.webhooks[webhook.id] = webhook
            secret = {"algorithm": "SHA256", "secret": webhook.secret}
            return Answer(json={"signing_secret": secret})
        if asked.method == "DELETE":
            del self.webhooks[webhook.id]
            return Answer(status=204)
        return Answer(json={"webhook": _told(webhook)})

    def _agent(self, subdomain: str, authorization: str) -> Agent | None:
        scheme, _, value = authorization.partition(" ")
        try:
            pair = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, _, password = pair.partition(":")
        for agent in self.agents[subdomain]:
            known = f"{agent.email}/token" == user and agent.token == password
            if scheme.lower() == "basic" and known:
                return agent
        return None

    def _create(self, asked: Asked, subdomain: str) -> Answer:
        wanted = (asked.json() or {}).get("webhook") or {}
        needed = ("name", "status", "endpoint", "http_method", "request_format")
        missing = [name for name in needed if not wanted.get(name)]
        if missing or not str(wanted.get("endpoint")).startswith("https://"):
            told = {"code": "InvalidWebhook", "title": f"{missing or 'endpoint'} is not valid"}
            return Answer(status=400, json={"errors": [told]})
        webhook = Webhook(
            id=f"01{uuid4().hex[:24].upper()}",
            subdomain=subdomain,
            endpoint=wanted["endpoint"],
            secret=_new_secret(),
            subscriptions=tuple(wanted.get("subscriptions") or ()),
            name=wanted["name"],
        )
        self.webhooks[webhook.id] = webhook
        return Answer(status=201, json={"webhook": _told(webhook)})

    def make_ticket(self, subdomain: str, subject: str = "Connection test") -> int:
        """Somebody makes a ticket: all who asked are told. How many were."""
        number = next(self._tickets)
        event = "zen:event-type:ticket.created"
        told = [
            one
            for one in list(self.webhooks.values())
            if one.subdomain == subdomain and event in one.subscriptions
        ]
        for webhook in told:
            headers, body = self.signed(webhook, event, ticket(number, subject))
            self.deliveries.later(webhook.endpoint, event, headers, body)
        return len(told)

    def signed(self, webhook: Webhook, event: str, more: object) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a webhook."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        payload = {
            "account_id": 22_129_848,
            "id": str(uuid4()),
            "type": event,
            "zendesk_event_version": "2022-11-06",
            "time": now,
            **json.loads(json.dumps(more)),
        }
        body = json.dumps(payload).encode()
        digest = hmac.digest(webhook.secret.encode(), now.encode() + body, "sha256")
        headers = {
            "user-agent": "Zendesk Webhook",
            "x-zendesk-account-id": "22129848",
            "x-zendesk-webhook-id": webhook.id,
            "x-zendesk-webhook-invocation-id": str(uuid4()),
            "x-zendesk-webhook-signature": base64.b64encode(digest).decode(),
            "x-zendesk-webhook-signature-timestamp": now,
        }
        return headers, body


def ticket(number: int, subject: str) -> dict[str, object]:
    """The part of an event that is a ticket's."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    detail = {
        "id": str(number), "subject": subject, "status": "NEW", "priority": "NORMAL",
        "created_at": now, "updated_at": now, "type": "TASK", "via": {"channel": "web_service"},
    }  # fmt: skip
    return {"subject": f"zen:ticket:{number}", "detail": detail, "event": {}}


def _new_secret() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _told(webhook: Webhook) -> dict[str, object]:
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": "active",
        "endpoint": webhook.endpoint,
        "http_method": "POST",
        "request_format": "json",
        "subscriptions": list(webhook.subscriptions),
        "created_at": "2026-11-30T10:00:00Z",
        "created_by": "1234567",
    }
