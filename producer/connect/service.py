"""The connect flow as the console's HTTP sees it: sessions, actions, views, the way back of OAuth.

What the customer enters that is secret goes to the secret backend before anything else is written,
and nowhere else. Everything here is for the console's event loop; what waits is in threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from credentials.secret import MASK, Secret
from producer.connect.flow.state import Check
from producer.connect.session import Session, SessionRefused
from producer.connect.system import System
from producer.connect.view import View
from schemas.errors import HooklineError

__all__ = [
    "Action", "ActionKind", "CameBack", "Catalogue", "ConnectService", "FlowRefused", "Session",
    "SessionRefused", "View", "WantedSession",
]  # fmt: skip


class Catalogue(Protocol):
    """The systems there are."""

    def get(self, system_id: str, /) -> System | None:
        """One of them."""

    def all(self) -> Sequence[System]:
        """All."""


class WantedSession(msgspec.Struct, frozen=True, kw_only=True):
    """What our user's backend asks for. Without `connection_id` one is made from tenant and system.

    `systems`: those that may be chosen, all if empty; `system` skips choosing; `origin`: of the
    page that embeds the component; `by`: whose API token it was.
    """

    tenant: str
    connection_id: str = ""
    systems: tuple[str, ...] = ()
    system: str = ""
    label: str = ""
    locale: str = ""
    origin: str = ""
    by: str = ""


class ActionKind(StrEnum):
    """What the customer does."""

    CHOOSE = "choose"
    DETAILS = "details"
    AUTHORISE = "authorise"
    REGISTER = "register"
    RETRY = "retry"
    BACK = "back"
    SEND_TEST = "send_test"
    CANCEL = "cancel"


class Action(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One action, on the revision that the customer saw. `values` may hold secrets."""

    kind: ActionKind
    revision: int
    system: str = ""
    values: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Action({self.kind}, revision={self.revision}, values={MASK})"


class FlowRefused(HooklineError):
    """An action that the flow does not take now; `view` is how it stands instead.

    `code`: stale (another revision has come between), busy (something is running), not_now (the
    step does not allow it), ended, unknown_system, invalid (of its form), exists (the wanted
    connection is there already), unavailable (Kafka or the secret backend is away; try again).
    """

    def __init__(self, code: str, text: str, view: View | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.view = view


class CameBack(msgspec.Struct, frozen=True, kw_only=True):
    """What the page says that the other system sent the customer back to.

    `origin` is that of the embedding page, empty if unknown; `code` is empty where all went well.
    """

    ok: bool
    title: str
    text: str
    code: str = ""
    session_id: str = ""
    system: str = ""
    origin: str = ""


class ConnectService:
    """See the module."""

    environment: str

    def catalogue(self) -> Catalogue:
        """The systems there are."""
        raise NotImplementedError

    async def create(self, wanted: WantedSession) -> tuple[Secret, Session]:
        """A new session, and its token, which is shown this once.

        FlowRefused: `exists`, `unknown_system`, `invalid`, `unavailable`. Another open session for
        the same connection ends: its token lets nobody in any more.
        """
        raise NotImplementedError

    async def admit(self, presented: str) -> Session:
        """The session of a token; SessionRefused. One that has ended by `connected` is let in
        until it expires, so that its last view can be shown again."""
        raise NotImplementedError

    async def view(self, session_id: str) -> View:
        """How it stands; SessionRefused if there is none."""
        raise NotImplementedError

    async def act(self, session_id: str, action: Action) -> View:
        """Do it; the view afterwards, in which something may be running. FlowRefused."""
        raise NotImplementedError

    def changes(self, session_id: str) -> AsyncIterator[View]:
        """First the current view, then each later one; ends when the flow has ended."""
        raise NotImplementedError

    async def came_back(self, state: str, code: str, error: str) -> CameBack:
        """OAuth's way back, which finds its session by `state`; never raises for bad input."""
        raise NotImplementedError

    async def reveal(self, session_id: str) -> Secret:
        """The signing secret that the customer is to paste; FlowRefused where there is none."""
        raise NotImplementedError

    async def check(self, connection_id: str) -> tuple[Check, ...]:
        """Try a connection that was made here: the checks of its credentials, run now.

        FlowRefused (`not_now`) if it was not made by the connect flow.
        """
        raise NotImplementedError

    async def remove(self, connection_id: str, by: str) -> tuple[str, ...]:
        """Take a connection away: refuse its webhooks first, then unregister the webhook at the
        system, delete its secrets, and at last its records. What could not be done, in words."""
        raise NotImplementedError
