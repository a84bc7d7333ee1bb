"""Any system that proves itself by a secret that it sends: bearer, basic, or in a header.

Whoever sees one request can send others: use it over TLS alone, and only where the system cannot
sign. Sources: RFC 6750 section 2.1 (Bearer) and RFC 7617 (Basic).
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, Field, model_validator

from credentials.key_ring import Key
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated, single
from producer.providers.identity_options import HeaderName, IdentityOptions
from producer.providers.identity_sources import HeaderSource, IdentityReader
from producer.providers.provider import Identity, Provider, Refused, Request, Unreadable, Verified
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
)
from producer.providers.secret_text import Token, as_token, matching_key
from producer.providers.signature_text import from_base64
from schemas.errors import SecretFormatError

_AUTHORIZATION: Final = "authorization"
# Far beyond any token, and little to decode.
_MAX_CHARS: Final = 8192


class TokenOptions(IdentityOptions):
    """What a connection may set. A source is "body:/pointer", "header:Name" or "literal:text"."""

    scheme: Annotated[
        Literal["bearer", "basic", "header"],
        Field(description="Authorization: Bearer, Authorization: Basic, or a header of its own"),
    ] = "bearer"
    header: Annotated[
        HeaderName | None, Field(description="with header, its name, such as X-Api-Key")
    ] = None

    @model_validator(mode="after")
    def _the_options_fit_together(self) -> TokenOptions:
        if (self.scheme == "header") != (self.header is not None):
            raise ValueError(
                "scheme: header needs the name of the header, and the others have none: write "
                "both, such as scheme: header and header: X-Api-Key"
            )
        if (self.header or _AUTHORIZATION) in self.sources().header_names():
            raise ValueError(
                f"a source reads {self.header or _AUTHORIZATION}, which has the secret: it "
                "identifies nothing and is never kept, so write another source"
            )
        return self


class SecretToken(Provider):
    """Verifies a secret that is sent; identifies as its options say."""

    name: ClassVar[str] = "token"
    Options: ClassVar[type[BaseModel]] = TokenOptions
    guide: ClassVar[Guide] = Guide(
        title="Any system with a token",
        pages=("RFC 6750: Bearer Token Usage", "RFC 7617: The 'Basic' HTTP Authentication Scheme"),
        scheme="`Authorization: Bearer …`, `Authorization: Basic …`, or a header of its own",
        secret="You choose it and give it to the sending system. For `basic` the secret is "
        "`user:password`.",
        replay="None: nothing is signed. A copy has the same event id and is recognised.",
        event_id="Where `event_id` says",
        event_type="`token.` and what is where `event_type` says",
        resource="Where `resource_type` and `resource_id` say",
        version="Where `resource_version` says",
        occurred_at="Where `occurred_at` says",
        options="scheme: header\nheader: X-Api-Key\nevent_id: body:/id\nevent_type: body:/type\n"
        "resource_id: body:/data/id",
        notes=("The token is in every request: prefer `hmac` if the system can sign.",),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, TokenOptions)
        self._scheme = options.scheme
        self._header = options.header or _AUTHORIZATION
        self._sources = options.sources()
        self._identity = IdentityReader(
            self.name,
            self._sources,
            time_unit=options.occurred_at_unit,
            when_no_resource=options.when_no_resource,
        )
        self.kept_headers: Sequence[str] = self._sources.header_names()
        self._read = self._sources.header_names()

    def load_key(self, secret: str) -> object:
        """The token, or for `basic` the user and the password."""
        if self._scheme == "basic" and ":" not in secret:
            raise SecretFormatError("a secret for basic is user:password, and this has no colon")
        return as_token(secret, "the token")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """The token of one of the keys."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        text = single(headers, self._header, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        token = _token(text, self._scheme) if len(text) <= _MAX_CHARS else None
        if token is None or any_repeated(headers, self._read):
            return SIGNATURE_MALFORMED
        verified_by = matching_key(token, keys)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The identity that the sources find."""
        return self._identity.read(request)

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The header with the token; of those that identify, only id and type are known here."""
        assert isinstance(key, Token)
        said = {"content-type": "application/json"}
        for source, value in (
            (self._sources.event_id, event_id),
            (self._sources.event_type, event_type.removeprefix(f"{self.name}.")),
        ):
            if isinstance(source, HeaderSource):
                said[source.name] = value
        if self._scheme == "header":
            return {**said, self._header: key.text}
        if self._scheme == "bearer":
            return {**said, _AUTHORIZATION: f"Bearer {key.text}"}
        encoded = b2a_base64(key.text.encode(), newline=False).decode()
        return {**said, _AUTHORIZATION: f"Basic {encoded}"}


def _token(text: str, scheme: str) -> str | None:
    """The token in the header's text; None if it has not the scheme's form."""
    if scheme == "header":
        return text or None
    given, _, rest = text.partition(" ")
    rest = rest.strip()
    if given.lower() != scheme or not rest:
        return None
    if scheme == "bearer":
        return rest
    decoded = from_base64(rest)
    if decoded is None or b":" not in decoded:
        return None
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        return None
