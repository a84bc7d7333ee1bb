"""From the parts that a provider found to an identity that the envelope can hold, or why not."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from producer.providers import identifiers
from producer.providers.identity_sources import ALONE
from producer.providers.provider import Batch, Identity, Part, Request, Unreadable
from producer.providers.unreadable import Reason, unreadable
from schemas.event import MAX_ID_CHARS

#: As many as Meta and Graph put into a request; a small body must not become a flood of events.
MAX_PARTS = 1000


class Resource(msgspec.Struct, frozen=True):
    """What an event is about; the id as the payload has it."""

    type: str
    id: object


def identity(
    provider: str,
    event_id: object,
    event_type: object,
    resource: Resource | None,
    *,
    version: int | None = None,
    occurred_at_us: int | None = None,
) -> Identity | Unreadable:
    """The checked identity; without a resource it is keyed by its own id."""
    checked_id = identifiers.as_id(event_id, "event id", Reason.EVENT_ID_MISSING)
    if isinstance(checked_id, Unreadable):
        return checked_id
    checked_type = identifiers.as_event_type(event_type)
    if isinstance(checked_type, Unreadable):
        return checked_type
    if resource is None:
        return Identity(
            event_id=checked_id,
            event_type=f"{provider}.{checked_type}",
            resource_type=ALONE,
            resource_id=checked_id,
            occurred_at_us=occurred_at_us,
        )
    resource_id = identifiers.as_id(resource.id, "resource id", Reason.RESOURCE_ID_MISSING)
    if isinstance(resource_id, Unreadable):
        return resource_id
    resource_type = identifiers.as_resource_type(resource.type)
    if isinstance(resource_type, Unreadable):
        return resource_type
    return Identity(
        event_id=checked_id,
        event_type=f"{provider}.{checked_type}",
        resource_type=resource_type,
        resource_id=resource_id,
        resource_version=version,
        occurred_at_us=occurred_at_us,
    )


def digest(*parts: str | bytes) -> str:
    """An id for what has none: the same for the same parts, however they are long."""
    state = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def fitting(text: str) -> str:
    """The id, or its digest where it is longer than an id may be."""
    return text if len(text) <= MAX_ID_CHARS else digest(text)


def delivery_id(request: Request, number: int) -> str:
    """An id of our own, for an event that no field tells from another: every copy has another."""
    return f"{request.request_id.hex()}-{number}"


def too_many(payload: bytes, content_type: str = "application/json") -> Batch:
    """A request with more events than one may have, kept as one for a person."""
    why = unreadable(Reason.BATCH_TOO_LARGE, f"the request has more than {MAX_PARTS} events")
    return Batch((Part(why, payload, content_type),))
