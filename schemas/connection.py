"""A connection: one customer's link to one system. It names secrets and never holds one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from schemas.errors import SecretReferenceError

#: What a secret's reference may start with, before the colon.
SECRET_SCHEMES: Final = frozenset({"env", "file", "vault", "aws-sm", "azure-kv", "sealed"})


class ConnectionState(StrEnum):
    """Only an active connection accepts webhooks; the others answer as if unknown."""

    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"


class SecretReference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a signing secret is, under which name, and from when to when it counts (Unix s).

    It cannot be made of anything but a reference, so that no secret gets onto a topic or into a
    file by mistake. `environment` is the only one that may use it; empty where none is named.
    """

    name: str
    ref: str
    not_before_s: float | None = None
    not_after_s: float | None = None
    environment: str = ""

    def __post_init__(self) -> None:
        scheme, colon, place = self.ref.partition(":")
        if not (colon and place and scheme in SECRET_SCHEMES):
            raise SecretReferenceError(
                f"secret {self.name!r} is not a reference such as env:NAME or file:/path (not "
                "shown, it may be the secret itself)"
            )

    def active(self, now_s: float) -> bool:
        """Whether it counts at `now_s`."""
        return (self.not_before_s is None or now_s >= self.not_before_s) and (
            self.not_after_s is None or now_s < self.not_after_s
        )

    def ended(self, now_s: float) -> bool:
        """Whether its time was over before `now_s`: it may be deleted at its backend by now."""
        return self.not_after_s is not None and now_s >= self.not_after_s


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection. `options` are its provider's own, already checked."""

    id: str
    tenant: str
    provider: str
    environment: str
    secrets: tuple[SecretReference, ...] = ()
    options: dict[str, Any] = {}
    state: ConnectionState = ConnectionState.ACTIVE
