"""Events for tests: written by hand, read from a webhook's body, or recorded in a file."""

from __future__ import annotations

import json
import os
import random
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from hookline.commands.samples import sample
from producer.providers.provider import Batch, Part, Request, Unreadable
from producer.providers.registry import build
from schemas.errors import ConfigurationError
from schemas.event import Event

#: What tests call the time of their first event, in Unix seconds: 2026-11-24 09:00 UTC.
START_S: Final = 1_795_510_800
# Makes no webhook believed anywhere: what a provider's `sign` needs to write its headers.
_NO_SECRET: Final = "whsec_" + b64encode(b"only for hookline.testing").decode()
#: What samples of these providers need; the others have defaults.
_IDENTITY: Final = {
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_id": "body:/data/id",
    "occurred_at": "body:/created_at",
}
_SAMPLE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "hmac": {"header": "X-Signature", **_IDENTITY},
    "token": _IDENTITY,
    "hubspot": {"url": "https://hooks.example.com/webhooks/test"},
    "twilio": {"url": "https://hooks.example.com/webhooks/test"},
}


def event(
    event_type: str,
    payload: Any = None,
    resource_id: str = "1",
    *,
    event_id: str | None = None,
    version: int | None = None,
    occurred_at_s: float | None = None,
    **fields: Any,
) -> Event:
    """An event written by hand; `payload` is bytes, or anything that JSON can say.

    Of `github.issues.opened` the provider is `github` and the resource type `issues`; `fields`
    sets any other field of the envelope. Without an id each event gets one of its own.
    """
    provider, _, rest = event_type.partition(".")
    chosen: dict[str, Any] = {
        "request_id": os.urandom(16),
        "environment": "test",
        "tenant": "acme",
        "connection": "test",
        "provider": provider,
        "event_id": event_id or f"evt_{uuid4().hex[:20]}",
        "event_type": event_type,
        "resource_type": rest.partition(".")[0] or provider,
        "resource_id": resource_id,
        "resource_version": version,
        "occurred_at_us": None if occurred_at_s is None else int(occurred_at_s * 1e6),
        "received_at_us": START_S * 1_000_000,
        "content_type": "application/json",
        "payload": payload if isinstance(payload, bytes) else msgspec.json.encode(payload or {}),
    }
    return Event(**{**chosen, **fields})


