"""The other system's part in a rotation: it is given a new signing secret, or asked for one; and
our own gateway's: it is asked whether it knows."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

import msgspec

from credentials.secret import Secret
from producer.connect.answered import text_at
from producer.connect.calls import Unanswered, document
from producer.connect.effects import Effects
from producer.connect.flow.state import Explanation, FlowState
from producer.connect.rotation import SIGNING
from producer.connect.system import Rotation, System
from schemas.connection_access import ConnectionAccess
from schemas.errors import HooklineError

_TRIES: Final = 3


class Verdict(StrEnum):
    """What came of telling a system."""

    TAKEN = "taken"
    #: It has the old secret still, for sure.
    REFUSED = "refused"
    #: It may have either.
    UNKNOWN = "unknown"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """With the explanation of what is not `taken`; `secret`: what the system has made."""

    verdict: Verdict
    explanation: Explanation | None = None
    secret: Secret | None = None

    @property
    def why(self) -> str:
        """In the customer's words."""
        told = self.explanation
        return "" if told is None else f"{told.what} {told.why} {told.next}"


class SystemSecrets(Protocol):
    """See the module."""

    async def served(self, connection_id: str) -> bool:
        """Whether the gateway knows this connection, within the time that it may take."""

    async def change(
        self, access: ConnectionAccess, tenant: str, system: System, secret: Secret | None
    ) -> Told:
        """Give it `secret`, or have it make one; HooklineError before anything is asked."""


class OverHttp:
    """By requests, with the customer's credentials."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._calls = effects.calls

    async def served(self, connection_id: str) -> bool:
        """See SystemSecrets."""
        return await self._effects.served(connection_id)

    async def change(
        self, access: ConnectionAccess, tenant: str, system: System, secret: Secret | None
    ) -> Told:
        """See SystemSecrets."""
        rotate = system.webhook.registration.rotate
        assert rotate is not None
        flow = FlowState(
            system=access.system,
            values=access.values,
            # Old signing secrets are for nobody's eyes any more, and may be gone.
            secrets={n: r for n, r in access.credentials.items() if not n.startswith(SIGNING)},
            connection_id=access.connection,
        )
        values = await self._calls.values(tenant, flow, system)
        if secret is None:
            return await self._renewed(access, system, rotate, values)
        values["signing_secret"] = secret.reveal()
        for number, webhook in enumerate(access.webhook_id.split("\n")):
            try:
                await self._calls.call(system, rotate, values, webhook)
            except Unanswered as unanswered:
                # Of several webhooks some may have it.
                known = unanswered.refused and number == 0
                return Told(
                    verdict=Verdict.REFUSED if known else Verdict.UNKNOWN,
                    explanation=unanswered.explanation,
                )
        return Told(verdict=Verdict.TAKEN)

    async def _renewed(
        self, access: ConnectionAccess, system: System, rotate: Rotation, values: dict[str, str]
    ) -> Told:
        webhook = access.webhook_id.partition("\n")[0]
        told = Told(verdict=Verdict.UNKNOWN)
        try:
            answer = await self._calls.call(system, rotate, values, webhook)
            if rotate.pointer and (text := text_at(document(answer), rotate.pointer)):
                return Told(verdict=Verdict.TAKEN, secret=Secret(text))
        except Unanswered as unanswered:
            if unanswered.refused:
                return Told(verdict=Verdict.REFUSED, explanation=unanswered.explanation)
            told = Told(verdict=Verdict.UNKNOWN, explanation=unanswered.explanation)
        # From here on it may have made one: its own word for which counts is asked for.
        own = system.webhook.secret
        for _ in range(_TRIES if own.call is not None else 0):
            assert own.call is not None
            try:
                answer = await self._calls.call(system, own.call, values, webhook)
                if text := text_at(document(answer), own.pointer or "/secret"):
                    return Told(verdict=Verdict.TAKEN, secret=Secret(text))
            except Unanswered as unanswered:
                told = Told(verdict=Verdict.UNKNOWN, explanation=unanswered.explanation)
            except HooklineError:
                continue
        return told
