"""The active signing keys of each connection, loaded once and read on every request.

Secrets are resolved when the ring is built or refreshed, never on the receive path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from credentials.secret import MASK, Secret
from schemas.connection import SecretReference
from schemas.errors import SecretError


class Key(msgspec.Struct, frozen=True):
    """A secret made ready by its provider. Its material never shows in a repr or a pickle."""

    name: str
    material: Any

    def __repr__(self) -> str:
        return f"Key(name={self.name!r}, material={MASK})"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a key is never serialised")


class _Entry(msgspec.Struct, frozen=True):
    reference: SecretReference
    key: Key


class KeyRing:
    """The keys of one connection; `active` picks those whose time it is."""

    def __init__(self, entries: list[tuple[SecretReference, Key]]) -> None:
        self._entries = tuple(_Entry(reference, key) for reference, key in entries)
        self._keys = tuple(entry.key for entry in self._entries)
        self._always = all(
            entry.reference.not_before_s is None and entry.reference.not_after_s is None
            for entry in self._entries
        )

    @classmethod
    def load(
        cls,
        references: tuple[SecretReference, ...],
        resolve: Callable[[str], Secret],
        prepare: Callable[[str], object],
    ) -> KeyRing:
        """Resolve each reference and let the provider prepare it; a SecretError names which."""
        entries: list[tuple[SecretReference, Key]] = []
        for reference in references:
            try:
                material = prepare(resolve(reference.ref).reveal())
            except SecretError as error:
                raise type(error)(f"secret {reference.name!r}: {error}") from None
            entries.append((reference, Key(name=reference.name, material=material)))
        return cls(entries)

    def active(self, now_s: float) -> tuple[Key, ...]:
        """The keys that count at `now_s`."""
        if self._always:
            return self._keys
        return tuple(e.key for e in self._entries if e.reference.active(now_s))
