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


class Headers(Protocol):
    """A request's headers; names are lower case, a repeated one has several values."""

    def get(self, key: str, default: Any = None) -> Any:
        """The first value, or the default."""

    def get_all(self, key: str) -> list[str]:
        """Every value in the order of arrival; empty if there is none."""


class Request(msgspec.Struct, frozen=True):
    """What a provider sees of an HTTP request: its headers and its body as received."""

    headers: Headers
    body: bytes


class Refusal(StrEnum):
    """Why a request was not believed; safe as a metric label."""

    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_WRONG = "signature_wrong"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    TIMESTAMP_OUTSIDE_WINDOW = "timestamp_outside_window"
    NO_ACTIVE_SECRET = "no_active_secret"


class Verified(msgspec.Struct, frozen=True):
    """Authentic, and the name of the secret that says so."""

    secret_name: str


class Refused(msgspec.Struct, frozen=True):
    """Not believed, and why."""

    reason: Refusal


class Identity(msgspec.Struct, frozen=True, kw_only=True):
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


class Provider(Protocol):
    """One kind of system. Built with its connection's checked options; holds no secret."""

    name: ClassVar[str]
    #: The pydantic model of what a connection may set under `options:`.
    Options: ClassVar[type[BaseModel]]
    #: Request headers worth keeping in the envelope; never one that proves or authenticates.
    kept_headers: Sequence[str]

    def __init__(self, options: BaseModel) -> None:
        """Keep what of the checked options the hot path needs."""

    def load_key(self, secret: str) -> object:
        """The secret as the scheme's key; SecretFormatError (without the value) if it is none."""

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """Check the signature over the raw body with every active key, and the replay window."""

    def identify(self, request: Request) -> Identity | Unreadable:
        """Which event this is; called only for what `verify` believed."""

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The headers that the system itself would send with this body; `key` is `load_key`'s."""
