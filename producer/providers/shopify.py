"""Shopify's webhooks: `X-Shopify-Hmac-Sha256` in base64 over the raw body.

Neither a time nor any header is signed: TLS protects those. The secret is the app's and so the
same for all its shops: `shop_domain` keeps a connection to one. Sources: Shopify's
documentation, "Deliver webhooks through HTTPS", "Webhooks delivery structure" and "Ignore
duplicate webhooks".
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated, single
from producer.providers.identities import Resource, digest, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Provider, Refused, Request, Unreadable, Verified
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
)
from producer.providers.secret_text import as_bytes, signing_key
from producer.providers.signature_text import from_base64

_SIGNATURE: Final = "x-shopify-hmac-sha256"
_TOPIC: Final = "x-shopify-topic"
_EVENT: Final = "x-shopify-event-id"
_WEBHOOK: Final = "x-shopify-webhook-id"
_SHOP: Final = "x-shopify-shop-domain"
_TRIGGERED: Final = "x-shopify-triggered-at"
_READ: Final = (_TOPIC, _EVENT, _WEBHOOK, _SHOP, _TRIGGERED)
_MAX_CHARS: Final = 44
_DIGEST_BYTES: Final = 32


class ShopifyOptions(ProviderOptions):
    """What a connection may set."""

    shop_domain: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9][a-z0-9.-]*$",
            max_length=253,
            description="take webhooks of this shop alone, such as acme.myshopify.com",
        ),
    ] = None


class _Payload(msgspec.Struct, frozen=True):
    id: str | int | None = None
    updated_at: str | None = None
    inventory_item_id: str | int | None = None
    location_id: str | int | None = None
    shop_id: str | int | None = None


_DECODER: Final = msgspec.json.Decoder(_Payload)


class Shopify(Provider):
    """Verifies and identifies webhooks of a Shopify app or shop."""

    name: ClassVar[str] = "shopify"
    Options: ClassVar[type[BaseModel]] = ShopifyOptions
    guide: ClassVar[Guide] = Guide(
        title="Shopify",
        pages=(
            "Deliver webhooks through HTTPS",
            "Webhooks delivery structure",
            "Ignore duplicate webhooks",
        ),
        scheme="HMAC-SHA256 of the body in base64, `X-Shopify-Hmac-Sha256`",
        secret="The app's client secret: Dev Dashboard → the app → Settings. Of webhooks that are "
        "made in the shop's admin: Settings → Notifications → Webhooks, below the list.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        event_id="`X-Shopify-Event-Id` (or `X-Shopify-Webhook-Id`), the topic and the entity's id: "
        "one action of a merchant may cause several topics, and one topic of two subscriptions is "
        "one event",
        event_type="`shopify.` and `X-Shopify-Topic`: `shopify.orders.create`",
        resource="The topic's first word and `id`: `orders/820982`; inventory levels by item and "
        "location; else the event alone",
        version="`updated_at`, in whole seconds",
        occurred_at="`X-Shopify-Triggered-At`, else `updated_at`",
        options="shop_domain: acme.myshopify.com",
        notes=(
            "Topic, shop and ids are headers that the signature does not cover: end TLS only "
            "where you trust what is behind.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, ShopifyOptions)
        self._shop = options.shop_domain
        self.kept_headers: Sequence[str] = (*_READ, "x-shopify-api-version")

    def load_key(self, secret: str) -> object:
        """The secret's text as it is shown."""
        return as_bytes(secret.strip(), "Shopify's client secret")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC-SHA256 of the raw body; with `shop_domain`, of that shop alone."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        text = single(headers, _SIGNATURE, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        signature = from_base64(text) if len(text) <= _MAX_CHARS else None
        if signature is None or len(signature) != _DIGEST_BYTES or any_repeated(headers, _READ):
            return SIGNATURE_MALFORMED
        verified_by = signing_key(request.body, (signature,), keys)
        # The signature of another shop of the same app is right, and still not this connection's.
        if verified_by is None or (self._shop is not None and headers.get(_SHOP) != self._shop):
            return SIGNATURE_WRONG
        return Verified(verified_by)

    def identify(self, request: Request) -> Identity | Unreadable:
        """Topic and event are in headers, the entity in the body."""
        payload = json_body.decode(_DECODER, request.body)
        if isinstance(payload, Unreadable):
            return payload
        headers = request.headers
        topic = headers.get(_TOPIC)
        resource = _resource(topic, payload)
        event_id = headers.get(_EVENT) or headers.get(_WEBHOOK)
        if event_id:
            event_id = f"{event_id}/{topic}"
            if resource is not None:
                event_id = f"{event_id}/{resource.id}"
        updated_us = None
        if payload.updated_at is not None:
            updated_us = timestamps.iso_to_us(payload.updated_at)
        return identity(
            self.name,
            event_id,
            topic,
            resource,
            version=updated_us,
            occurred_at_us=timestamps.to_us(headers.get(_TRIGGERED), "s") or updated_us,
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """Shopify's headers; the id of the delivery is made from that of the event."""
        assert isinstance(key, bytes)
        signature = b2a_base64(hmac.digest(key, body, "sha256"), newline=False).decode()
        return {
            "content-type": "application/json",
            _SIGNATURE: signature,
            _TOPIC: event_type.removeprefix("shopify.").replace(".", "/"),
            _EVENT: event_id,
            _WEBHOOK: digest(event_id, "webhook"),
            _SHOP: self._shop or "example.myshopify.com",
            "x-shopify-api-version": "2026-10",
        }


def _resource(topic: object, payload: _Payload) -> Resource | None:
    if not isinstance(topic, str):
        return None
    kind = topic.partition("/")[0]
    if payload.id is not None:
        return Resource(kind, payload.id)
    if payload.inventory_item_id is not None:
        return Resource(kind, f"{payload.inventory_item_id}@{payload.location_id}")
    return None if payload.shop_id is None else Resource("shop", payload.shop_id)
