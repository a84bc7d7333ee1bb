"""What ids, event types and resource types may hold, wherever they come from.

NUL keeps the parts of a dedupe id apart and control characters forge log lines, so no id has one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from producer.providers.provider import Unreadable
from producer.providers.unreadable import Reason, unreadable
from schemas.event import MAX_ID_CHARS

MAX_TYPE_CHARS: Final = 200

_TYPE_BYTES: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-:."
_SLUG_BYTES: Final = b"abcdefghijklmnopqrstuvwxyz0123456789_-"

# What is longer cannot be an id, and str() of an integer raises above 4300 digits.
_MAX_INTEGER: Final = 10**100


def as_id(value: object, field: str, missing: Reason) -> str | Unreadable:
    """An id from a header or a JSON field (text or integer); `field` names it in the detail."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not -_MAX_INTEGER < value < _MAX_INTEGER:
            return unreadable(Reason.ID_TOO_LONG, f"the {field} is too long a number")
        return str(value)
    if not isinstance(value, str):
        if value is None:
            return unreadable(missing, f"there is no {field}")
        return unreadable(Reason.ID_MALFORMED, f"the {field} is neither text nor an integer")
    if not value:
        return unreadable(missing, f"the {field} is empty")
    if len(value) > MAX_ID_CHARS:
        return unreadable(Reason.ID_TOO_LONG, f"the {field} is over {MAX_ID_CHARS} characters")
    if not (value.isascii() and value.isprintable()) and any(map(_forbidden, value)):
        return unreadable(Reason.ID_MALFORMED, f"the {field} holds a control character")
    return value


# Types repeat; what a sender may invent is bounded in number and, below, in length.
@lru_cache(maxsize=1024)
def _dotted(value: str) -> str | None:
    dotted = value.replace("/", ".")
    if (
        not dotted.isascii()
        or dotted.encode().translate(None, _TYPE_BYTES)
        or ".." in dotted
        or dotted[0] == "."
        or dotted[-1] == "."
    ):
        return None
    return dotted


def as_event_type(value: object) -> str | Unreadable:
    """An event type in dotted segments that a handler's pattern can name; `/` becomes a dot."""
    if not isinstance(value, str):
        if value is None:
            return unreadable(Reason.EVENT_TYPE_MISSING, "there is no event type")
        return unreadable(Reason.EVENT_TYPE_MALFORMED, "the event type is not text")
    if not value:
        return unreadable(Reason.EVENT_TYPE_MISSING, "the event type is empty")
    if len(value) > MAX_TYPE_CHARS:
        return unreadable(
            Reason.EVENT_TYPE_MALFORMED, f"the event type is over {MAX_TYPE_CHARS} characters"
        )
    dotted = _dotted(value)
    if dotted is None:
        return unreadable(
            Reason.EVENT_TYPE_MALFORMED,
            "the event type is not segments of letters, digits, _, - and : with dots between",
        )
    return dotted


def as_resource_type(value: object) -> str | Unreadable:
    """A resource type: a slug of a-z, 0-9, _ and -; capitals become small."""
    if value is None or value == "":
        return unreadable(Reason.RESOURCE_TYPE_MISSING, "there is no resource type")
    if isinstance(value, str) and len(value) <= MAX_TYPE_CHARS and value.isascii():
        slug = value.lower()
        if not slug.encode().translate(None, _SLUG_BYTES):
            return slug
    return unreadable(
        Reason.RESOURCE_TYPE_MALFORMED, "the resource type is not a word of a-z, 0-9, _ and -"
    )


def resource_type_of(event_type: str) -> str:
    """The resource type that a checked event type begins with: `invoice` of `invoice.paid`."""
    return event_type.replace(":", ".").lstrip(".").partition(".")[0].lower() or "event"


def _forbidden(character: str) -> bool:
    # C0 and C1 controls, and surrogates, which cannot be encoded.
    return character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"