def webhook(
    provider: str,
    body: Path | bytes | Mapping[str, Any],
    *,
    event_type: str = "",
    event_id: str | None = None,
    options: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Event:
    """The event that the gateway would make of a webhook's body: a file, bytes or a dictionary.

    `options` are the connection's. `event_type` and `event_id` are for providers that say them
    in a header: `issues` for GitHub's `X-GitHub-Event`. ConfigurationError if it has no identity,
    or if it holds several events: for such there is `webhooks`.
    """
    made = webhooks(
        provider, body, event_type=event_type, event_id=event_id, options=options, **fields
    )
    if len(made) != 1:
        raise ConfigurationError(f"this body holds {len(made)} events: use webhooks()")
    return made[0]


def webhooks(
    provider: str,
    body: Path | bytes | Mapping[str, Any] | Sequence[Any],
    *,
    event_type: str = "",
    event_id: str | None = None,
    options: Mapping[str, Any] | None = None,
    **fields: Any,
) -> list[Event]:
    """The same for a body that may hold several events, such as Graph's or Meta's."""
    content = body.read_bytes() if isinstance(body, Path) else body
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    kind = build(provider, _SAMPLE_OPTIONS.get(provider, {}) if options is None else options)
    sent = kind.outgoing(
        content,
        kind.load_key(_NO_SECRET),
        event_id=event_id or f"evt_{uuid4().hex[:20]}",
        event_type=event_type,
        now_s=START_S,
    )
    headers, request_id = _Headers(sent.headers), os.urandom(16)
    found = kind.identify(Request(headers, sent.body, sent.query, request_id))
    parts = (
        found.parts
        if isinstance(found, Batch)
        else (Part(found, sent.body, headers.get("content-type", "")),)
    )
    return [_event_of(provider, part, request_id, fields) for part in parts]


def _event_of(provider: str, part: Part, request_id: bytes, fields: Mapping[str, Any]) -> Event:
    identity = part.identity
    if isinstance(identity, Unreadable):
        raise ConfigurationError(
            f"{provider} finds no identity in this webhook: {identity.reason}, {identity.detail}"
        )
    return event(
        identity.event_type,
        part.payload,
        identity.resource_id,
        event_id=identity.event_id,
        version=identity.resource_version,
        **{
            "provider": provider,
            "resource_type": identity.resource_type,
            "occurred_at_us": identity.occurred_at_us,
            "content_type": part.content_type,
            "request_id": request_id,
            **fields,
        },
    )


def samples(provider: str, count: int = 20, *, seed: int = 0, entities: int = 4) -> list[Event]:
    """So many realistic events of a provider about a few entities, the same for a seed."""
    draw = random.Random(seed)
    events: list[Event] = []
    for n in range(count):
        made = sample(provider, draw, START_S + n, entities)
        if made is None:
            raise ConfigurationError(
                f"there are no samples of {provider}: use webhook() with a body of yours"
            )
        events.append(
            webhook(provider, made.body, event_type=made.event_type, event_id=made.event_id)
        )
    return events


def save_events(path: Path | str, events: Iterable[Event]) -> None:
    """Write events as lines of JSON, to be read by `load_events`."""
    lines = [json.dumps(_to_line(each), ensure_ascii=False) + "\n" for each in events]
    Path(path).write_text("".join(lines), "utf-8")


def load_events(path: Path | str) -> list[Event]:
    """The events of a file with one JSON object a line.

    `event_type` is needed, and `payload` (JSON), `payload_text` or `payload_base64`; other keys
    are those of `event` and the envelope's fields. ConfigurationError names the line at fault.
    """
    events: list[Event] = []
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            events.append(_from_line(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"{path}, line {number}: {error}; a line is a JSON object with event_type and "
                "payload"
            ) from None
    return events


def _to_line(each: Event) -> dict[str, Any]:
    line = {
        name: value
        for name, value in msgspec.structs.asdict(each).items()
        if name not in ("payload", "request_id") and value not in (None, "", {}, 0)
    }
    line["request_id"] = each.request_id.hex()
    try:
        line["payload_text"] = each.payload.decode()
    except UnicodeDecodeError:
        line["payload_base64"] = b64encode(each.payload).decode()
    return line


def _from_line(line: Any) -> Event:
    if not isinstance(line, dict) or "event_type" not in line:
        raise ValueError("there is no event_type")
    fields = dict(line)
    if "payload_base64" in fields:
        fields["payload"] = b64decode(fields.pop("payload_base64"), validate=True)
    elif "payload_text" in fields:
        fields["payload"] = fields.pop("payload_text").encode()
    if "request_id" in fields:
        fields["request_id"] = bytes.fromhex(fields["request_id"])
    return event(**fields)


class _Headers:
    """What `sign` gives, as a provider reads it."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name.lower(): value for name, value in headers.items()}

    def get(self, key: str, default: Any = None) -> Any:
        return self._headers.get(key, default)

    def get_all(self, key: str) -> list[str]:
        return [self._headers[key]] if key in self._headers else []


def redelivered(original: Event, draw: random.Random) -> Event:
    """The same event as its provider sends it once more: another request, a little later."""
    return msgspec.structs.replace(
        original,
        request_id=draw.randbytes(16),
        received_at_us=original.received_at_us + draw.randint(1, 60_000_000),
    )


def by_key(events: Sequence[Event]) -> dict[str, list[Event]]:
    """The events of each resource key, in their order."""
    lanes: dict[str, list[Event]] = {}
    for each in events:
        lanes.setdefault(each.resource_key, []).append(each)
    return lanes
