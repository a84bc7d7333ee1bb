"""JSON Pointer (RFC 6901): one place in a JSON document, as text and as its tokens."""

from __future__ import annotations

from typing import Any, Final

Tokens = tuple[str, ...]

MAX_TOKENS: Final = 16
_MAX_INDEX_DIGITS: Final = 9


def parse(text: str) -> Tokens:
    """The unescaped tokens; ValueError says what to write. The whole document is no pointer."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON pointer: write one such as /data/id")
    tokens = tuple(text[1:].split("/"))
    if len(tokens) > MAX_TOKENS:
        raise ValueError(f"a pointer may have at most {MAX_TOKENS} parts, this one {len(tokens)}")
    for token in tokens:
        if "~" in token.replace("~0", "").replace("~1", ""):
            raise ValueError(f"in {text!r}, write ~0 for a ~ in a name and ~1 for a /")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def resolve(document: Any, tokens: Tokens) -> Any:
    """The value there; None where there is none, as for null."""
    node = document
    for token in tokens:
        if isinstance(node, dict):
            node = node.get(token)
        elif isinstance(node, list):
            index = _index(token)
            node = node[index] if index is not None and index < len(node) else None
        else:
            return None
    return node


def is_index(token: str) -> bool:
    """Whether the token could mean an array's element."""
    return _index(token) is not None


def _index(token: str) -> int | None:
    if len(token) > _MAX_INDEX_DIGITS or not (token.isascii() and token.isdigit()):
        return None
    return None if token[0] == "0" and token != "0" else int(token)
