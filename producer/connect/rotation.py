"""A new signing secret for a connection, beside the one in use: pure, but for its random name."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from producer.connect.system import System
from producer.connections.followed import Changed
from schemas.connection import Connection, SecretReference
from schemas.connection_access import ConnectionAccess

#: Under which name the access record has the secret that is in use.
SIGNING: Final = "signing_secret"
MAX_SECRETS: Final = 10


def rotatable(system: System) -> bool:
    """Whether we make its signing secrets, rather than the system or the customer."""
    return system.webhook.secret.source == "generated"


def new_name(now_us: int, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """`signing-2026-12-01-3f9a1c`: by its day, and of two of one day or moment each its own, also
    at the backend."""
    day = datetime.fromtimestamp(now_us / 1e6, UTC)
    return f"signing-{day:%Y-%m-%d}-{random(3).hex()}"


def rotated(
    connection: Connection,
    access: ConnectionAccess,
    added: SecretReference,
    *,
    now_us: int,
    not_after_s: float,
    by: str,
) -> Changed:
    """With the new secret; the others count until `not_after_s`, and those whose time is over are
    no longer listed. Where they are stays known, so that they go when the connection does."""
    now_s = now_us / 1e6
    kept = tuple(_until(one, not_after_s) for one in connection.secrets if not one.ended(now_s))
    known = dict(access.credentials)
    for old in connection.secrets:
        if old.ref not in known.values() or known.get(SIGNING) == old.ref:
            known[f"{SIGNING}_{old.name}"] = old.ref
    known[SIGNING] = added.ref
    return Changed(
        replace(connection, secrets=(*kept, added)),
        replace(access, credentials=known, changed_at_us=now_us, changed_by=by),
    )


def _until(secret: SecretReference, not_after_s: float) -> SecretReference:
    ends_s = secret.not_after_s
    return replace(secret, not_after_s=not_after_s if ends_s is None else min(ends_s, not_after_s))
