"""Secrets that are text: as bytes for an HMAC, or as a token that is itself sent.

Tokens are compared by their digests, so that neither where they differ nor how long they are
shows in the time.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from credentials.key_ring import Key
from schemas.errors import SecretFormatError


class Token(msgspec.Struct, frozen=True):
    """A secret that the system sends; its text is there for `sign`."""

    text: str
    digest: bytes


def as_bytes(secret: str, what: str) -> bytes:
    """The secret's UTF-8 bytes, exactly as they are; `what` begins the SecretFormatError."""
    if not secret:
        raise SecretFormatError(f"{what} is empty: copy it from where the system shows it")
    try:
        return secret.encode()
    except UnicodeEncodeError:
        raise SecretFormatError(f"{what} is not text in UTF-8") from None


def as_token(secret: str, what: str) -> Token:
    """The secret as a token."""
    return Token(secret, _digest(as_bytes(secret, what)))


def matching_key(text: str, keys: Sequence[Key]) -> str | None:
    """The name of the first key whose token this is; every token is compared."""
    # What cannot be encoded is still compared: as something that is no token.
    given = _digest(text.encode("utf-8", "surrogatepass"))
    found = None
    for key in keys:
        token = key.material
        same = isinstance(token, Token) and hmac.compare_digest(token.digest, given)
        if same and found is None:
            found = key.name
    return found


def signing_key(
    content: bytes, signatures: Sequence[bytes], keys: Sequence[Key], algorithm: str = "sha256"
) -> str | None:
    """The name of the first key that made one of the signatures; every one is compared."""
    found = None
    for key in keys:
        if not isinstance(key.material, bytes):
            continue
        expected = hmac.digest(key.material, content, algorithm)
        made = False
        for signature in signatures:
            made |= hmac.compare_digest(expected, signature)
        if made and found is None:
            found = key.name
    return found


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=32).digest()
