"""From a reference to its secret: the port of a backend, and the resolver that picks one.

Resolving is I/O. It happens when a key ring is built or refreshed, never on the receive path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, runtime_checkable

from credentials.reference import Reference, parse_reference
from credentials.secret import Secret
from schemas.errors import SecretUnavailable

_SECTIONS: Final = {"vault": "vault", "aws-sm": "aws", "azure-kv": "azure", "sealed": "sealed"}


class SecretBackend(Protocol):
    """One place where secrets are kept. It passes the suite in tests/credentials."""

    @property
    def scheme(self) -> str:
        """What its references start with, without the colon."""

    def fetch(self, reference: Reference) -> Secret:
        """The value as it is now, never empty; SecretUnavailable, without the value, if not.

        BackendAway if the backend could not be asked: only then may an older value still count.
        """


@runtime_checkable
class Silenceable(Protocol):
    """A backend that may be away, and knows since when it is."""

    def silent_s(self) -> float:
        """How long it has given no answer to what is still wanted of it; 0 if it does."""


@runtime_checkable
class Expiring(Protocol):
    """A backend that remembers values."""

    def expire(self, reference: Reference) -> None:
        """What it remembers of this was just changed."""


class Resolver:
    """Resolves references with the backends that it was given, by scheme."""

    def __init__(
        self,
        backends: Iterable[SecretBackend],
        on_resolved: Callable[[Secret], None] | None = None,
    ) -> None:
        """`on_resolved` sees each value before its caller does, so that logs can redact it."""
        self._backends = {backend.scheme: backend for backend in backends}
        self._on_resolved = on_resolved

    def resolve(self, ref: str) -> Secret:
        """The secret; SecretReferenceError or SecretUnavailable, neither with its value."""
        reference = parse_reference(ref)
        backend = self._backends.get(reference.scheme)
        if backend is None:
            here = " or ".join(f"{scheme}:" for scheme in sorted(self._backends)) or "none"
            raise SecretUnavailable(
                f"{reference.scheme}: is a known scheme, but Hookline is not set up for it here; "
                f"write credentials.{_SECTIONS.get(reference.scheme, reference.scheme)} in "
                f"hookline.yaml (docs/secrets.md), or use {here}"
            )
        secret = backend.fetch(reference)
        if self._on_resolved is not None:
            self._on_resolved(secret)
        return secret

    def expire(self, ref: str) -> None:
        """This process has just changed the secret, or learnt of it: ask for it the next time."""
        reference = parse_reference(ref)
        backend = self._backends.get(reference.scheme)
        if isinstance(backend, Expiring):
            backend.expire(reference)

    def silent_s(self) -> dict[str, float]:
        """Scheme → how long its backend has given no answer; of those that may be away."""
        return {
            scheme: backend.silent_s()
            for scheme, backend in self._backends.items()
            if isinstance(backend, Silenceable)
        }
