"""A request's headers as the providers ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Header names as they come over the wire, in lower case and as text; few, and in all requests.
_names: Final[dict[bytes, str]] = {}
_NAMES_KEPT: Final = 2_048


class RequestHeaders(dict[str, str]):
    """Lower-case name → first value. What is not ASCII is not there: it proves nothing."""

    __slots__ = ("_repeated",)

    def __init__(self) -> None:
        super().__init__()
        self._repeated: dict[str, list[str]] | None = None

    def fill(self, lines: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
        """Note all lines of a head in the order of arrival.

        Gives the names whose values are not ASCII, as often as they came.
        """
        names = _names
        unreadable: tuple[str, ...] = ()
        for name, value in lines:
            try:
                key = names.get(name) or _name(name)
            except UnicodeDecodeError:
                continue
            try:
                text = value.decode("ascii")
            except UnicodeDecodeError:
                unreadable += (key,)
                continue
            if key in self:
                if self._repeated is None:
                    self._repeated = {}
                self._repeated.setdefault(key, [self[key]]).append(text)
            else:
                self[key] = text
        return unreadable

    def get_all(self, key: str) -> list[str]:
        """Every value in the order of arrival; empty if there is none."""
        if self._repeated is not None and key in self._repeated:
            return self._repeated[key]
        value = self.get(key)
        return [] if value is None else [value]


def _name(name: bytes) -> str:
    text = name.decode("ascii").lower()
    # A sender may make up names without end.
    if len(_names) < _NAMES_KEPT and len(name) <= 64:
        _names[name] = text
    return text
