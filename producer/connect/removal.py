"""A connection that the flow made, afterwards: tried again, or taken away with all it has."""

from __future__ import annotations

from collections.abc import Callable

from producer.connect.actions import Catalogue, FlowRefused
from producer.connect.connection_records import ConnectionRecords
from producer.connect.effects import Effects
from producer.connect.flow.state import Check, FlowState
from producer.connect.system import System
from schemas.connection_access import ConnectionAccess
from schemas.errors import HooklineError


class Removal:
    """See the module."""

    def __init__(
        self,
        catalogue: Catalogue,
        records: ConnectionRecords,
        effects: Effects,
        now_us: Callable[[], int],
    ) -> None:
        self._catalogue = catalogue
        self._records = records
        self._effects = effects
        self._now_us = now_us

    async def check(self, connection_id: str) -> tuple[Check, ...]:
        """The checks of its credentials, run now; FlowRefused (`not_now`, `unavailable`)."""
        access, tenant, system = self._made_here(connection_id)
        if system is None:
            raise FlowRefused("not_now", f"system {access.system} is not in the catalogue any more")
        try:
            return tuple(await self._effects.try_out(access, tenant, system))
        except HooklineError as error:
            raise FlowRefused("unavailable", str(error)) from None

    async def remove(self, connection_id: str, by: str) -> tuple[str, ...]:
        """What could not be done, in words. With secrets left, or a webhook whose system does not
        answer now, its records stay, revoked, so that it can be tried again."""
        access, tenant, system = self._made_here(connection_id)
        try:
            # The fence first: from here on nothing of it is taken.
            await self._records.revoke(connection_id, by, self._now_us())
        except HooklineError as error:
            raise FlowRefused("unavailable", str(error)) from None
        notes: list[str] = []
        flow = FlowState(
            system=access.system,
            values=access.values,
            secrets=access.credentials,
            connection_id=connection_id,
        )
        cleaning = self._effects.cleaning
        if access.webhook_id:
            gone = await cleaning.webhooks(tenant, flow, system, [access.webhook_id], notes)
            if not gone:
                # What it takes to remove it goes last.
                return (f"the webhook at {access.system} is still registered; try again",)
        elif system is not None and system.webhook.registration.how == "manual":
            notes.append(f"remove the webhook in {system.name} by hand")
        await self._revoke_tokens(access, system)
        left = [n for n, ref in access.credentials.items() if not await cleaning.secret(ref)]
        if left:
            notes.append(f"secrets that may still be there: {', '.join(sorted(left))}; try again")
            return tuple(notes)
        try:
            await self._records.remove(connection_id)
        except HooklineError as error:
            notes.append(f"its records are still there: {error}")
        return tuple(notes)

    async def _revoke_tokens(self, access: ConnectionAccess, system: System | None) -> None:
        # RFC 7009, 2.1: with a refresh token ends what it was good for, with some systems at least.
        for name in ("refresh_token", "access_token"):
            ref = access.credentials.get(name)
            if system is None or ref is None:
                continue
            try:
                token = await self._effects.calls.resolve(ref)
                await self._effects.calls.tokens.revoke(system, access.values, token)
            except HooklineError:
                # It ends by itself, and is deleted here.
                continue

    def _made_here(self, connection_id: str) -> tuple[ConnectionAccess, str, System | None]:
        try:
            access = self._records.access(connection_id)
            record = self._records.record(connection_id)
        except HooklineError as error:
            raise FlowRefused("unavailable", str(error)) from None
        if access is None or record is None:
            raise FlowRefused(
                "not_now", f"connection {connection_id} was not made by the connect flow"
            )
        return access, record.connection.tenant, self._catalogue.get(access.system)
