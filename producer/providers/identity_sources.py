"""Identity by configuration: each field names its source, a header, a place in the body, a text.

An event with no resource is keyed by its own id, so that it waits for no other and none for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator

from producer.providers import identifiers, json_pointer, timestamps
from producer.providers.json_fields import JsonFields
from producer.providers.json_pointer import Tokens
from producer.providers.provider import Identity, Request, Unreadable
from producer.providers.timestamps import UnixUnit
from producer.providers.unreadable import Reason, unreadable

WhenNoResource = Literal["key_alone", "quarantine"]

#: The resource type of an event that is keyed by its own id.
ALONE: Final = "event"

_FIELDS: Final = (
    "event_id",
    "event_type",
    "resource_type",
    "resource_id",
    "resource_version",
    "occurred_at",
)
_MIN_VERSION: Final = -(2**63)
_MAX_VERSION: Final = 2**63 - 1
_HEADER_NAME_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~")


class HeaderSource(msgspec.Struct, frozen=True):
    """The value of a header; its name is lower case."""

    name: str


class BodySource(msgspec.Struct, frozen=True):
    """The value at a JSON pointer of the body."""

    tokens: Tokens


class LiteralSource(msgspec.Struct, frozen=True):
    """Always this text."""

    text: str


Source = HeaderSource | BodySource | LiteralSource


def parse_source(text: str) -> Source:
    """The source that "header:X-Name", "body:/a/pointer" or "literal:text" names; ValueError."""
    kind, colon, rest = text.partition(":")
    if kind == "header" and colon:
        return HeaderSource(parse_header_name(rest))
    if kind == "body" and colon:
        return BodySource(json_pointer.parse(rest))
    if kind == "literal" and rest:
        return LiteralSource(rest)
    raise ValueError(
        f'{text!r} names no source: write "body:/data/id" for a field of the JSON body, '
        '"header:X-Event-Id" for a header, or "literal:order" for a fixed text'
    )


def optional_source(text: str | None) -> Source | None:
    """The same for an option that may be left out."""
    return None if text is None else parse_source(text)


def parse_header_name(text: str) -> str:
    """The header's name in lower case; ValueError if it cannot be one (RFC 9110 section 5.1)."""
    name = text.lower()
    if not name or not _HEADER_NAME_CHARS.issuperset(name):
        raise ValueError(f"{text!r} is no header's name: write one such as X-Signature")
    return name


def _checked_source(text: str) -> str:
    parse_source(text)
    return text


#: A source in a provider's options.
SourceText = Annotated[str, AfterValidator(_checked_source)]


class IdentitySources(msgspec.Struct, frozen=True, kw_only=True):
    """Where each field of an identity comes from; None: it has no source."""

    event_id: Source | None = None
    event_type: Source | None = None
    resource_type: Source | None = None
    resource_id: Source | None = None
    resource_version: Source | None = None
    occurred_at: Source | None = None

    def header_names(self) -> tuple[str, ...]:
        """The headers that any of them reads."""
        sources = (getattr(self, field) for field in _FIELDS)
        return tuple(
            dict.fromkeys(source.name for source in sources if isinstance(source, HeaderSource))
        )


class IdentityReader:
    """Reads identities by their sources. `provider` begins every event type."""

    def __init__(
        self,
        provider: str,
        sources: IdentitySources,
        *,
        time_unit: UnixUnit,
        when_no_resource: WhenNoResource,
    ) -> None:
        self._prefix = f"{provider}."
        self._time_unit = time_unit
        self._quarantine = when_no_resource == "quarantine" and sources.resource_id is not None
        self._typed_by_event = sources.resource_type is None
        self._fixed: list[Any] = [None] * len(_FIELDS)
        self._headers: list[tuple[int, str]] = []
        body: list[tuple[int, Tokens]] = []
        for slot, field in enumerate(_FIELDS):
            source = getattr(sources, field)
            if isinstance(source, LiteralSource):
                self._fixed[slot] = source.text
            elif isinstance(source, HeaderSource):
                self._headers.append((slot, source.name))
            elif isinstance(source, BodySource):
                body.append((slot, source.tokens))
        self._body_slots = tuple(slot for slot, _ in body)
        self._body = JsonFields([tokens for _, tokens in body]) if body else None

    def read(self, request: Request, event_id: str | None = None) -> Identity | Unreadable:
        """The identity; `event_id` when the scheme itself says it."""
        values = self._fixed.copy()
        for slot, name in self._headers:
            values[slot] = request.headers.get(name)
        if self._body is not None:
            found = self._body.read(request.body)
            if isinstance(found, Unreadable):
                return found
            for slot, value in zip(self._body_slots, found, strict=True):
                values[slot] = value
        return self._identity(event_id, *values)

    def _identity(
        self,
        given_id: str | None,
        event_id: Any,
        event_type: Any,
        resource_type: Any,
        resource_id: Any,
        version: Any,
        occurred_at: Any,
    ) -> Identity | Unreadable:
        checked_id = identifiers.as_id(
            event_id if given_id is None else given_id, "event id", Reason.EVENT_ID_MISSING
        )
        if isinstance(checked_id, Unreadable):
            return checked_id
        checked_type = identifiers.as_event_type(event_type)
        if isinstance(checked_type, Unreadable):
            return checked_type

        # When it occurred is only shown, so a time that cannot be read is left out. A version
        # decides what is stale: guessing one could let an older state win.
        occurred_at_us = timestamps.to_us(occurred_at, self._time_unit)

        if resource_id is None and not self._quarantine:
            return Identity(
                event_id=checked_id,
                event_type=self._prefix + checked_type,
                resource_type=ALONE,
                resource_id=checked_id,
                occurred_at_us=occurred_at_us,
            )
        checked_resource = identifiers.as_id(resource_id, "resource id", Reason.RESOURCE_ID_MISSING)
        if isinstance(checked_resource, Unreadable):
            return checked_resource
        if self._typed_by_event:
            kind: str | Unreadable = identifiers.resource_type_of(checked_type)
        else:
            kind = identifiers.as_resource_type(resource_type)
        if isinstance(kind, Unreadable):
            return kind
        resource_version = None
        if version is not None:
            resource_version = _as_version(version)
            if resource_version is None:
                return unreadable(
                    Reason.RESOURCE_VERSION_MALFORMED,
                    "the resource version is neither an integer of 64 bits nor an ISO 8601 time",
                )
        return Identity(
            event_id=checked_id,
            event_type=self._prefix + checked_type,
            resource_type=kind,
            resource_id=checked_resource,
            resource_version=resource_version,
            occurred_at_us=occurred_at_us,
        )


def _as_version(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if _MIN_VERSION <= value <= _MAX_VERSION else None
    if not isinstance(value, str):
        return None
    number = timestamps.digits(value)
    return timestamps.iso_to_us(value) if number is None else number
