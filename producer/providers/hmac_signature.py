"""A configurable HMAC scheme, for the many systems that have their own spelling of it.

What is signed, with which algorithm, in which header and encoding, and where the ids are: all
from the connection's options, read once.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from credentials.key_ring import Key
from producer.providers import json_body
from producer.providers.provider import (
    Headers,
    Identity,
    Refusal,
    Refused,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.resource import event_type_of, slug_of
from producer.providers.signature_text import from_base64, from_hex, single, usable_id
from producer.providers.timestamps import from_iso8601, from_number, unix_seconds
from schemas.errors import SecretFormatError

_DECODER: Final = msgspec.json.Decoder()
_HEADER_NAME: Final = re.compile(r"[a-z0-9-]+")
_SOURCE_HELP: Final = "write header:NAME, body:/json/pointer or literal:text"


class HmacSignatureOptions(BaseModel):
    """What a connection sets for a generic HMAC webhook."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: str = Field(description="The header that holds the signature.")
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    prefix: str = Field("", max_length=64, description="What stands before it, such as sha256=.")
    secret_encoding: Literal["utf8", "hex", "base64"] = "utf8"
    signed: str = Field(
        "{body}", description="What is signed: {body}, and {timestamp} if there is one."
    )
    timestamp_header: str | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_s: int = Field(300, ge=1, le=86_400, description="Replay window, to both sides.")
    event_id: str = Field("body:/id", description=_SOURCE_HELP)
    event_type: str = Field("body:/type", description=_SOURCE_HELP)
    resource_type: str | None = Field(None, description=_SOURCE_HELP)
    resource_id: str = Field("body:/data/id", description=_SOURCE_HELP)
    resource_version: str | None = Field(None, description=_SOURCE_HELP)
    occurred_at: str | None = Field(None, description=_SOURCE_HELP)

    @field_validator("header", "timestamp_header")
    @classmethod
    def _is_header(cls, name: str | None) -> str | None:
        if name is not None and not _HEADER_NAME.fullmatch(name := name.lower()):
            raise ValueError("write the header's name alone, such as X-Signature")
        return name

    @field_validator(
        "event_id", "event_type", "resource_type", "resource_id", "resource_version", "occurred_at"
    )
    @classmethod
    def _is_source(cls, source: str | None) -> str | None:
        if source is not None:
            _parse_source(source)
        return source

    @model_validator(mode="after")
    def _fits_together(self) -> HmacSignatureOptions:
        parts = re.findall(r"\{[^{}]*\}", self.signed)
        if parts.count("{body}") != 1 or not set(parts) <= {"{body}", "{timestamp}"}:
            raise ValueError(
                "signed must hold {body} once and may hold {timestamp}, as in {timestamp}.{body}"
            )
        if "{timestamp}" in parts and self.timestamp_header is None:
            raise ValueError("signed holds {timestamp}, so timestamp_header must name its header")
        if self.timestamp_header is not None and "{timestamp}" not in parts:
            raise ValueError(
                "timestamp_header is set, but signed does not hold {timestamp}: a time that is "
                "not signed proves nothing"
            )
        return self


