"""What the samples of all providers are made of."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

PEOPLE: Final = ("mira", "tomas", "aiko", "lena", "samir", "noor")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook before it is signed. `event_type` is as the provider's module names it."""

    event_id: str
    event_type: str
    body: bytes


def in_json(event_id: str, event_type: str, body: Any) -> Sample:
    """A sample whose body is JSON."""
    return Sample(event_id=event_id, event_type=event_type, body=json.dumps(body).encode())


def some_uuid(draw: random.Random) -> UUID:
    """A UUID, the same for the same draw."""
    return UUID(int=draw.getrandbits(128), version=4)


def iso(unix_s: float) -> str:
    """The time as most systems write it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
