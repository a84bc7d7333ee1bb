"""The keys of the sealed file: made by `hookline secrets seal-key`, the first writes, all read."""

from __future__ import annotations

import base64
import re
import secrets
import zlib
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from credentials.secret import MASK, Secret
from schemas.errors import SecretFormatError

#: So that scanners of leaked secrets can find one.
PREFIX: Final = "hlseal_"
KEY_BYTES: Final = 32
#: A rotation needs two; more are read only because somebody forgot to take them out.
MAX_KEYS: Final = 8
_CHECK_BYTES: Final = 4
_SEPARATORS: Final = re.compile(r"[\s,]+")


class SealKey(msgspec.Struct, frozen=True):
    """One key. `id` tells it from others and says nothing of it."""

    id: str
    material: bytes

    def derived(self, salt: bytes, purpose: str) -> bytes:
        """32 bytes for one file (its `salt`) and one purpose, by HKDF-SHA256 (RFC 5869)."""
        return _hkdf(self.material, salt, purpose)

    def __repr__(self) -> str:
        return f"SealKey(id={self.id!r}, material={MASK})"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a key is never serialised")


def new_seal_key() -> Secret:
    """A new key as text: 256 random bits and a checksum against cut-off copies."""
    material = secrets.token_bytes(KEY_BYTES)
    text = base64.urlsafe_b64encode(material + _check(material)).decode()
    return Secret(f"{PREFIX}{text}")


def split_seal_keys(text: Secret) -> list[Secret]:
    """The keys in a text, each by itself, in their order, not looked at."""
    return [Secret(part) for part in _SEPARATORS.split(text.reveal()) if part]


def seal_keys(text: Secret) -> list[SealKey]:
    """The keys of a text that holds one or several, with spaces, commas or line ends between.

    SecretFormatError, which shows none of it, if it is anything else.
    """
    parts = split_seal_keys(text)
    if not 0 < len(parts) <= MAX_KEYS:
        raise SecretFormatError(
            f"it holds {len(parts)} keys; write one to {MAX_KEYS}, with a line end or a comma "
            "between them, the one that writes first"
        )
    return [_seal_key(part.reveal(), number) for number, part in enumerate(parts, 1)]


def _seal_key(text: str, number: int) -> SealKey:
    data = b""
    if text.startswith(PREFIX) and text.isascii():
        try:
            data = base64.b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True)
        except ValueError:
            # Raised below: the decoder's error would lead to the text.
            data = b""
    material, check = data[:KEY_BYTES], data[KEY_BYTES:]
    if len(material) != KEY_BYTES or check != _check(material):
        raise SecretFormatError(
            f"number {number} of its keys is none, or was cut off or changed (not shown); it has "
            f"{len(text)} characters: `hookline secrets seal-key` makes one of "
            f"{len(PREFIX) + 48}, which starts with {PREFIX}"
        )
    return SealKey(_hkdf(material, b"", "key id")[:6].hex(), material)


def _check(material: bytes) -> bytes:
    return zlib.crc32(material).to_bytes(_CHECK_BYTES, "big")


def _hkdf(material: bytes, salt: bytes, purpose: str) -> bytes:
    info = f"hookline sealed 1 {purpose}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt or None, info).derive(material)
