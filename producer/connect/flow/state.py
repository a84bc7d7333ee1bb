"""Where a customer is in the flow, as a value that is kept between requests, processes and days.

It holds no secret: what the customer enters goes to the secret backend at once, and only its
reference stands here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Step(StrEnum):
    """The steps in their order, and the two ways to end without a connection."""

    CHOOSE = "choose"
    DETAILS = "details"
    AUTHORISE = "authorise"
    VALIDATE = "validate"
    REGISTER = "register"
    TEST = "test"
    CONNECTED = "connected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class CheckState(StrEnum):
    """How a check stands."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A failure in the customer's words: what happened, why that is likely, what to do next."""

    code: str
    what: str
    why: str
    next: str
    #: The field to look at again, if it is one.
    field: str = ""
    #: Whether trying again unchanged may help.
    retry: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is looked at before the customer's eyes."""

    id: str
    title: str
    state: CheckState = CheckState.WAITING
    detail: str = ""
    explanation: Explanation | None = None
    took_ms: int | None = None


class FlowState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a flow. `revision` grows by one with each change that is kept."""

    revision: int = 0
    #: That of the last change that the customer can see: what an action is made on.
    seen: int = 0
    step: Step = Step.CHOOSE
    system: str = ""
    #: What the customer entered that is no secret: field → value.
    values: dict[str, str] = {}
    #: References of what is one: field, or one of ours, → reference.
    secrets: dict[str, str] = {}
    checks: tuple[Check, ...] = ()
    problem: Explanation | None = None
    #: Mistakes of the form: field → what is wrong.
    mistakes: dict[str, str] = {}
    #: Whose account it is, as the system says.
    account: str = ""
    connection_id: str = ""
    webhook_id: str = ""
    #: BLAKE2b of the OAuth `state` that is being waited for, and when it was made.
    oauth_state: str = ""
    oauth_at_us: int = 0
    #: BLAKE2b of what confirms the code that came back and waits (`flow.proofs`), and how often
    #: something else was shown. From then on `oauth_at_us` is when it came.
    oauth_proofs: tuple[str, ...] = ()
    oauth_tries: int = 0
    granted_scopes: tuple[str, ...] = ()
    #: The event that arrived: its request id, and where it is on Kafka (topic/partition/offset).
    arrived_request_id: str = ""
    arrived_at: str = ""
    #: Names of secrets that may be at the backend though their reference is not known here: they
    #: are being written, or were when a process died.
    intended: tuple[str, ...] = ()
    #: References that are of no use any more, until they are deleted.
    discarded: tuple[str, ...] = ()
    #: Webhooks that the system still has though a step back made them useless.
    stray_webhooks: tuple[str, ...] = ()
    #: The checks of `validate` have all passed for what was entered.
    validated: bool = False
    #: The connection's records may be on Kafka, and with which webhook id they were written last.
    written: bool = False
    written_webhook_id: str = ""
    #: They are of a try before this one, or it is not known: they must be written, or taken away.
    stale: bool = False
    #: Every gateway that was asked knows the connection.
    served: bool = False
    #: The system was told, by its API or, as the customer says, by hand.
    registered: bool = False
    #: When a webhook with a wrong signature came that the customer was told of, or what he pasted
    #: was new; one that came before it is not told.
    refused_at_us: int = 0
    #: From when on a test event counts, and until when it is waited for; 0 if it is not.
    watch_since_us: int = 0
    waiting_until_us: int = 0
    #: What is under way and since when, so that a process that dies does not leave it for good.
    running: str = ""
    #: The revision that asked for it: what comes of an effect of another one comes too late.
    run: int = 0
    running_since_us: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing the customer does changes it any more."""
        return self.step in ENDED

    @property
    def left_over(self) -> bool:
        """Whether something was made outside that a flow without a connection must take away."""
        made = self.written or self.webhook_id or self.stray_webhooks
        return bool(self.secrets or self.intended or self.discarded or made)


#: In place of the id of a webhook that may have been made, though no answer said so.
UNHEARD: Final = "?"
#: The steps that end a flow.
ENDED: Final = frozenset({Step.CONNECTED, Step.CANCELLED, Step.EXPIRED})
#: Secrets of the way to consent alone: no part of the connection that comes out.
PASSING: Final = frozenset({"oauth_verifier", "oauth_code"})