class HmacSignature:
    """The scheme that its options describe."""

    name: ClassVar[str] = "hmac"
    Options: ClassVar[type[BaseModel]] = HmacSignatureOptions

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, HmacSignatureOptions)
        self._o = options
        self._size = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}[options.algorithm]
        before, _, after = options.signed.partition("{body}")
        self._before = _template(before)
        self._after = _template(after)
        self._event_id = _parse_source(options.event_id)
        self._event_type = _parse_source(options.event_type)
        self._resource_type = _optional(options.resource_type)
        self._resource_id = _parse_source(options.resource_id)
        self._version = _optional(options.resource_version)
        self._occurred_at = _optional(options.occurred_at)
        named = (self._event_id, self._event_type, self._resource_id, self._resource_type)
        self.kept_headers: Sequence[str] = tuple(
            dict.fromkeys(s.header for s in named if s is not None and s.header is not None)
        )

    def load_key(self, secret: str) -> object:
        """The secret's bytes in the configured encoding."""
        encoding = self._o.secret_encoding
        readers: dict[str, Callable[[str], bytes | None]] = {
            "utf8": str.encode,
            "hex": from_hex,
            "base64": from_base64,
        }
        material = readers[encoding](secret)
        if not material:
            raise SecretFormatError(
                "the secret is empty"
                if not secret
                else f"the secret is not {encoding}, as secret_encoding says"
            )
        return material

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """The HMAC of what is signed, by any active key, inside the window if there is one."""
        o, headers = self._o, request.headers
        if headers.get(o.header) is None:
            return Refused(Refusal.SIGNATURE_MISSING)
        offered = single(headers, o.header)
        if offered is None or not offered.startswith(o.prefix):
            return Refused(Refusal.SIGNATURE_MALFORMED)
        signature = self._decode(offered[len(o.prefix) :])
        if signature is None or len(signature) != self._size:
            return Refused(Refusal.SIGNATURE_MALFORMED)
        timestamp = ""
        if o.timestamp_header is not None:
            if headers.get(o.timestamp_header) is None:
                return Refused(Refusal.TIMESTAMP_MISSING)
            timestamp = single(headers, o.timestamp_header) or ""
            sent = unix_seconds(timestamp)
            if sent is None:
                return Refused(Refusal.TIMESTAMP_MALFORMED)
            sent_s = sent / 1000 if o.timestamp_unit == "ms" else sent
            if abs(now_s - sent_s) > o.tolerance_s:
                return Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)
        if not keys:
            return Refused(Refusal.NO_ACTIVE_SECRET)
        content = self._content(timestamp, request.body)
        verified: str | None = None
        for key in keys:
            expected = hmac.digest(key.material, content, o.algorithm)
            if hmac.compare_digest(expected, signature) and verified is None:
                verified = key.name
        return Refused(Refusal.SIGNATURE_WRONG) if verified is None else Verified(verified)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The ids from where the options say that they are."""
        body = json_body.decode(request.body, _DECODER)
        if isinstance(body, Unreadable):
            return body
        headers = request.headers
        event_id = _text(self._event_id.find(headers, body))
        if event_id is None:
            return Unreadable("id_missing", f"there is no usable id at {self._o.event_id}")
        event_type = event_type_of(self.name, self._event_type.find(headers, body))
        if event_type is None:
            return Unreadable("type_missing", f"there is no usable type at {self._o.event_type}")
        given = self._resource_type.find(headers, body) if self._resource_type else None
        resource_type = slug_of(given) or slug_of(event_type.split(".")[1]) or "event"
        found = self._resource_id.find(headers, body)
        resource_id = _text(found)
        if found is None:
            # An event about nothing in particular is alone in its order.
            resource_type, resource_id = "event", event_id
        if resource_id is None:
            return Unreadable("id_unusable", "the resource id is too long or not printable")
        version = self._version.find(headers, body) if self._version else None
        occurred_at = self._occurred_at.find(headers, body) if self._occurred_at else None
        return Identity(
            event_id=event_id,
            event_type=event_type,
            resource_type=resource_type,
            resource_id=resource_id,
            resource_version=_number(version, lambda n: n if abs(n) < 2**63 else None),
            occurred_at_us=_number(occurred_at, _since_1970),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """What the configured system sends; ids that are header sources are set too."""
        assert isinstance(key, bytes)
        o = self._o
        timestamp = str(int(now_s * 1000) if o.timestamp_unit == "ms" else int(now_s))
        digest = hmac.digest(key, self._content(timestamp, body), o.algorithm)
        text = {
            "hex": digest.hex(),
            "base64": base64.b64encode(digest).decode(),
            "base64url": base64.urlsafe_b64encode(digest).decode(),
        }[o.encoding]
        headers = {"content-type": "application/json", o.header: o.prefix + text}
        if o.timestamp_header is not None:
            headers[o.timestamp_header] = timestamp
        if self._event_id.header is not None:
            headers[self._event_id.header] = event_id
        if self._event_type.header is not None:
            headers[self._event_type.header] = event_type.removeprefix("hmac.")
        return headers

    def _decode(self, text: str) -> bytes | None:
        if self._o.encoding == "hex":
            return from_hex(text)
        return from_base64(text, urlsafe=self._o.encoding == "base64url")

    def _content(self, timestamp: str, body: bytes) -> bytes:
        stamp = timestamp.encode()
        return stamp.join(self._before) + body + stamp.join(self._after)


class _Source(msgspec.Struct, frozen=True):
    """One place where a value is."""

    header: str | None = None
    pointer: tuple[str, ...] | None = None
    literal: str | None = None

    def find(self, headers: Headers, body: Any) -> Any:
        """The value there, or None."""
        if self.header is not None:
            return single(headers, self.header)
        return self.literal if self.pointer is None else json_body.find(body, self.pointer)


def _parse_source(source: str) -> _Source:
    kind, _, rest = source.partition(":")
    if kind == "header" and _HEADER_NAME.fullmatch(rest.lower()):
        return _Source(header=rest.lower())
    if kind == "body":
        return _Source(pointer=json_body.parse_pointer(rest))
    if kind == "literal" and rest:
        return _Source(literal=rest)
    raise ValueError(_SOURCE_HELP)


def _optional(source: str | None) -> _Source | None:
    return None if source is None else _parse_source(source)


def _template(text: str) -> list[bytes]:
    return [part.encode() for part in text.split("{timestamp}")]


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 2**127 else None
    return value if isinstance(value, str) and usable_id(value) else None


def _number(value: Any, convert: Callable[[int], int | None]) -> int | None:
    """A count as it is meant, or the microseconds of an ISO 8601 time."""
    if isinstance(value, str):
        count = unix_seconds(value)
        return from_iso8601(value) if count is None else convert(count)
    if isinstance(value, float):
        return from_number(value, per_second=1) if convert is _since_1970 else None
    return convert(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _since_1970(number: int) -> int | None:
    # Seconds until the year 5138, milliseconds from March 1973 on.
    return from_number(number, per_second=1 if number < 100_000_000_000 else 1000)
