"""A secret's value: it can be compared and revealed, and in no other way leaves this type."""

from __future__ import annotations

import hmac
from typing import Any, Final, NoReturn

MASK: Final = "**********"


class Secret:
    """Holds one value. `repr`, `str` and `format` give a mask; pickle, JSON and hash refuse."""

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The value. Call it where the value is used, and keep nothing."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # surrogatepass: a comparison must never raise, whatever the text holds.
        return hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"),
            other._value.encode("utf-8", "surrogatepass"),
        )

    # A hash of the value would be a way to test guesses, and sets of secrets compare in
    # variable time.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change: make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret does not change: make a new one")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is never serialised: pass its reference and resolve it there")
