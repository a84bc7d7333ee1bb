"""Texts with `{name}` in them. Only names that are known are replaced; other braces are text.

That is what lets an HMAC's `{timestamp}.{body}` and a GraphQL query stand in an entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_NAMED: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def names(value: Any) -> Iterator[str]:
    """The names in a text, and in all texts of lists and mappings."""
    if isinstance(value, str):
        yield from _NAMED.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names(item)


def fill(template: str, values: Mapping[str, str], as_: Callable[[str], str] = str) -> str:
    """The text with the values in place of their names, each passed through `as_` (such as
    `quote`, for a URL). A value is never looked at for names itself."""

    def put(found: re.Match[str]) -> str:
        name = found[1]
        return as_(values[name]) if name in values else found[0]

    return _NAMED.sub(put, template)


def fill_all(value: Any, values: Mapping[str, str]) -> Any:
    """The same with every text of lists and mappings filled; keys stay."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, Mapping):
        return {key: fill_all(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill_all(item, values) for item in value]
    return value
