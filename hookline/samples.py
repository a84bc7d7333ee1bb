"""Realistic webhooks of each provider, with invented names: for `demo`, `send` and a first look."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

_PEOPLE: Final = ("mira", "tomas", "aiko", "lena", "samir", "noor")
_REPOSITORIES: Final = ((51_001, "northwind/shop"), (51_002, "northwind/api"))
_ISSUE_ACTIONS: Final = ("opened", "labeled", "assigned", "edited", "closed", "reopened")
_INVOICE_STATES: Final = ("created", "finalized", "paid", "refunded")
_ORDER_STATES: Final = ("placed", "paid", "packed", "shipped", "delivered")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook before it is signed. `event_type` is as the provider's module names it."""

    event_id: str
    event_type: str
    body: bytes


def sample(provider: str, draw: random.Random, now_s: float, entities: int = 8) -> Sample | None:
    """A webhook about one of so many entities; None for a provider without samples."""
    make = _MAKERS.get(provider)
    return None if make is None else make(draw, now_s, entities)


def _github(draw: random.Random, now_s: float, entities: int) -> Sample:
    repository_id, name = draw.choice(_REPOSITORIES)
    number = draw.randint(1, entities)
    action = draw.choice(_ISSUE_ACTIONS)
    person = draw.choice(_PEOPLE)
    body = {
        "action": action,
        "issue": {
            "id": repository_id * 1000 + number,
            "number": number,
            "title": f"Checkout fails for basket {number}",
            "state": "closed" if action == "closed" else "open",
            "user": {"login": person, "id": 700 + _PEOPLE.index(person), "type": "User"},
            "labels": [{"name": "bug"}, {"name": draw.choice(["p1", "p2"])}],
            "comments": draw.randint(0, 9),
            "created_at": _time(now_s - 86_400),
            "updated_at": _time(now_s),
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
        "sender": {"login": person, "id": 700 + _PEOPLE.index(person), "type": "User"},
    }
    return _sample(str(_uuid(draw)), f"github.issues.{action}", body)


def _standard_webhooks(draw: random.Random, now_s: float, entities: int) -> Sample:
    state = draw.choice(_INVOICE_STATES)
    number = draw.randint(1, entities)
    body = {
        "type": f"invoice.{state}",
        "timestamp": _time(now_s),
        "data": {
            "id": f"inv_{number:04d}",
            "customer": f"cus_{number % 5:03d}",
            "amount_cents": draw.randint(500, 90_000),
            "currency": "EUR",
            "lines": [{"sku": f"SKU-{n}", "quantity": draw.randint(1, 4)} for n in range(3)],
        },
    }
    return _sample(f"msg_{_uuid(draw).hex[:24]}", f"standard_webhooks.invoice.{state}", body)


def _hmac(draw: random.Random, now_s: float, entities: int) -> Sample:
    state = draw.choice(_ORDER_STATES)
    number = draw.randint(1, entities)
    event_id = f"evt_{_uuid(draw).hex[:20]}"
    body = {
        "id": event_id,
        "type": f"order.{state}",
        "created_at": _time(now_s),
        "data": {
            "id": f"order-{1000 + number}",
            "state": state,
            "total_cents": draw.randint(900, 40_000),
            "items": [{"sku": f"SKU-{n}", "quantity": 1} for n in range(draw.randint(1, 4))],
            "shipping": {"city": draw.choice(["Graz", "Turin", "Lyon"]), "express": False},
        },
    }
    return _sample(event_id, f"hmac.order.{state}", body)


_MAKERS: Final[dict[str, Callable[[random.Random, float, int], Sample]]] = {
    "github": _github,
    "standard_webhooks": _standard_webhooks,
    "hmac": _hmac,
}


def _sample(event_id: str, event_type: str, body: dict[str, Any]) -> Sample:
    return Sample(event_id=event_id, event_type=event_type, body=json.dumps(body).encode())


def _uuid(draw: random.Random) -> UUID:
    return UUID(int=draw.getrandbits(128), version=4)


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
