"""Takes away what a flow, or a connection, has made: in an order in which each part still can be.

Webhooks first, while their credentials are there; then the connection's records; secrets last.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from credentials.secret import Secret
from producer.connect.calls import Unanswered, document
from producer.connect.connection_records import ConnectionRecords
from producer.connect.flow import inputs as i
from producer.connect.flow.state import UNHEARD, FlowState
from producer.connect.session import Session
from producer.connect.system import System
from producer.connect.system_calls import SystemCalls
from schemas.errors import BackendAway, HooklineError, SecretReferenceError

log = logging.getLogger("hookline.connect")

#: Explanations after which asking again may help.
_PASSES: Final = frozenset({"timeout", "connection_broken", "connection_refused", "ours_busy",
                            "rate_limited", "system_failing"})  # fmt: skip


class CleaningUp:
    """See the module."""

    def __init__(self, calls: SystemCalls, records: ConnectionRecords) -> None:
        self._calls = calls
        self._records = records

    async def carry_out(
        self, session: Session, system: System | None, effect: i.CleanUp
    ) -> i.CleanedUp:
        """What is gone; what is not is tried again by whoever asks next."""
        webhooks = list(effect.webhooks)
        gone = await self.webhooks(session.tenant, effect.flow, system, webhooks)
        connection = effect.connection and await self._connection(session, effect.flow)
        # With a webhook still there, what it takes to remove it is needed once more.
        needed = set(effect.flow.secrets.values()) if len(gone) < len(webhooks) else set()
        refs = [ref for ref in effect.refs if ref not in needed and await self.secret(ref)]
        names = [name for name in effect.names if await self._named(session, name)]
        log.info(
            "a connect session was cleaned up",
            extra={
                "data": {
                    "session": session.id,
                    "connection": effect.flow.connection_id,
                    "webhooks": len(gone),
                    "secrets": len(refs) + len(names),
                    "connection_removed": connection,
                    "left": len(webhooks) - len(gone) + len(effect.refs) - len(refs),
                }
            },
        )
        return i.CleanedUp(
            refs=tuple(refs),
            names=tuple(names),
            webhooks=tuple(gone),
            connection=connection,
            blocking=effect.blocking,
        )

    async def webhooks(
        self,
        tenant: str,
        flow: FlowState,
        system: System | None,
        webhooks: Sequence[str],
        notes: list[str] | None = None,
    ) -> list[str]:
        """Those of which nothing more is to be done: removed, or given up on and told."""
        gone = []
        for webhook in webhooks:
            try:
                why = await self._webhook(tenant, flow, system, webhook)
            except Unanswered as unanswered:
                if unanswered.explanation.code in _PASSES:
                    continue
                why = unanswered.explanation.what
            except BackendAway as error:
                # The credentials are there, and cannot be read just now.
                log.warning("a webhook stays for now", extra={"data": {"why": str(error)}})
                continue
            except HooklineError as error:
                why = str(error)
            if why:
                data = {"connection": flow.connection_id, "system": flow.system, "why": why}
                log.warning("a webhook stays registered at its system", extra={"data": data})
                if notes is not None:
                    notes.append(f"the webhook at {flow.system} stays registered: {why}")
            gone.append(webhook)
        return gone

    async def _webhook(
        self, tenant: str, flow: FlowState, system: System | None, webhook: str
    ) -> str:
        remove = system.webhook.registration.remove if system is not None else None
        if system is None or remove is None:
            return "there is no way to remove it by a request; it must be done there by hand"
        values = await self._calls.values(tenant, flow, system)
        ids = webhook.split("\n")
        if webhook == UNHEARD:
            find = system.webhook.registration.find
            if find is None:
                return "whether it was made is not known; look there, and remove it by hand"
            listed = await self._calls.call(system, find, values)
            known = set(flow.webhook_id.split("\n"))
            url = self._calls.webhook_url(flow.connection_id)
            found = find.ids(document(listed), url)
            if found is None:
                return "whether it was made is not known: its list could not be read; look there"
            ids = [one for one in found if one not in known]
        for one in ids:
            try:
                await self._calls.call(system, remove, values, one)
            except Unanswered as unanswered:
                answer = unanswered.answer
                if answer is None or answer.status not in (404, 410):
                    raise
        return ""

    async def _connection(self, session: Session, flow: FlowState) -> bool:
        try:
            await self._records.remove(flow.connection_id, written_by(session))
        except HooklineError as error:
            data = {"connection": flow.connection_id, "why": str(error)}
            log.warning("a half-made connection is still there", extra={"data": data})
            return False
        return True

    async def secret(self, ref: str) -> bool:
        """Whether it is gone."""
        try:
            await self._calls.in_thread(self._calls.writer().delete, ref)
        except SecretReferenceError:
            # Not written by us, so not ours.
            return True
        except HooklineError as error:
            log.warning("a secret could not be deleted", extra={"data": {"why": str(error)}})
            return False
        return True

    async def _named(self, session: Session, name: str) -> bool:
        # Whether it was written, and what its reference is, nobody has said: it is written, so
        # that there is a reference, and deleted.
        try:
            ref = await self._calls.write(session, name, Secret("deleted"))
        except HooklineError as error:
            log.warning("a secret could not be looked for", extra={"data": {"why": str(error)}})
            return False
        return await self.secret(ref)


def written_by(session: Session) -> str:
    """Who the records of this session's connection are written by."""
    return f"connect:{session.id}"
