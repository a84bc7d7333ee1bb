"""Shopify: a shop's consent page, OAuth's token endpoint, and the GraphQL Admin API's webhooks.

From shopify.dev: "Authorization code grant", "Use expiring offline access tokens",
"webhookSubscriptionCreate", "API response status and error codes", "Deliver webhooks through
HTTPS".
"""

from __future__ import annotations

import base64
import hmac
import html
import json
import re
import secrets
import time
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import msgspec

from tests.outgoing.certificates import Authority
from tests.vendors.delivery import Deliveries
from tests.vendors.serving import Answer, Asked, Vendor

VERSION = "2026-07"
_CREATED = re.compile(r"(\w+): webhookSubscriptionCreate\(topic: (\w+)")


class App(msgspec.Struct, frozen=True, kw_only=True):
    """An app that merchants install. Its secret signs webhooks too."""

    client_id: str
    client_secret: str
    redirect_uri: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook of one shop."""

    id: str
    shop: str
    topic: str
    uri: str


class Shopify(Vendor):
    """`*.myshopify.com`."""

    system = "shopify"
    hosts = ("*.myshopify.com",)
    kept = frozenset({"id", "access_token", "refresh_token", "scope", "myshopifyDomain"})

    def __init__(self, authority: Authority, deliveries: Deliveries) -> None:
        self.shops: set[str] = set()
        self.app: App | None = None
        self.subscriptions: dict[str, Subscription] = {}
        #: Whether codes have always been used by somebody else before.
        self.spent = False
        #: What the merchant leaves out of the scopes, as if the app were installed with fewer.
        self.withheld: frozenset[str] = frozenset()
        self.tokens: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.codes: list[str] = []
        #: Every token that was ever given.
        self.given: list[str] = []
        self._codes: dict[str, tuple[str, tuple[str, ...], float]] = {}
        self._ids = count(1_163_440_431)
        super().__init__(authority, deliveries)

    def present(self) -> list[str]:
        """See Vendor."""
        return list(self.subscriptions)

    def answer(self, asked: Asked) -> Answer:
        """See Vendor."""
        shop = asked.host.partition(".")[0]
        if shop not in self.shops:
            return Answer(status=404, text="<h1>Sorry, this shop is currently unavailable.</h1>")
        if asked.path == "/admin/oauth/authorize":
            return self._consent(asked)
        if asked.path == "/admin/oauth/grant":
            return self._granted(asked, shop)
        if asked.path == "/admin/oauth/access_token" and asked.method == "POST":
            return self._token(asked, shop)
        if asked.path == f"/admin/api/{VERSION}/graphql.json" and asked.method == "POST":
            return self._graphql(asked, shop)
        return Answer(status=404, json={"errors": "Not Found"})

    # OAuth.

    def _consent(self, asked: Asked) -> Answer:
        query = dict(asked.query)
        app = self.app
        if app is None or query.get("client_id") != app.client_id:
            return Answer(status=400, text="<h1>Oauth error invalid_request: no such app</h1>")
        if query.get("redirect_uri") != app.redirect_uri:
            told = "The redirect_uri is not whitelisted"
            return Answer(status=400, text=f"<h1>Oauth error invalid_request: {told}</h1>")
        scopes = "".join(f"<li>{html.escape(s)}</li>" for s in query.get("scope", "").split(","))
        links = {
            name: "/admin/oauth/grant?" + urlencode({**query, "answer": name})
            for name in ("install", "cancel")
        }
        return Answer(
            text=f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Install app</title>
<style>body {{ font: 16px/1.5 system-ui; max-width: 34em; margin: 3em auto; padding: 0 1em }}
a {{ display: inline-block; padding: .6em 1.2em; border-radius: .5em; color: #fff;
background: #004c3f; margin-right: 1em }}</style>
<main><h1>Install Northwind</h1><p>Northwind wants to access your shop:</p><ul>{scopes}</ul>
<p><a id="install" href="{html.escape(links["install"])}">Install</a>
<a id="cancel" href="{html.escape(links["cancel"])}">Cancel</a></p></main></html>"""
        )

    def _granted(self, asked: Asked, shop: str) -> Answer:
        query = asked.query
        assert self.app is not None
        given = {"shop": f"{shop}.myshopify.com", "state": query.get("state", "")}
        if query.get("answer") == "install":
            scopes = tuple(s for s in query.get("scope", "").split(",") if s not in self.withheld)
            code = secrets.token_hex(16)
            self._codes[code] = (shop, scopes, time.monotonic() + 60)
            self.codes.append(code)
            given |= {"code": code, "timestamp": str(int(time.time()))}
        else:
            given |= {"error": "access_denied", "error_description": "The merchant cancelled"}
        message = "&".join(f"{name}={given[name]}" for name in sorted(given))
        digest = hmac.digest(self.app.client_secret.encode(), message.encode(), "sha256").hex()
        location = f"{self.app.redirect_uri}?{urlencode({**given, 'hmac': digest})}"
        return Answer(status=302, headers={"location": location})

    def _token(self, asked: Asked, shop: str) -> Answer:
        fields = asked.form() if b"=" in asked.body[:200] else asked.json() or {}
        app = self.app
        if app is None or (fields.get("client_id"), fields.get("client_secret")) != (
            app.client_id,
            app.client_secret,
        ):
            return Answer(status=400, json={"error": "invalid_client"})
        # For one use, whatever comes of it.
        found = self._codes.pop(fields.get("code", ""), None)
        if self.spent or found is None or found[0] != shop or found[2] < time.monotonic():
            told = "The authorization code was not found or was already used"
            return Answer(status=400, json={"error": "invalid_request", "error_description": told})
        token = f"shpat_{secrets.token_hex(16)}"
        self.tokens[token] = (shop, found[1])
        self.given.append(token)
        answer: dict[str, Any] = {"access_token": token, "scope": ",".join(found[1])}
        if fields.get("expiring") == "1":
            refresh = f"shprt_{secrets.token_hex(16)}"
            answer |= {"expires_in": 3600, "refresh_token": refresh}
            answer["refresh_token_expires_in"] = 7_776_000
            self.given.append(refresh)
        return Answer(json=answer)

    # The Admin API.

    def _graphql(self, asked: Asked, shop: str) -> Answer:
        owner, _ = self.tokens.get(asked.headers.get("x-shopify-access-token", ""), ("", ()))
        if owner != shop:
            told = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return Answer(status=401, json={"errors": told})
        document = asked.json() or {}
        query, variables = document.get("query", ""), document.get("variables") or {}
        if "webhookSubscriptionDelete" in query:
            found = self.subscriptions.pop(variables.get("id", ""), None)
            wrong = [] if found else [{"field": ["id"], "message": "Webhook does not exist"}]
            gone = {"deletedWebhookSubscriptionId": found.id if found else None}
            return Answer(
                json={"data": {"webhookSubscriptionDelete": {**gone, "userErrors": wrong}}}
            )
        if "webhookSubscriptionCreate" in query:
            uri = (variables.get("hook") or {}).get("uri", "")
            made = {
                alias: self._subscribe(shop, topic, uri) for alias, topic in _CREATED.findall(query)
            }
            return Answer(json={"data": made})
        named = {"id": "gid://shopify/Shop/660011", "name": shop.replace("-", " ").title()}
        return Answer(json={"data": {"shop": {**named, "myshopifyDomain": asked.host}}})

    def _subscribe(self, shop: str, topic: str, uri: str) -> dict[str, Any]:
        message = ""
        if not uri.startswith("https://"):
            message = "Address protocol http:// is not supported"
        elif any((one.shop, one.topic, one.uri) == (shop, topic, uri)
                 for one in self.subscriptions.values()):  # fmt: skip
            message = "Address for this topic has already been taken"
        if message:
            wrong = {"field": ["webhookSubscription", "uri"], "message": message}
            return {"webhookSubscription": None, "userErrors": [wrong]}
        made = Subscription(
            id=f"gid://shopify/WebhookSubscription/{next(self._ids)}",
            shop=shop,
            topic=topic,
            uri=uri,
        )
        self.subscriptions[made.id] = made
        return {"webhookSubscription": {"id": made.id}, "userErrors": []}

    def edit_product(self, shop: str, title: str = "Darjeeling") -> int:
        """The merchant saves a product: all who asked are told. How many were."""
        told = [
            one
            for one in list(self.subscriptions.values())
            if (one.shop, one.topic) == (shop, "PRODUCTS_UPDATE")
        ]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        product = {"id": 788_032_119_674_292_922, "title": title, "updated_at": now, "tags": "test"}
        for one in told:
            headers, body = self.signed(one, product)
            self.deliveries.later(one.uri, "products/update", headers, body)
        return len(told)

    def signed(self, to: Subscription, payload: object) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a webhook."""
        assert self.app is not None
        body = json.dumps(payload).encode()
        digest = hmac.digest(self.app.client_secret.encode(), body, "sha256")
        headers = {
            "x-shopify-topic": to.topic.lower().replace("_", "/"),
            "x-shopify-hmac-sha256": base64.b64encode(digest).decode(),
            "x-shopify-shop-domain": f"{to.shop}.myshopify.com",
            "x-shopify-api-version": VERSION,
            "x-shopify-webhook-id": str(uuid4()),
            "x-shopify-event-id": str(uuid4()),
            "x-shopify-triggered-at": datetime.now(UTC).isoformat(),
        }
        return headers, body
