"""JSON Pointer (RFC 6901), as mappings of payloads name their places."""

from __future__ import annotations

import re
from typing import Any, Final

MAX_TOKENS: Final = 16
MISSING: Final = object()
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,7}")


def parse(text: str) -> tuple[str, ...]:
    """The unescaped tokens; ValueError says what to write."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON pointer: write one such as /issue/id")
    tokens = text[1:].split("/")
    if len(tokens) > MAX_TOKENS:
        raise ValueError(f"a pointer has at most {MAX_TOKENS} parts, {text!r} has {len(tokens)}")
    for token in tokens:
        if "~" in token.replace("~0", "").replace("~1", ""):
            raise ValueError(f"in {text!r}, write ~0 for a ~ in a name and ~1 for a /")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def resolve(document: Any, tokens: tuple[str, ...]) -> Any:
    """The value there, which may be None; MISSING where there is none."""
    node = document
    for token in tokens:
        if isinstance(node, dict):
            node = node.get(token, MISSING)
        elif isinstance(node, list):
            index = (
                token.isascii() and token.isdigit() and len(token) < 9 and token == str(int(token))
            )
            node = node[int(token)] if index and int(token) < len(node) else MISSING
        else:
            return MISSING
    return node
