"""What the gateway writes of a verified request: the envelope, or a dead letter."""

from __future__ import annotations

from typing import Final

import msgspec

from producer.gateway.connections import Entry
from producer.providers.provider import Headers, Identity, Part, Request, Unreadable
from schemas.codec import DEAD_LETTER, EVENT
from schemas.dead_letter import DeadLetter
from schemas.event import Event

_MAX_KEPT_CHARS: Final = 1024


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A request that was believed, and how long each step took (`_ns`)."""

    entry: Entry
    request: Request
    secret_name: str
    now_s: float
    read_ns: int
    verify_ns: int
    identify_ns: int


def envelope(
    arrival: Arrival, environment: str, identity: Identity, payload: bytes, content_type: str
) -> bytes:
    """The envelope of one of its events."""
    request, connection = arrival.request, arrival.entry.connection
    return EVENT.encode(
        Event(
            request_id=request.request_id,
            environment=environment,
            tenant=connection.tenant,
            connection=connection.id,
            provider=connection.provider,
            event_id=identity.event_id,
            event_type=identity.event_type,
            resource_type=identity.resource_type,
            resource_id=identity.resource_id,
            resource_version=identity.resource_version,
            occurred_at_us=identity.occurred_at_us,
            received_at_us=int(arrival.now_s * 1e6),
            secret_name=arrival.secret_name,
            content_type=content_type,
            headers=kept_headers(arrival.entry, request.headers),
            payload=payload,
            read_ns=arrival.read_ns,
            verify_ns=arrival.verify_ns,
            identify_ns=arrival.identify_ns,
        )
    )


def dead_letter(arrival: Arrival, part: Part, why: Unreadable) -> bytes:
    """A part that is authentic and cannot be read, kept whole for a person."""
    return DEAD_LETTER.encode(
        DeadLetter(
            stage="GATEWAY",
            reason=why.reason,
            detail=why.detail,
            request_id=arrival.request.request_id,
            connection=arrival.entry.connection.id,
            died_at_us=int(arrival.now_s * 1e6),
            value=part.payload,
            headers=kept_headers(arrival.entry, arrival.request.headers),
        )
    )


def kept_headers(entry: Entry, headers: Headers) -> dict[str, str]:
    """The headers that the provider finds worth keeping."""
    found: dict[str, str] = {}
    for name in entry.provider.kept_headers:
        value = headers.get(name)
        # As in `kept`, whose call would cost each webhook.
        if value is not None and value.isascii():
            found[name] = value[:_MAX_KEPT_CHARS]
    return found


def kept(headers: Headers, name: str) -> str | None:
    """One header as it is kept; None if there is none or it is not ASCII."""
    value: str | None = headers.get(name)
    if value is None:
        return None
    # A lone surrogate cannot be written as UTF-8; such a header proves nothing worth keeping.
    return value[:_MAX_KEPT_CHARS] if value.isascii() else None
