"""A compressed body as what it was before: never more than the limit, whatever it claims to be.

Only for what is verified: the signature is over the bytes as they came (RFC 9110, 8.4).
"""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import Final

from producer.providers.provider import Headers, Unreadable
from producer.providers.unreadable import Reason, unreadable

#: zlib's window bits: 16 more is gzip's frame (RFC 1952). `deflate` is zlib's (RFC 1950).
_WINDOW_BITS: Final = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})


def inflated(headers: Headers, body: bytes, max_body_bytes: int) -> bytes | Unreadable:
    """The body without its `Content-Encoding`, or why it cannot be had."""
    codings = headers.get_all("content-encoding")
    coding = codings[0].strip().lower() if len(codings) == 1 else ""
    if coding == "identity":
        return body
    bits = _WINDOW_BITS.get(coding)
    if bits is None:
        return unreadable(
            Reason.ENCODING_UNKNOWN,
            "content-encoding is none of gzip, x-gzip, deflate and identity, or there are several",
        )
    stream = zlib.decompressobj(bits)
    try:
        # One byte more shows that it is too large; the rest of a bomb is never made.
        plain = stream.decompress(body, max_body_bytes + 1)
    except zlib.error:
        return unreadable(Reason.ENCODING_BROKEN, f"the body is not the {coding} that it claims")
    if len(plain) > max_body_bytes:
        return unreadable(
            Reason.INFLATED_TOO_LARGE,
            f"inflated, the body is over gateway.max_body_bytes ({max_body_bytes})",
        )
    if not stream.eof:
        return unreadable(Reason.ENCODING_TRUNCATED, f"the {coding} stream ends too early")
    if stream.unused_data:
        # Nor a second member: a million empty ones in a row are a bomb of another kind.
        return unreadable(Reason.ENCODING_TRAILING, f"there is more behind the {coding} stream")
    return plain
