"""What is read out of another system's answer: bounded, since it may be anything. Pure."""

from __future__ import annotations

from typing import Any, Final

from producer.providers import json_pointer

#: Of an answer's id, or what of it is kept: a system that sends more, or several lines, sends none.
_MAX_TEXT_CHARS: Final = 500


def at(document: Any, pointer: str) -> Any:
    """What stands there; None if nothing does."""
    return json_pointer.resolve(document, json_pointer.parse(pointer))


def text_at(document: Any, pointer: str) -> str:
    """The text or whole number there, in one line; empty if there is none such."""
    found = at(document, pointer)
    if not isinstance(found, str | int) or isinstance(found, bool):
        return ""
    text = str(found)
    return text if len(text) <= _MAX_TEXT_CHARS and text.isprintable() else ""


def last_segment(text: str) -> str:
    """Of a URL its last part; anything else as it is."""
    return text.rstrip("/").rsplit("/", 1)[-1] if text.startswith("https://") else text
