"""The active signing keys of each connection, loaded once and read on every request.

Secrets are resolved when the ring is built or refreshed, never on the receive path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from credentials.secret import MASK, Secret
from schemas.connection import SecretReference
from schemas.errors import BackendAway, SecretError


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
    #: None while its secret cannot be had: it comes back by a refresh.
    key: Key | None
    #: What the key was made from, to see a change by; None if that is not known.
    secret: Secret | None = None
    #: There is no key, and its backend has not said that there is none.
    silent: bool = False


class KeyRing:
    """The keys of one connection; `active` picks those whose time it is. It never changes."""

    def __init__(self, entries: list[tuple[SecretReference, Key]]) -> None:
        self._take([_Entry(reference, key) for reference, key in entries])

    @classmethod
    def load(
        cls,
        references: tuple[SecretReference, ...],
        resolve: Callable[[str], Secret],
        prepare: Callable[[str], object],
    ) -> KeyRing:
        """Resolve each reference and let the provider prepare it; a SecretError names which."""
        entries: list[_Entry] = []
        for reference in references:
            try:
                entries.append(_made(reference, resolve(reference.ref), prepare))
            except SecretError as error:
                raise type(error)(f"secret {reference.name!r}: {error}") from None
        return cls._of(entries)

    def refreshed(
        self,
        resolve: Callable[[str], Secret],
        prepare: Callable[[str], object],
        lost: Callable[[SecretReference, SecretError], bool] = lambda reference, error: True,
        now_s: float = 0.0,
    ) -> KeyRing:
        """The ring as the backends have it now; this same one if nothing has changed.

        What has ended at `now_s` (Unix) is not looked at: it may be deleted, and rightly.
        A key whose secret cannot be had is left out if `lost` says so, and comes back when a later
        refresh finds it. `lost` is called again for one that is out already.
        """
        entries: list[_Entry] = []
        for entry in self._entries:
            if entry.reference.ended(now_s):
                entries.append(entry)
                continue
            try:
                secret = resolve(entry.reference.ref)
                if entry.key is not None and entry.secret == secret:
                    entries.append(entry)
                    continue
                entries.append(_made(entry.reference, secret, prepare))
            except SecretError as error:
                silent = isinstance(error, BackendAway)
                # A refusal stands while its backend is silent.
                news = entry.key is not None or (entry.silent and not silent)
                if lost(entry.reference, error) and news:
                    entries.append(_Entry(entry.reference, None, silent=silent))
                else:
                    entries.append(entry)
        same = all(new is old for new, old in zip(entries, self._entries, strict=True))
        return self if same else self._of(entries)

    def active(self, now_s: float) -> tuple[Key, ...]:
        """The keys that count at `now_s`."""
        if self._always:
            return self._keys
        return tuple(
            e.key for e in self._entries if e.key is not None and e.reference.active(now_s)
        )

    def silent(self, now_s: float) -> bool:
        """Whether a secret that counts at `now_s` is not known, for its backend gives no answer."""
        return any(e.silent and e.reference.active(now_s) for e in self._entries)

    def narrowed(self, references: tuple[SecretReference, ...]) -> KeyRing:
        """Those keys whose name and place are among `references`, with the times given there."""
        held = {_place(entry.reference): entry for entry in self._entries}
        return self._of(
            [
                msgspec.structs.replace(held[_place(wanted)], reference=wanted)
                for wanted in references
                if _place(wanted) in held
            ]
        )

    def joined(self, other: KeyRing) -> KeyRing:
        """The keys of both."""
        return self._of([*self._entries, *other._entries])

    def lacking(self, references: tuple[SecretReference, ...]) -> tuple[SecretReference, ...]:
        """Those of `references` that this ring was not made from, whatever became of their keys."""
        held = {_place(entry.reference) for entry in self._entries}
        return tuple(wanted for wanted in references if _place(wanted) not in held)

    def names(self) -> tuple[str, ...]:
        """The names of the keys that are there, whether it is their time or not."""
        return tuple(key.name for key in self._keys)

    @property
    def lost(self) -> bool:
        """Whether there were keys and all their secrets cannot be had."""
        return bool(self._entries) and not self._keys

    @classmethod
    def _of(cls, entries: list[_Entry]) -> KeyRing:
        ring = cls.__new__(cls)
        ring._take(entries)
        return ring

    def _take(self, entries: list[_Entry]) -> None:
        self._entries = tuple(entries)
        self._keys = tuple(entry.key for entry in entries if entry.key is not None)
        self._always = all(
            entry.reference.not_before_s is None and entry.reference.not_after_s is None
            for entry in entries
        )


def _made(reference: SecretReference, secret: Secret, prepare: Callable[[str], object]) -> _Entry:
    return _Entry(reference, Key(reference.name, prepare(secret.reveal())), secret)


def _place(reference: SecretReference) -> tuple[str, str]:
    """A secret that moves is another one."""
    return reference.name, reference.ref
