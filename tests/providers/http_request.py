"""Requests as tests write them, with headers that may repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from credentials.key_ring import Key
from producer.providers.provider import Provider, Request

PAYLOADS = Path(__file__).parents[2] / "examples" / "payloads"
NOW_S = 1_795_433_171.0

ORDER_OPTIONS: dict[str, Any] = {
    "header": "X-Signature",
    "prefix": "sha256=",
    "signed": "{timestamp}.{body}",
    "timestamp_header": "X-Timestamp",
    "event_id": "body:/event_id",
    "event_type": "body:/event",
    "resource_id": "body:/order/id",
    "resource_version": "body:/order/revision",
    "occurred_at": "body:/sent_at",
}
TICKET_OPTIONS: dict[str, Any] = {
    "header": "X-Desk-Signature",
    "algorithm": "sha512",
    "encoding": "base64",
    "event_id": "body:/id",
    "event_type": "body:/topic",
    "resource_type": "literal:ticket",
    "resource_id": "body:/ticket/key",
    "resource_version": "body:/ticket/updated_at",
    "occurred_at": "body:/ticket/updated_at",
}


class RepeatableHeaders:
    """What a server hands over: lower-case names, each with one or more values."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, [default])[0]

    def get_all(self, key: str) -> list[str]:
        return self._values.get(key, [])

    def pairs(self) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self._values.items() for value in values]


def request(headers: Mapping[str, str | list[str]], body: bytes = b"{}") -> Request:
    pairs = [
        (name, value)
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return Request(RepeatableHeaders(pairs), body)


def key(provider: Provider, secret: str, name: str = "2026-11") -> Key:
    return Key(name=name, material=provider.load_key(secret))


def payload(provider: str, name: str) -> bytes:
    return (PAYLOADS / provider / f"{name}.json").read_bytes()


def body(value: Any) -> bytes:
    return json.dumps(value).encode()
