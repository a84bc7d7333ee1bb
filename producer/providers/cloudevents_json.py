"""CloudEvents in JSON, one or a batch of them, to identities.

Sources: the CloudEvents specification 1.0.2, "CloudEvents", "JSON Event Format" and "HTTP
Protocol Binding".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from producer.providers import json_body, timestamps
from producer.providers.identities import MAX_PARTS, Resource, fitting, identity, too_many
from producer.providers.provider import Batch, Identity, Part, Unreadable
from producer.providers.unreadable import Reason, unreadable

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"

_ONE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MANY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_VALUE: Final = msgspec.json.Decoder(str | int | float | bool | None)
_READ: Final = ("specversion", "id", "source", "type", "subject", "time")
_MIN_VERSION: Final = -(2**63)
_MAX_VERSION: Final = 2**63 - 1


def read_body(
    provider: str, body: bytes, version_attribute: str | None
) -> Identity | Batch | Unreadable:
    """One event of an object, a batch of an array."""
    if body.lstrip()[:1] != b"[":
        return read_one(provider, body, version_attribute)
    found = json_body.decode(_MANY, body)
    if isinstance(found, Unreadable):
        return found
    if len(found) > MAX_PARTS:
        return too_many(body, BATCHED)
    return Batch(
        tuple(
            Part(read_one(provider, payload, version_attribute), payload, STRUCTURED)
            for payload in map(bytes, found)
        )
    )


def read_one(provider: str, body: bytes, version_attribute: str | None) -> Identity | Unreadable:
    """The event's identity."""
    members = json_body.decode(_ONE, body)
    if isinstance(members, Unreadable):
        return members
    attributes: dict[str, Any] = {}
    for name in (*_READ, version_attribute):
        raw = members.get(name) if name is not None else None
        if name is not None and raw is not None:
            value = json_body.decode(_VALUE, bytes(raw))
            if isinstance(value, Unreadable):
                return unreadable(Reason.BODY_UNEXPECTED, "an attribute is no text or number")
            attributes[name] = value
    return read_attributes(provider, attributes, version_attribute)


def read_attributes(
    provider: str, attributes: dict[str, Any], version_attribute: str | None
) -> Identity | Unreadable:
    """The same of the attributes alone, wherever they stood."""
    spec = attributes.get("specversion")
    if not isinstance(spec, str) or not spec.startswith("1."):
        return unreadable(Reason.BODY_UNEXPECTED, "the event's specversion is not 1.x")
    event_id, source = attributes.get("id"), attributes.get("source")
    if not isinstance(event_id, str) or not event_id:
        return unreadable(Reason.EVENT_ID_MISSING, "the event has no id")
    if not isinstance(source, str) or not source:
        return unreadable(Reason.EVENT_ID_MISSING, "the event has no source")
    subject = attributes.get("subject")
    resource = None
    if isinstance(subject, str) and subject:
        # An id is unique within its source, and so is a subject.
        resource = Resource("subject", fitting(f"{source}#{subject}"))
    version = None
    if version_attribute is not None and version_attribute in attributes:
        version = _version(attributes[version_attribute])
        if version is None:
            return unreadable(
                Reason.RESOURCE_VERSION_MALFORMED,
                "the version's attribute is neither an integer of 64 bits nor an ISO 8601 time",
            )
    time = attributes.get("time")
    return identity(
        provider,
        fitting(f"{source}#{event_id}"),
        attributes.get("type"),
        resource,
        version=version if resource is not None else None,
        occurred_at_us=timestamps.iso_to_us(time) if isinstance(time, str) else None,
    )


def _version(value: Any) -> int | None:
    if isinstance(value, str):
        # A sequence is often padded, 00000042.
        number = timestamps.digits(value)
        return timestamps.iso_to_us(value) if number is None else number
    if isinstance(value, int) and not isinstance(value, bool):
        return value if _MIN_VERSION <= value <= _MAX_VERSION else None
    return None
