"""A body of JSON into a typed value, or the reason why not. Nothing raises.

Of a key that stands twice the last counts, which is also what `Event.json()` shows a handler.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from producer.providers.provider import Unreadable
from producer.providers.unreadable import Reason, unreadable

T = TypeVar("T")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T | Unreadable:
    """The body as the decoder's type; the details name our fields and positions, no content."""
    if not is_utf8(body):
        return unreadable(Reason.BODY_NOT_UTF8, "the body is not UTF-8")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        return unreadable(Reason.BODY_UNEXPECTED, f"the JSON differs from what is sent: {error}")
    except (msgspec.DecodeError, ValueError) as error:
        return unreadable(Reason.BODY_NOT_JSON, f"the body is not JSON: {error}")
    except RecursionError:
        return unreadable(Reason.BODY_TOO_DEEP, "the JSON is nested too deeply")


def is_utf8(body: bytes) -> bool:
    """Whether all of it is UTF-8. The decoder does not look into fields that it skips."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
