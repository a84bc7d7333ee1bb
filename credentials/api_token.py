"""Our own API tokens: `hl_{environment}_{id}{secret}{checksum}`; pure.

The id (8 letters or digits) is public: lists, logs and the audit log call the token by it. The
secret (28 of them, 166 bits) is known to its owner alone. The checksum (CRC-32 of all before it)
lets a scanner tell a token from its like without asking us, and us say "a character is missing".

Kept is SHA-256 of the whole, with no salt and no slow hash: these are for what people choose, which
can be guessed from a list. Nobody guesses 166 random bits, however fast the hash, and a slow one
would be paid at each request and be a way to keep us busy.
"""

from __future__ import annotations

import hmac
import re
import secrets
from binascii import crc32
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from credentials.secret import Secret
from schemas.api_token import ID_CHARS
from schemas.errors import TokenRefused

SECRET_CHARS: Final = 28
CHECKSUM_CHARS: Final = 6
MAX_CHARS: Final = 128

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM: Final = re.compile(
    rf"hl_(?P<environment>[a-z0-9][a-z0-9._-]{{0,62}})_(?P<id>[0-9A-Za-z]{{{ID_CHARS}}})"
    rf"[0-9A-Za-z]{{{SECRET_CHARS}}}(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_CHARS}}})",
    re.ASCII,
)


class PresentedToken(NamedTuple):
    """A token whose form and checksum are right; whether it counts is another question."""

    environment: str
    id: str
    digest: bytes


def make_token(
    environment: str, choose: Callable[[str], str] = secrets.choice
) -> tuple[Secret, PresentedToken]:
    """A new token, and what is kept of it."""
    letters = "".join(choose(_ALPHABET) for _ in range(ID_CHARS + SECRET_CHARS))
    start = f"hl_{environment}_{letters}"
    text = start + checksum(start)
    return Secret(text), parse_token(text)


def parse_token(text: str) -> PresentedToken:
    """What was presented; TokenRefused, which does not repeat it, if it is no whole token."""
    match = _FORM.fullmatch(text) if len(text) <= MAX_CHARS else None
    if match is None:
        raise TokenRefused(
            "this is no API token of Hookline: paste all of it, from `hl_` on, without spaces",
            "malformed",
        )
    if not hmac.compare_digest(checksum(text[:-CHECKSUM_CHARS]), match["checksum"]):
        raise TokenRefused(
            "a character of this API token is missing or changed: copy it again, or make another "
            "with `hookline tokens create`",
            "checksum",
        )
    return PresentedToken(match["environment"], match["id"], digest(text))


def digest(text: str) -> bytes:
    """What is kept in place of the token."""
    return sha256(text.encode("ascii")).digest()


def checksum(text: str) -> str:
    """CRC-32 in base 62, six characters: finds every change of up to four characters in a row."""
    number, found = crc32(text.encode("ascii")), ""
    for _ in range(CHECKSUM_CHARS):
        number, rest = divmod(number, len(_ALPHABET))
        found = _ALPHABET[rest] + found
    return found


def public_part(text: str) -> str:
    """`hl_{environment}_{id}` of anything that begins like a token; empty for all else.

    It tells tokens apart where one may not be written: in a throttle, in a log.
    """
    match = re.match(
        rf"hl_[a-z0-9][a-z0-9._-]{{0,62}}_[0-9A-Za-z]{{{ID_CHARS}}}(?=[0-9A-Za-z])", text, re.ASCII
    )
    return match[0] if match is not None else ""
