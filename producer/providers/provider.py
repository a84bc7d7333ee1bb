"""What a provider is: pure rules that verify, identify and (for tests and `send`) sign.

A provider does no I/O and reads no clock. It answers in values: nothing that a sender can put
into a request may make it raise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel

from credentials.key_ring import Key
from producer.providers.guide import Guide


class Headers(Protocol):
    """A request's headers; names are lower case, a repeated one has several values."""

    def get(self, key: str, default: Any = None) -> Any:
        """The first value, or the default."""

    def get_all(self, key: str) -> list[str]:
        """Every value in the order of arrival; empty if there is none."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """What a provider sees of an HTTP request: all of it as received.

    `query` is the raw text behind the question mark. `request_id` is ours, for events to which
    the system gives no id of their own.
    """

    headers: Headers
    body: bytes
    query: str = ""
    request_id: bytes = b""
    method: str = "POST"


class Refusal(StrEnum):
    """Why a request was not believed; safe as a metric label."""

    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_WRONG = "signature_wrong"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    TIMESTAMP_OUTSIDE_WINDOW = "timestamp_outside_window"
    NO_ACTIVE_SECRET = "no_active_secret"
    HANDSHAKE_REFUSED = "handshake_refused"


class Verified(msgspec.Struct, frozen=True, gc=False):
    """Authentic, and the name of the secret that says so."""

    secret_name: str


class Refused(msgspec.Struct, frozen=True):
    """Not believed, and why."""

    reason: Refusal


class Identity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an event is about. `event_type` begins with the provider's name and a dot."""

    event_id: str
    event_type: str
    resource_type: str
    resource_id: str
    resource_version: int | None = None
    occurred_at_us: int | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """Authentic, but its rules do not fit: `reason` is a code, `detail` quotes no payload."""

    reason: str
    detail: str


class Part(msgspec.Struct, frozen=True):
    """One event of several; its payload is what the system would have sent for it alone."""

    identity: Identity | Unreadable
    payload: bytes
    content_type: str = "application/json"


class Batch(msgspec.Struct, frozen=True):
    """The events of a request that may hold several, in the order in which they stood there."""

    parts: tuple[Part, ...]


class Reply(msgspec.Struct, frozen=True):
    """What a system wants to read in the answer's body."""

    content_type: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Outgoing(msgspec.Struct, frozen=True):
    """A whole request as the system itself would send it."""

    headers: Mapping[str, str]
    body: bytes
    query: str = ""


class Provider(Protocol):
    """One kind of system. Built with its connection's checked options; holds no secret.

    Providers are subclasses, so that what most of them have not is said here once.
    """

    name: ClassVar[str]
    #: What docs/providers.md says of it.
    guide: ClassVar[Guide]
    #: The pydantic model of what a connection may set under `options:`.
    Options: ClassVar[type[BaseModel]]
    #: Methods whose requests may be a handshake; POST among them costs every webhook a look.
    handshake_methods: ClassVar[frozenset[str]] = frozenset()
    #: Answers a webhook that is safe, where the system would not understand ours.
    accepted: ClassVar[Reply | None] = None
    #: The name of a secret that only the handshake uses.
    handshake_secret: str | None = None
    #: Request headers worth keeping in the envelope; never one that proves or authenticates.
    kept_headers: Sequence[str]

    def __init__(self, options: BaseModel) -> None:
        """Keep what of the checked options the hot path needs."""

    def load_key(self, secret: str) -> object:
        """The secret as the scheme's key; SecretFormatError (without the value) if it is none."""

    def handshake(
        self, request: Request, keys: Sequence[Key], now_s: float
    ) -> Reply | Refused | None:
        """The answer to a handshake, which is no event; None if the request is none."""
        return None

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """Check the signature over the raw body with every active key, and the replay window."""

    def identify(self, request: Request) -> Identity | Batch | Unreadable:
        """Which event or events this is; called only for what `verify` believed."""

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The headers that the system itself would send with this body; `key` is `load_key`'s."""

    def outgoing(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Outgoing:
        """The same with the body and query, where the proof is not in the headers alone."""
        signed = self.sign(body, key, event_id=event_id, event_type=event_type, now_s=now_s)
        return Outgoing(signed, body)
