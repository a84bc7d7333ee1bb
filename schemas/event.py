"""The envelope: one webhook as the log holds it, and the ids that are derived from it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

MAX_ID_CHARS: Final = 512
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Kafka header names; traceparent is W3C Trace Context's.
HEADER_REQUEST_ID: Final = "hookline-request-id"
HEADER_EVENT_TYPE: Final = "hookline-event-type"
HEADER_TRACEPARENT: Final = "traceparent"


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One webhook. Times are microseconds since 1970 (`_us`), steps nanoseconds (`_ns`)."""

    request_id: bytes
    environment: str
    tenant: str
    connection: str
    provider: str
    event_id: str
    event_type: str
    resource_type: str
    resource_id: str
    received_at_us: int
    payload: bytes
    resource_version: int | None = None
    occurred_at_us: int | None = None
    source: str = "WEBHOOK"
    secret_name: str = ""
    content_type: str = ""
    headers: dict[str, str] = {}
    read_ns: int = 0
    verify_ns: int = 0
    identify_ns: int = 0

    def json(self) -> Any:
        """The payload decoded from JSON; msgspec.DecodeError when it is not JSON."""
        return msgspec.json.decode(self.payload)

    @property
    def resource_key(self) -> str:
        """`tenant/connection/resource_type/resource_id`: the Kafka key."""
        return resource_key(self.tenant, self.connection, self.resource_type, self.resource_id)

    @property
    def dedupe_id(self) -> bytes:
        """16 bytes that are the same for each copy of this event."""
        return dedupe_id(self.tenant, self.connection, self.event_id)

    @property
    def resource_digest(self) -> bytes:
        """16 bytes that stand for the resource: BLAKE2b of its key."""
        return hashlib.blake2b(self.resource_key.encode(), digest_size=16).digest()

    @property
    def idempotency_key(self) -> str:
        """The dedupe id in hex: what an external handler sends as `Idempotency-Key`."""
        return self.dedupe_id.hex()

    @property
    def occurred_at(self) -> datetime | None:
        """When the provider says that it happened, in UTC."""
        if self.occurred_at_us is None:
            return None
        return _EPOCH + timedelta(microseconds=self.occurred_at_us)

    @property
    def received_at(self) -> datetime:
        """When the gateway had read it, in UTC."""
        return _EPOCH + timedelta(microseconds=self.received_at_us)


def resource_key(tenant: str, connection: str, resource_type: str, resource_id: str) -> str:
    """The Kafka key. Only the last part may hold a slash, so that it splits back in one way."""
    return f"{tenant}/{connection}/{resource_type}/{resource_id}"


def dedupe_id(tenant: str, connection: str, event_id: str) -> bytes:
    """16-byte BLAKE2b of the three; NUL, which none may hold, keeps them apart."""
    text = f"{tenant}\0{connection}\0{event_id}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
