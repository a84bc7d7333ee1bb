"""A new signing secret for a connection, beside the one in use: pure, but for its random name.

While the system is being told, the access record names the new secret as the next one: that keeps
a second rotation out, and lets it be found should the process die.
"""

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
#: And the one that the system is being given.
NEXT: Final = "signing_secret_next"
MAX_SECRETS: Final = 10
#: After which a rotation that has not ended has died.
UNDER_WAY_US: Final = 120_000_000


def why_not(system: System, access: ConnectionAccess) -> str:
    """Why its secret is not ours to rotate, and what to do instead; empty if it is."""
    webhook = system.webhook
    if webhook.secret.source == "app":
        return (
            f"Its webhooks are signed with the secret of your own app at {system.name}: make a new "
            "one there, and name it beside the old one with `hookline secrets rotate`."
        )
    if webhook.registration.rotate is not None and access.webhook_id not in ("", "-"):
        return ""
    return (
        f"{system.name} cannot be given a new secret by a request: make a new one in "
        f"{system.name}, keep it where your secrets are, and name it beside the old one with "
        "`hookline secrets rotate`. Or revoke this connection, and let your customer connect again "
        "under another id."
    )


def new_name(now_us: int, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """`signing-2026-12-01-3f9a1c`: by its day, and of two of one day or moment each its own, also
    at the backend."""
    day = datetime.fromtimestamp(now_us / 1e6, UTC)
    return f"signing-{day:%Y-%m-%d}-{random(3).hex()}"


def under_way(access: ConnectionAccess, now_us: int) -> bool:
    """Whether the system is being told at the moment, by whomever."""
    return NEXT in access.credentials and now_us - access.changed_at_us < UNDER_WAY_US


def begun(
    connection: Connection,
    access: ConnectionAccess,
    ref: str,
    added: SecretReference | None,
    *,
    now_us: int,
    by: str,
) -> Changed:
    """With `ref` as the next secret; `added`, if it is known already, counts from now on."""
    known = _named(_without_next(access), connection) | {NEXT: ref}
    secrets_ = _living(connection, now_us)
    if added is not None:
        secrets_ = (*secrets_, added)
    return _changed(connection, access, secrets_, known, now_us, by)


def undone(
    connection: Connection, access: ConnectionAccess, ref: str, *, now_us: int, by: str
) -> Changed:
    """Without the next secret, as if it had never been."""
    known = {name: one for name, one in access.credentials.items() if one != ref}
    kept = tuple(one for one in connection.secrets if one.ref != ref)
    return _changed(connection, access, kept, known, now_us, by)


def left_open(connection: Connection, access: ConnectionAccess, *, now_us: int, by: str) -> Changed:
    """The next secret stays beside the others, since the system may have taken it."""
    known = _without_next(access)
    return _changed(connection, access, connection.secrets, known, now_us, by)


def rotated(
    connection: Connection,
    access: ConnectionAccess,
    added: SecretReference,
    *,
    now_us: int,
    not_after_s: float,
    by: str,
) -> Changed:
    """With the new secret, which the system has; the others count until `not_after_s`, and those
    whose time is over are no longer listed. Where they are stays known, so that they go when the
    connection does."""
    old = [one for one in _living(connection, now_us) if one.ref != added.ref]
    kept = tuple(_until(one, not_after_s) for one in old)
    known = _named({n: r for n, r in access.credentials.items() if r != added.ref}, connection)
    known.pop(NEXT, None)
    for one in connection.secrets:
        if one.ref == known.get(SIGNING):
            known[f"{SIGNING}_{one.name}"] = one.ref
    known[SIGNING] = added.ref
    return _changed(connection, access, (*kept, added), known, now_us, by)


def _living(connection: Connection, now_us: int) -> tuple[SecretReference, ...]:
    return tuple(one for one in connection.secrets if not one.ended(now_us / 1e6))


def _named(known: dict[str, str], connection: Connection) -> dict[str, str]:
    """With the place of each secret that is listed."""
    there = set(known.values())
    more = {f"{SIGNING}_{s.name}": s.ref for s in connection.secrets if s.ref not in there}
    return known | more


def _without_next(access: ConnectionAccess) -> dict[str, str]:
    """One that somebody has not ended is kept under a name of its own."""
    known = dict(access.credentials)
    if ref := known.pop(NEXT, ""):
        known[f"{SIGNING}_{ref.rpartition('/')[2]}"] = ref
    return known


def _changed(
    connection: Connection,
    access: ConnectionAccess,
    secrets_: tuple[SecretReference, ...],
    known: dict[str, str],
    now_us: int,
    by: str,
) -> Changed:
    return Changed(
        replace(connection, secrets=secrets_),
        replace(access, credentials=known, changed_at_us=now_us, changed_by=by),
    )


def _until(secret: SecretReference, not_after_s: float) -> SecretReference:
    ends_s = secret.not_after_s
    return replace(secret, not_after_s=not_after_s if ends_s is None else min(ends_s, not_after_s))
