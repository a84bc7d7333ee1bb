"""Any system that signs with an HMAC in a header: which header, what is signed, where ids are.

What the signature does not cover, a sender who has seen one webhook can change: a timestamp that
is checked must be signed, and an id from a header is only as good as `signed` makes it.
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final

from pydantic import BaseModel

from credentials.key_ring import Key
from producer.providers import timestamps
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated, single
from producer.providers.hmac_options import Body, HmacSignatureOptions, Timestamp, parse_signed
from producer.providers.identity_sources import HeaderSource, IdentityReader
from producer.providers.provider import (
    Headers,
    Identity,
    Provider,
    Refused,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    TIMESTAMP_MALFORMED,
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_WINDOW,
)
from producer.providers.secret_text import signing_key
from producer.providers.signature_text import DECODERS, from_base64, from_hex
from schemas.errors import SecretFormatError

#: More signatures than any rotation makes; a header with more is refused.
MAX_SIGNATURES: Final = 16
_DIGEST_BYTES: Final = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}


class HmacSignature(Provider):
    """Verifies and identifies as its options say."""

    name: ClassVar[str] = "hmac"
    Options: ClassVar[type[BaseModel]] = HmacSignatureOptions
    guide: ClassVar[Guide] = Guide(
        title="Any system that signs",
        pages=("RFC 2104: HMAC",),
        scheme="HMAC of what `signed` says, in the header that `header` names",
        secret="Where the system shows or takes its webhook secret; `secret_encoding` says how its "
        "text becomes bytes.",
        replay="With `timestamp_header`, at most `tolerance_s` (300 s) from now; none without.",
        event_id="Where `event_id` says",
        event_type="`hmac.` and what is where `event_type` says",
        resource="Where `resource_type` and `resource_id` say",
        version="Where `resource_version` says",
        occurred_at="Where `occurred_at` says",
        options='header: X-Signature\nprefix: "sha256="\nsigned: "{timestamp}.{body}"\n'
        "timestamp_header: X-Timestamp\nevent_id: body:/id\nevent_type: body:/type\n"
        "resource_id: body:/data/id",
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, HmacSignatureOptions)
        self._options = options
        self._decode = DECODERS[options.encoding]
        self._digest_bytes = _DIGEST_BYTES[options.algorithm]
        # Hex is the longest; what is longer is not worth decoding.
        self._max_chars = len(options.prefix) + 2 * self._digest_bytes
        self._parts = parse_signed(options.signed)
        self._body_alone = self._parts == (Body(),)
        self._sources = options.sources()
        names = (
            *self._sources.header_names(),
            *(part.name for part in self._parts if isinstance(part, HeaderSource)),
        )
        self._single_headers = tuple(dict.fromkeys(names))
        self._identity = IdentityReader(
            self.name,
            self._sources,
            time_unit=options.occurred_at_unit,
            when_no_resource=options.when_no_resource,
        )
        kept = self._single_headers
        if options.timestamp_header is not None:
            kept = (*kept, options.timestamp_header)
        self.kept_headers: Sequence[str] = kept

    def load_key(self, secret: str) -> object:
        """The secret's bytes by `secret_encoding`."""
        encoding = self._options.secret_encoding
        if encoding == "hex":
            key = from_hex(secret.strip())
        elif encoding == "base64":
            key = from_base64(secret.strip())
        else:
            key = _utf8(secret)
        if not key:
            raise SecretFormatError(
                f"the secret is empty or not {encoding}: correct it, or set "
                "options.secret_encoding to how it is written (utf8, hex or base64)"
            )
        return key

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """The HMAC of what `signed` says, and the window if there is a timestamp."""
        if not keys:
            return NO_ACTIVE_SECRET
        options, headers = self._options, request.headers
        text = single(headers, options.header, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        timestamp = ""
        if options.timestamp_header is not None:
            found = single(
                headers, options.timestamp_header, TIMESTAMP_MISSING, TIMESTAMP_MALFORMED
            )
            if isinstance(found, Refused):
                return found
            timestamp = found
            within = self._within(timestamp, now_s)
            if within is None:
                return TIMESTAMP_MALFORMED
            if not within:
                return TIMESTAMP_OUTSIDE_WINDOW
        signatures = self._signatures(text)
        if not signatures or any_repeated(headers, self._single_headers):
            return SIGNATURE_MALFORMED
        content = self._content(headers, request.body, timestamp)
        if content is None:
            return SIGNATURE_MALFORMED
        verified_by = signing_key(content, signatures, keys, options.algorithm)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The identity that the sources find."""
        return self._identity.read(request)

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The headers as configured; of those that identify, only id and type are known here."""
        assert isinstance(key, bytes)
        options = self._options
        signed = {"content-type": "application/json"}
        timestamp = ""
        if options.timestamp_header is not None:
            timestamp = _written(now_s, options.timestamp_unit)
            signed[options.timestamp_header] = timestamp
        for source, value in (
            (self._sources.event_id, event_id),
            (self._sources.event_type, event_type.removeprefix(f"{self.name}.")),
        ):
            if isinstance(source, HeaderSource):
                signed[source.name] = value
        content = self._content(_Single(signed), body, timestamp)
        if content is None:
            raise ValueError("options.signed names a header that this event does not have")
        digest = hmac.digest(key, content, options.algorithm)
        signed[options.header] = options.prefix + _encode(digest, options.encoding)
        return signed

    def _within(self, timestamp: str, now_s: float) -> bool | None:
        """Whether the time is in the window; None if it is none."""
        options = self._options
        if options.timestamp_unit == "iso":
            moment_us = timestamps.iso_to_us(timestamp)
            if moment_us is None:
                return None
            return timestamps.within(moment_us // 1000, "ms", now_s, options.tolerance_s)
        number = timestamps.digits(timestamp)
        if number is None:
            return None
        return timestamps.within(number, options.timestamp_unit, now_s, options.tolerance_s)

    def _signatures(self, text: str) -> list[bytes]:
        """Those of the header that have the form; of several, what has another is left out."""
        options = self._options
        if not options.separator:
            entries = [text]
        elif len(text) > MAX_SIGNATURES * (self._max_chars + len(options.separator)):
            return []
        else:
            entries = text.split(options.separator, MAX_SIGNATURES)
        found: list[bytes] = []
        for entry in entries[:MAX_SIGNATURES]:
            if options.separator:
                entry = entry.strip()
            if len(entry) > self._max_chars or not entry.startswith(options.prefix):
                continue
            signature = self._decode(entry[len(options.prefix) :])
            if signature is not None and len(signature) == self._digest_bytes:
                found.append(signature)
        return found

    def _content(self, headers: Headers, body: bytes, timestamp: str) -> bytes | None:
        """What is signed; None if a header in it is missing or not ASCII."""
        if self._body_alone:
            return body
        pieces: list[bytes] = []
        for part in self._parts:
            if isinstance(part, bytes):
                pieces.append(part)
            elif isinstance(part, Body):
                pieces.append(body)
            elif isinstance(part, Timestamp):
                pieces.append(timestamp.encode())
            else:
                value = headers.get(part.name)
                # Which bytes a non-ASCII text came from is the server's guess.
                if value is None or not value.isascii():
                    return None
                pieces.append(value.encode())
        return b"".join(pieces)


class _Single:
    """The headers that `sign` makes, as the ones that `verify` reads."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, key: str, default: str | None = None) -> str | None:
        return self._values.get(key, default)

    def get_all(self, key: str) -> list[str]:
        return [self._values[key]] if key in self._values else []


def _written(now_s: float, unit: str) -> str:
    if unit == "iso":
        return datetime.fromtimestamp(int(now_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(int(now_s if unit == "s" else now_s * 1000))


def _encode(digest: bytes, encoding: str) -> str:
    if encoding == "hex":
        return digest.hex()
    text = b2a_base64(digest, newline=False).decode()
    return text if encoding == "base64" else text.replace("+", "-").replace("/", "_").rstrip("=")


def _utf8(secret: str) -> bytes | None:
    try:
        return secret.encode()
    except UnicodeEncodeError:
        return None
