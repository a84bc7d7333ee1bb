"""Event types and resource types in one spelling, whatever a provider's own is."""

from __future__ import annotations

import re
from typing import Any, Final

_TYPE: Final = re.compile(r"[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*")
_MAX_TYPE_CHARS: Final = 200
_NOT_SLUG: Final = re.compile(r"[^a-z0-9_-]+")


def event_type_of(provider: str, value: Any) -> str | None:
    """`provider.type`, or None if the type is not dotted words of a usable length."""
    if not isinstance(value, str) or len(value) > _MAX_TYPE_CHARS:
        return None
    # Providers also write customer/created and issue created.
    dotted = value.strip().replace("/", ".").replace(" ", "_")
    return f"{provider}.{dotted}" if _TYPE.fullmatch(dotted) else None


def slug_of(value: Any) -> str | None:
    """A resource type of [a-z0-9_-], or None if nothing of it is left."""
    if not isinstance(value, str) or len(value) > _MAX_TYPE_CHARS:
        return None
    return _NOT_SLUG.sub("_", value.lower()).strip("_") or None
