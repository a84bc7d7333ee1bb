"""Realistic webhooks of each provider, with invented names: for `demo`, `send` and a first look."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from hookline.commands import provider_samples
from hookline.commands.sample_parts import PEOPLE, Sample, in_json, iso, some_uuid

_REPOSITORIES: Final = ((51_001, "northwind/shop"), (51_002, "northwind/api"))
_ISSUE_ACTIONS: Final = ("opened", "labeled", "assigned", "edited", "closed", "reopened")
_INVOICE_STATES: Final = ("created", "finalized", "paid", "refunded")
_ORDER_STATES: Final = ("placed", "paid", "packed", "shipped", "delivered")


def sample(provider: str, draw: random.Random, now_s: float, entities: int = 8) -> Sample | None:
    """A webhook about one of so many entities; None for a provider without samples."""
    make = _MAKERS.get(provider)
    return None if make is None else make(draw, now_s, entities)


def _github(draw: random.Random, now_s: float, entities: int) -> Sample:
    repository_id, name = draw.choice(_REPOSITORIES)
    number = draw.randint(1, entities)
    action = draw.choice(_ISSUE_ACTIONS)
    person = draw.choice(PEOPLE)
    body = {
        "action": action,
        "issue": {
            "id": repository_id * 1000 + number,
            "number": number,
            "title": f"Checkout fails for basket {number}",
            "state": "closed" if action == "closed" else "open",
            "user": {"login": person, "id": 700 + PEOPLE.index(person), "type": "User"},
            "labels": [{"name": "bug"}, {"name": draw.choice(["p1", "p2"])}],
            "comments": draw.randint(0, 9),
            "created_at": iso(now_s - 86_400),
            "updated_at": iso(now_s),
            "body": "Steps to reproduce: add two items, remove one, pay.",
        },
        "repository": {
            "id": repository_id,
            "name": name.split("/")[1],
            "full_name": name,
            "private": True,
            "owner": {"login": "northwind", "id": 9001, "type": "Organization"},
        },
        "organization": {"login": "northwind", "id": 9001},
        "sender": {"login": person, "id": 700 + PEOPLE.index(person), "type": "User"},
    }
    return in_json(str(some_uuid(draw)), f"github.issues.{action}", body)


def _standard_webhooks(draw: random.Random, now_s: float, entities: int) -> Sample:
    state = draw.choice(_INVOICE_STATES)
    number = draw.randint(1, entities)
    body = {
        "type": f"invoice.{state}",
        "timestamp": iso(now_s),
        "data": {
            "id": f"inv_{number:04d}",
            "customer": f"cus_{number % 5:03d}",
            "amount_cents": draw.randint(500, 90_000),
            "currency": "EUR",
            "lines": [{"sku": f"SKU-{n}", "quantity": draw.randint(1, 4)} for n in range(3)],
        },
    }
    return in_json(f"msg_{some_uuid(draw).hex[:24]}", f"standard_webhooks.invoice.{state}", body)


def _hmac(draw: random.Random, now_s: float, entities: int) -> Sample:
    state = draw.choice(_ORDER_STATES)
    number = draw.randint(1, entities)
    event_id = f"evt_{some_uuid(draw).hex[:20]}"
    body = {
        "id": event_id,
        "type": f"order.{state}",
        "created_at": iso(now_s),
        "data": {
            "id": f"order-{1000 + number}",
            "state": state,
            "total_cents": draw.randint(900, 40_000),
            "items": [{"sku": f"SKU-{n}", "quantity": 1} for n in range(draw.randint(1, 4))],
            "shipping": {"city": draw.choice(["Graz", "Turin", "Lyon"]), "express": False},
        },
    }
    return in_json(event_id, f"hmac.order.{state}", body)


def _token(draw: random.Random, now_s: float, entities: int) -> Sample:
    # A system that cannot sign sends what one that can would send.
    signed = _hmac(draw, now_s, entities)
    event_type = "token" + signed.event_type.removeprefix("hmac")
    return Sample(event_id=signed.event_id, event_type=event_type, body=signed.body)


_MAKERS: Final[dict[str, Callable[[random.Random, float, int], Sample]]] = {
    "github": _github,
    "standard_webhooks": _standard_webhooks,
    "hmac": _hmac,
    "token": _token,
    **provider_samples.MAKERS,
}
