"""Signatures and keys as text: hex, base64 and base64url to bytes, strictly.

None for anything that is not exactly the encoding, so that a caller cannot forget an exception.
Both decoders take the same time wherever a valid text differs from another.
"""

from __future__ import annotations

from binascii import a2b_base64, unhexlify
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

_URL_TO_STANDARD: Final = str.maketrans("-_", "+/")


def from_hex(text: str) -> bytes | None:
    """The bytes that hex digits of either case stand for. No spaces, unlike bytes.fromhex."""
    try:
        return unhexlify(text)
    except ValueError:
        return None


def from_base64(text: str) -> bytes | None:
    """The bytes of RFC 4648 section 4; padding may be left out, nothing else may differ."""
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None


def from_base64url(text: str) -> bytes | None:
    """The bytes of RFC 4648 section 5, whose alphabet has - and _; padding may be left out."""
    if "+" in text or "/" in text:
        return None
    return from_base64(text.translate(_URL_TO_STANDARD))


DECODERS: Final[Mapping[str, Callable[[str], bytes | None]]] = MappingProxyType(
    {"hex": from_hex, "base64": from_base64, "base64url": from_base64url}
)
