"""A payload as it may be shown: decoded, redacted, and no longer than a page can bear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from schemas.codec import EVENT
from schemas.errors import CodecError

MAX_CHARS: Final = 100_000

#: From a payload to what may be shown of it.
Redact = Callable[[bytes], str]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown. `problem`: why there is nothing."""

    text: str = ""
    cut: bool = False
    headers: dict[str, str] = {}
    problem: str = ""


def payload_of(value: bytes, redact: Redact) -> Payload:
    """The payload in an envelope's bytes."""
    try:
        event = EVENT.decode(value)
    except CodecError:
        return Payload(
            problem="Its bytes cannot be decoded, so nothing of them can be redacted or shown. "
            "`hookline dead-letters show NUMBER --payload` prints them as they are."
        )
    text = redact(event.payload)
    return Payload(text=text[:MAX_CHARS], cut=len(text) > MAX_CHARS)
