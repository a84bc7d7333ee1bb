"""The options of the configurable HMAC scheme, and the template of what is signed.

What the signature does not cover, a sender who has seen one webhook can change: so a timestamp
that is checked must be signed.
"""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, Field, model_validator

from producer.providers.identity_options import HeaderName, IdentityOptions
from producer.providers.identity_sources import HeaderSource, parse_header_name


class Body(msgspec.Struct, frozen=True):
    """The raw body in `signed`."""


class Timestamp(msgspec.Struct, frozen=True):
    """The timestamp header's text in `signed`."""


# bytes: the template's own text; HeaderSource: a header's text.
Part = bytes | Body | Timestamp | HeaderSource


def parse_signed(template: str) -> tuple[Part, ...]:
    """The parts of what is signed, such as "{timestamp}.{body}"; ValueError says what to write."""
    parts: list[Part] = []
    try:
        fields = list(Formatter().parse(template))
    except ValueError:
        raise ValueError(
            f"{template!r} has a lone brace: write {{{{ or }}}} where a brace itself is signed"
        ) from None
    for text, name, rest, conversion in fields:
        if text:
            parts.append(text.encode())
        if name is None:
            continue
        if name == "body" and not rest and not conversion:
            parts.append(Body())
        elif name == "timestamp" and not rest and not conversion:
            parts.append(Timestamp())
        elif name == "header" and rest and not conversion:
            parts.append(HeaderSource(parse_header_name(rest)))
        else:
            raise ValueError(
                f"{template!r} has a part that is not known: write {{body}}, {{timestamp}} or "
                "{header:X-Name}"
            )
    if parts.count(Body()) != 1:
        raise ValueError(f"{template!r} must have {{body}} once, or the body would not be signed")
    return tuple(parts)


def _checked_signed(text: str) -> str:
    parse_signed(text)
    return text


SignedText = Annotated[str, AfterValidator(_checked_signed)]


class HmacSignatureOptions(IdentityOptions):
    """What a connection may set. A source is "body:/pointer", "header:Name" or "literal:text"."""

    header: Annotated[
        HeaderName, Field(description="the header that has the signature, such as X-Signature")
    ]
    algorithm: Annotated[
        Literal["sha1", "sha256", "sha384", "sha512"], Field(description="the HMAC's hash")
    ] = "sha256"
    encoding: Annotated[
        Literal["hex", "base64", "base64url"], Field(description="how the signature is written")
    ] = "hex"
    prefix: Annotated[
        str, Field(max_length=100, description="what stands before the signature: sha256=, v0=")
    ] = ""
    separator: Annotated[
        str,
        Field(max_length=3, description="what stands between several signatures, such as a comma"),
    ] = ""
    secret_encoding: Annotated[
        Literal["utf8", "hex", "base64"],
        Field(description="how the secret's bytes are written; utf8 takes its text as it is"),
    ] = "utf8"
    signed: Annotated[
        SignedText,
        Field(description="what is signed, such as {body}, {timestamp}.{body}, {header:X-Id}"),
    ] = "{body}"
    timestamp_header: Annotated[
        HeaderName | None,
        Field(description="the header that has the time of signing, such as X-Timestamp"),
    ] = None
    timestamp_unit: Annotated[
        Literal["s", "ms", "iso"],
        Field(description="what that header counts since 1970, or iso: an ISO 8601 time"),
    ] = "s"
    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a webhook may be, in seconds"),
    ] = 300

    @model_validator(mode="after")
    def _the_options_fit_together(self) -> HmacSignatureOptions:
        signs_timestamp = Timestamp() in parse_signed(self.signed)
        if signs_timestamp and self.timestamp_header is None:
            raise ValueError("signed has {timestamp}: write which header it is in timestamp_header")
        if self.timestamp_header is not None and not (
            signs_timestamp or HeaderSource(self.timestamp_header) in parse_signed(self.signed)
        ):
            raise ValueError(
                "timestamp_header is set and not signed, so anybody could renew it: write "
                "{timestamp} in signed, or leave timestamp_header out"
            )
        if self.separator and self.separator in self.prefix:
            raise ValueError("the prefix has the separator in it: each would end the other")
        if self.header in self.sources().header_names():
            raise ValueError(
                f"a source reads {self.header}, which has the signature: a signature identifies "
                "nothing and is never kept, so write another source"
            )
        return self
