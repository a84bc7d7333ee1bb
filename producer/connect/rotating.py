"""A connection's signing secret is changed here and at its system, in an order in which no webhook
is refused: ours counts at the gateway before the system is told of it, and the old one ends only
after the system has taken the new one.

Crash windows, each safe: before the system is told, a secret counts that nobody signs with; after,
both count without an end. The record names the secret as the next one; after two minutes another
rotation takes over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets as randomness
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from credentials.secret import Secret
from credentials.writing import SecretWriter
from producer.connect import rotation
from producer.connect.actions import Catalogue, FlowRefused
from producer.connect.system import System
from producer.connect.system_calls import signing_secret
from producer.connect.system_secrets import SystemSecrets, Told, Verdict
from producer.connections.followed import Change, Changed
from producer.connections.ledger import Ledger
from schemas.connection import Connection, ConnectionState, SecretReference
from schemas.connection_access import ConnectionAccess
from schemas.errors import HooklineError

log = logging.getLogger("hookline.connect")

T = TypeVar("T")

_US: Final = 1_000_000
_WRITES: Final = 3
#: How long a sign for the gateway can be of any use.
_SIGN_S: Final = 120.0
#: Whose it is: no customer's.
_SIGN_TENANT: Final = "hookline"


class Book(Protocol):
    """The connections, as `FollowedConnections` has them; what waits is for threads."""

    def look(self, at: Callable[[Ledger], T]) -> T:
        """What `at` says of the ledger; TopicError while it is not known."""

    def put(self, connection_id: str, change: Change, by: str) -> Connection:
        """Write what `change` makes of it."""

    def remove(self, connection_id: str) -> None:
        """Take all its records away."""


class Done(NamedTuple):
    """The name of the new secret, those that it takes the place of, and until when they count."""

    added: str
    retired: tuple[str, ...]
    not_after_s: float


class Rotating:
    """One rotation. `usable` is asked for the connection before each change, and refuses one that
    was revoked or removed meanwhile by an error of its own."""

    def __init__(
        self,
        book: Book,
        systems: SystemSecrets,
        writer: SecretWriter,
        catalogue: Catalogue,
        usable: Callable[[Ledger], Connection],
        *,
        now_us: Callable[[], int],
        by: str,
    ) -> None:
        self._book = book
        self._systems = systems
        self._writer = writer
        self._catalogue = catalogue
        self._usable = usable
        self._now_us = now_us
        self._by = by

    def look(self) -> tuple[Connection, ConnectionAccess, System]:
        """What is rotated; FlowRefused (`not_rotatable`, `not_now`) with the next step."""
        return self._book.look(self._found)

    def _found(self, ledger: Ledger) -> tuple[Connection, ConnectionAccess, System]:
        connection = self._usable(ledger)
        access = ledger.access(connection.id)
        system = self._catalogue.get(access.system) if access is not None else None
        if access is None or system is None:
            raise FlowRefused(
                "not_rotatable",
                "Its secret was not made by the connect flow, or by an entry that is no longer in "
                "the catalogue: make a new one where it was made, and name it beside the old one "
                "with `hookline secrets rotate`.",
            )
        if why := rotation.why_not(system, access):
            raise FlowRefused("not_rotatable", why)
        now_us = self._now_us()
        if sum(not one.ended(now_us / _US) for one in connection.secrets) >= rotation.MAX_SECRETS:
            raise FlowRefused(
                "not_rotatable",
                f"It has {rotation.MAX_SECRETS} secrets already, and no more are kept: wait until "
                "the oldest counts no more, or end one with `hookline secrets revoke`.",
            )
        if rotation.under_way(access, now_us):
            raise FlowRefused(
                "not_now", "Another rotation of its secret is under way: try again in two minutes."
            )
        return connection, access, system

    async def rotate(self, overlap_s: int) -> Done:
        """Do it. FlowRefused: also `system_refused`, `system_unclear`, `unavailable`."""
        connection, access, system = self.look()
        name = rotation.new_name(self._now_us())
        made = (
            signing_secret(system.webhook.secret.format)
            if system.webhook.secret.source == "generated"
            else None
        )
        # Only when it is safe at the backend does a record name it: a gateway that cannot fetch a
        # secret would say so of all of the connection. A place is kept for one that is yet to be
        # made, so that a backend that is away is known before the system has changed it.
        place = f"{connection.tenant}/{connection.id}/{name}"
        ref = await asyncio.to_thread(self._writer.write, place, made or signing_secret("hex"))
        added = SecretReference(name=name, ref=ref, environment=connection.environment)
        await self._begin(connection, ref, added if made is not None else None)
        try:
            if made is not None and not await self._known(connection, added):
                raise FlowRefused(
                    "unavailable",
                    "The gateway does not know the new secret yet, so the system was not told of "
                    "it, and nothing has changed: try again.",
                )
            told = await self._systems.change(access, connection.tenant, system, made)
        except HooklineError:
            # The system was not asked. (Whoever is cancelled cannot know, and leaves both.)
            await self._undo(connection.id, ref)
            raise
        if told.verdict is not Verdict.TAKEN:
            await self._not_taken(connection.id, ref, system, told, made is not None)
        if made is None:
            await self._keep(place, told.secret, system)
        return await self._end(connection.id, added, overlap_s)

    async def _begin(self, connection: Connection, ref: str, added: SecretReference | None) -> None:
        def change(ledger: Ledger) -> Changed:
            now, access, _ = self._found(ledger)
            return rotation.begun(now, access, ref, added, now_us=self._now_us(), by=self._by)

        try:
            await self._put(connection.id, change)
        except Exception as error:
            # Revoked, removed or rotated meanwhile: nothing names it. (Were Kafka only silent, the
            # record might be there, and the secret is left for it.)
            if isinstance(error, FlowRefused) or not isinstance(error, HooklineError):
                with suppress(HooklineError):
                    await asyncio.to_thread(self._writer.delete, ref)
            raise

    async def _known(self, connection: Connection, added: SecretReference) -> bool:
        """Whether the gateway has read what was written of the connection.

        It is asked for a connection that is written behind it, for this alone: gateways follow
        their topic in order, and one whose secret is not there yet is not served. No webhook can
        come by it: nobody else knows its name.
        """
        begins = f"rotation-{hashlib.sha256(connection.id.encode()).hexdigest()[:16]}-"
        sign = replace(
            connection,
            id=begins + randomness.token_hex(8),
            tenant=_SIGN_TENANT,
            state=ConnectionState.ACTIVE,
            secrets=(replace(added, not_after_s=self._now_us() / _US + _SIGN_S),),
        )
        dead = self._book.look(lambda led: [one for one in led.ids() if one.startswith(begins)])
        try:
            await self._put(sign.id, lambda ledger: Changed(sign))
            return await self._systems.served(sign.id)
        finally:
            # Crash window: killed before this, it stays, and accepts nothing after two minutes;
            # the connection's next rotation takes it away.
            for one in [sign.id, *dead]:
                with suppress(HooklineError):
                    await asyncio.to_thread(self._book.remove, one)

    async def _not_taken(
        self, connection_id: str, ref: str, system: System, told: Told, ours: bool
    ) -> None:
        if told.verdict is Verdict.REFUSED:
            await self._undo(connection_id, ref)
            raise FlowRefused(
                "system_refused",
                f"{system.name} did not take a new secret, and the old one counts as before. "
                f"{told.why}",
            )
        if not ours:
            await self._undo(connection_id, ref)
            raise FlowRefused(
                "system_unclear",
                f"{system.name} may have made a new secret that it did not tell: its webhooks are "
                f"refused then, until this is tried again, which is to be done now. {told.why}",
            )

        def change(ledger: Ledger) -> Changed:
            now, access = self._both(ledger)
            return rotation.left_open(now, access, now_us=self._now_us(), by=self._by)

        await self._put(connection_id, change)
        raise FlowRefused(
            "system_unclear",
            f"Whether {system.name} has taken the new secret is not known, so it and the old one "
            f"both count, and no webhook is refused. Try again. {told.why}",
        )

    async def _undo(self, connection_id: str, ref: str) -> None:
        """No record names the secret any more; then it goes."""

        def change(ledger: Ledger) -> Changed:
            now, access = self._both(ledger)
            return rotation.undone(now, access, ref, now_us=self._now_us(), by=self._by)

        try:
            await self._put(connection_id, change)
            await asyncio.to_thread(self._writer.delete, ref)
        except Exception as error:
            # What is wrong is told by whoever asked; here it is only not cleaned up.
            data = {"connection": connection_id, "why": type(error).__name__}
            log.warning(
                "a secret that the system did not take is still there", extra={"data": data}
            )

    async def _keep(self, place: str, secret: Secret | None, system: System) -> None:
        assert secret is not None
        for left in reversed(range(_WRITES)):
            try:
                await asyncio.to_thread(self._writer.write, place, secret)
            except HooklineError:
                if not left:
                    raise FlowRefused(
                        "system_unclear",
                        f"{system.name} has made a new secret, and the secret backend did not keep "
                        "it: its webhooks are refused until this is tried again.",
                    ) from None
            else:
                return

    async def _end(self, connection_id: str, added: SecretReference, overlap_s: int) -> Done:
        now_us = self._now_us()
        not_after_s = float(now_us // _US + overlap_s)
        retired: set[str] = set()

        def change(ledger: Ledger) -> Changed:
            now, access = self._both(ledger)
            out = ledger.revoked_secrets(connection_id)
            retired.clear()
            retired.update(
                one.name
                for one in now.secrets
                if not one.ended(now_us / _US) and one.name not in out and one.ref != added.ref
            )
            return rotation.rotated(
                now, access, added, now_us=now_us, not_after_s=not_after_s, by=self._by
            )

        await self._put(connection_id, change)
        return Done(added.name, tuple(sorted(retired)), not_after_s)

    def _both(self, ledger: Ledger) -> tuple[Connection, ConnectionAccess]:
        connection = self._usable(ledger)
        access = ledger.access(connection.id)
        if access is None:
            raise FlowRefused("not_now", "Its record was written anew meanwhile: look at it.")
        return connection, access

    async def _put(self, connection_id: str, change: Change) -> None:
        await asyncio.to_thread(self._book.put, connection_id, change, self._by)
