"""What our user's backend and the customer ask of the connect service, and its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from credentials.secret import MASK, Secret
from producer.connect.system import System
from producer.connect.view import View
from schemas.errors import HooklineError


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
    #: The code or the proof from the page that the other system led back to, as `proof`. On any
    #: revision: the customer cannot have seen the one that it belongs to.
    CONFIRM = "confirm"
    REGISTER = "register"
    RETRY = "retry"
    BACK = "back"
    SEND_TEST = "send_test"
    SKIP = "skip"
    #: On any revision, too: whoever leaves means all of it.
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
    Then `proof` is for the window that opened this one, if it is of that origin or ours, and
    `typed` for the customer to type there: without one of them nothing goes on.
    """

    ok: bool
    title: str
    text: str
    code: str = ""
    proof: Secret | None = None
    typed: Secret | None = None
    session_id: str = ""
    system: str = ""
    origin: str = ""
