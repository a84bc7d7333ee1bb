"""`t=…,v1=…[,v1=…]` in one header: the signed time, and a signature for each active secret.

Stripe began it, and others do the same: HMAC-SHA256 in hex of `{t}.{body}`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from credentials.key_ring import Key
from producer.providers import timestamps
from producer.providers.header_values import single
from producer.providers.provider import Refused, Request, Verified
from producer.providers.refusals import (
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    TIMESTAMP_MALFORMED,
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_WINDOW,
)
from producer.providers.secret_text import signing_key
from producer.providers.signature_text import from_hex

#: More entries than any rotation makes; what stands behind them is not read.
MAX_ENTRIES: Final = 32
_HEX_CHARS: Final = 64


def verify(
    request: Request, header: str, keys: Sequence[Key], now_s: float, tolerance_s: int
) -> Verified | Refused:
    """Any one `v1` of the list that any one key made; other schemes are left out."""
    text = single(request.headers, header, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
    if isinstance(text, Refused):
        return text
    times: list[str] = []
    signatures: list[bytes] = []
    for entry in text.split(",", MAX_ENTRIES)[:MAX_ENTRIES]:
        name, _, value = entry.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1" and len(value) == _HEX_CHARS:
            signature = from_hex(value)
            if signature is not None:
                signatures.append(signature)
    if not times:
        return TIMESTAMP_MISSING
    seconds = timestamps.digits(times[0])
    if seconds is None or len(times) > 1:
        return TIMESTAMP_MALFORMED
    if not signatures:
        return SIGNATURE_MALFORMED
    if not timestamps.within(seconds, "s", now_s, tolerance_s):
        return TIMESTAMP_OUTSIDE_WINDOW
    content = f"{times[0]}.".encode() + request.body
    verified_by = signing_key(content, signatures, keys)
    return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)


def sign(body: bytes, key: bytes, now_s: float) -> str:
    """The header's text with one `v1`."""
    seconds = int(now_s)
    signature = hmac.digest(key, f"{seconds}.".encode() + body, "sha256").hex()
    return f"t={seconds},v1={signature}"
