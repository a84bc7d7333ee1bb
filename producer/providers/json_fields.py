"""The values at a few pointers of a JSON body, read in one pass that builds nothing else.

The pointers become a msgspec type, so the decoder skips all other fields (a few times faster than
the whole document). Where a type cannot say it, the whole document is decoded; both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from producer.providers import json_pointer
from producer.providers.json_body import decode
from producer.providers.json_pointer import Tokens
from producer.providers.provider import Unreadable
from producer.providers.unreadable import Reason

_Leaf = str | int | float | bool | None
_WHOLE: Final = msgspec.json.Decoder()


class JsonFields:
    """Reads the values at fixed pointers."""

    def __init__(self, pointers: Sequence[Tokens]) -> None:
        self._pointers = tuple(pointers)
        tree = _tree(self._pointers)
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._paths: tuple[tuple[str, ...], ...] = ()
        if tree is not None:
            names: dict[Tokens, tuple[str, ...]] = {}
            self._decoder = msgspec.json.Decoder(_struct(tree, (), (), names))
            self._paths = tuple(names[pointer] for pointer in self._pointers)

    def read(self, body: bytes) -> list[Any] | Unreadable:
        """A value for each pointer, in their order; None where it is missing or null."""
        if self._decoder is None:
            return self._read_whole(body)
        found = decode(self._decoder, body)
        if isinstance(found, Unreadable):
            # A list or text where we looked for an object: the event may still be readable.
            if found.reason == Reason.BODY_UNEXPECTED:
                return self._read_whole(body)
            return found
        values = []
        for path in self._paths:
            value = found
            for name in path:
                value = getattr(value, name, None)
            values.append(value)
        return values

    def _read_whole(self, body: bytes) -> list[Any] | Unreadable:
        document = decode(_WHOLE, body)
        if isinstance(document, Unreadable):
            return document
        if not isinstance(document, dict):
            return Unreadable(Reason.BODY_UNEXPECTED.value, "the JSON is not an object")
        return [json_pointer.resolve(document, tokens) for tokens in self._pointers]


def _tree(pointers: Sequence[Tokens]) -> dict[str, Any] | None:
    """The pointers as nested dicts with {} as leaf; None where no type can describe them."""
    tree: dict[str, Any] = {}
    leaves = set(pointers)
    for pointer in pointers:
        node = tree
        for depth, token in enumerate(pointer, 1):
            above_another = depth < len(pointer) and pointer[:depth] in leaves
            if above_another or json_pointer.is_index(token) or not _is_field_name(token):
                return None
            node = node.setdefault(token, {})
    return tree


def _is_field_name(token: str) -> bool:
    # msgspec refuses these in a field's name, because they would be escaped in JSON.
    return token.isascii() and token.isprintable() and '"' not in token and "\\" not in token


def _struct(
    tree: dict[str, Any],
    tokens: Tokens,
    names: tuple[str, ...],
    found: dict[Tokens, tuple[str, ...]],
) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    for number, (token, below) in enumerate(tree.items()):
        name = f"field_{number}"
        rename[name] = token
        if below:
            inner = _struct(below, (*tokens, token), (*names, name), found)
            fields.append((name, inner | None, None))
        else:
            found[(*tokens, token)] = (*names, name)
            fields.append((name, _Leaf, None))
    return msgspec.defstruct("Fields", fields, rename=rename, frozen=True)
