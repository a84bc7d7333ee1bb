"""Signed webhooks whose type says what becomes of them (see `failing_handlers`)."""

from __future__ import annotations

import json
import time
from uuid import uuid4

import httpx

from producer.providers.registry import build

SECRET = "whsec_" + "bWFya2VkLXNlY3JldC1vZi10aGUtdGVzdHM="
CONNECTION = {
    "id": "acme-shop",
    "tenant": "acme",
    "provider": "standard_webhooks",
    "secrets": [{"name": "2026-11", "ref": "env:ACME_SHOP_SECRET"}],
}


def post(
    url: str, what: str = "works", *, event_id: str = "", order: str = "", secret: str = SECRET
) -> httpx.Response:
    """The answer to `order.{what}` of a new order, or of a given one."""
    provider = build("standard_webhooks", {})
    event_id = event_id or f"msg_{uuid4().hex}"
    body = json.dumps(
        {
            "type": f"order.{what}",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {"id": order or uuid4().hex[:12]},
        }
    ).encode()
    sent = provider.outgoing(
        body,
        provider.load_key(secret),
        event_id=event_id,
        event_type=f"standard_webhooks.order.{what}",
        now_s=time.time(),
    )
    return httpx.post(
        f"{url}/webhooks/{CONNECTION['id']}", content=sent.body, headers=dict(sent.headers)
    )
