"""What the flow is given, what it asks to be done, and what it answers: values, no secret in them.

An effect is carried out by whoever won the revision that asks for it; what comes of it is given
back as an input. An effect's class is also what `running` says while it is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from producer.connect.flow.state import Check, Explanation, FlowState
from producer.connect.system import System


class At(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine is told beside the state. `fixed`: the system that our user's backend chose;
    `allowed`: those that may be chosen, all if empty."""

    now_us: int
    session: str
    get: Callable[[str], System | None]
    allowed: tuple[str, ...] = ()
    fixed: str = ""


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    pass


# From the customer.


class Choose(_Value, frozen=True, kw_only=True):
    """A system; `connection_id` is what the connection will be called."""

    system: str
    connection_id: str


class Details(_Value, frozen=True, kw_only=True):
    """The form of the step, as `form.read` has taken it apart: `secret_fields` are to be stored.
    `elsewhere`: the secrets of before are for another address, and of no use any more."""

    values: Mapping[str, str] = {}
    secret_fields: tuple[str, ...] = ()
    mistakes: Mapping[str, str] = {}
    elsewhere: bool = False


class Register(Details, frozen=True, kw_only=True):
    """The customer says that the system was told, with what had to be pasted."""


class Authorise(_Value, frozen=True, kw_only=True):
    """Begin to ask the system for consent."""


class Retry(_Value, frozen=True, kw_only=True):
    """Again, unchanged."""


class Back(_Value, frozen=True, kw_only=True):
    """One step back."""


class SendTest(_Value, frozen=True, kw_only=True):
    """Send, or wait for, a test event once more."""


class Skip(_Value, frozen=True, kw_only=True):
    """Do not wait for the test event, where it is not needed."""


class Cancel(_Value, frozen=True, kw_only=True):
    """Leave it."""


class Confirm(_Value, frozen=True, kw_only=True):
    """What shows that it was this customer who came back; see `flow.proofs`."""

    digest: str


FromCustomer = (
    Choose | Details | Register | Authorise | Confirm | Retry | Back | SendTest | Skip | Cancel
)  # fmt: skip


# From elsewhere.


class Consent(_Value, frozen=True, kw_only=True):
    """The way back from the system; `denied` is the system's error code, empty if it was given.
    `proofs` are the digests of what the customer is to show before the code is used."""

    state_digest: str
    denied: str = ""
    proofs: tuple[str, ...] = ()


class Expire(_Value, frozen=True, kw_only=True):
    """The session's time is over."""


class Interrupted(_Value, frozen=True, kw_only=True):
    """What runs has not said anything for so long that whoever ran it is taken for dead."""


class TidyUp(_Value, frozen=True, kw_only=True):
    """What was left over is tried again."""


# What came of an effect.


class _OfEffect(_Value, frozen=True, kw_only=True):
    #: The revision that asked for the effect.
    run: int = 0


class Stored(_OfEffect, frozen=True, kw_only=True):
    """Of StoreSecrets, BeginConsent, KeepCode, ExchangeCode, MakeSecret: name in the flow →
    reference.

    `names` are those of the backend that are settled so; `scopes` were granted; `state_digest` is
    of the OAuth state that is waited for from now on; `kept` joins the values.
    """

    refs: Mapping[str, str]
    names: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    state_digest: str = ""
    kept: Mapping[str, str] = {}


class Checked(_OfEffect, frozen=True, kw_only=True):
    """A check has begun or ended."""

    check: Check


class Validated(_OfEffect, frozen=True, kw_only=True):
    """All checks are through; `kept` joins the values."""

    account: str = ""
    scopes: tuple[str, ...] = ()
    kept: Mapping[str, str] = {}


class Written(_OfEffect, frozen=True, kw_only=True):
    """The connection's records are on Kafka, with this webhook id."""

    webhook_id: str = ""


class Served(_OfEffect, frozen=True, kw_only=True):
    """The gateway knows the connection."""


class Registered(_OfEffect, frozen=True, kw_only=True):
    """The system was told by its API; `webhook_id` is empty only where it cannot be untold."""

    webhook_id: str = ""
    refs: Mapping[str, str] = {}
    names: tuple[str, ...] = ()


class Sent(_OfEffect, frozen=True, kw_only=True):
    """The system was asked for a test event."""


class Arrived(_OfEffect, frozen=True, kw_only=True):
    """An event of the connection is on Kafka."""

    request_id: str
    at: str


class Mismatched(_OfEffect, frozen=True, kw_only=True):
    """A webhook came whose signature does not fit; the wait goes on."""

    received_at_us: int


class NotArrived(_OfEffect, frozen=True, kw_only=True):
    """None came in time."""


class Failed(_OfEffect, frozen=True, kw_only=True):
    """The effect did not come about; `refs` and `webhook_id` are what it had made by then.

    `unheard`: the system may have made a webhook, and its answer got lost.
    """

    explanation: Explanation
    refs: Mapping[str, str] = {}
    webhook_id: str = ""
    unheard: bool = False


class Alive(_OfEffect, frozen=True, kw_only=True):
    """What runs goes on."""


class CleanedUp(_OfEffect, frozen=True, kw_only=True):
    """What was taken away; what is not in here is still there."""

    refs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    connection: bool = False
    blocking: bool = True


Outcome = (
    Stored | Checked | Validated | Written | Served | Registered | Sent | Arrived
    | Mismatched | NotArrived | Failed | Alive | CleanedUp
)  # fmt: skip
Input = FromCustomer | Consent | Expire | Interrupted | TidyUp | Outcome


# What is to be done.


class StoreSecrets(_Value, frozen=True, kw_only=True):
    """Write what the customer entered to the backend: field → name there, to which the tenant is
    put in front. `Stored` or `Failed`."""

    names: Mapping[str, str]


class BeginConsent(_Value, frozen=True, kw_only=True):
    """Make the address that the customer is sent to, and what PKCE and `state` need. `Stored`."""

    names: Mapping[str, str]


class KeepCode(_Value, frozen=True, kw_only=True):
    """Write the code that came back to the backend, where it waits for `Confirm`. `Stored` or
    `Failed`."""

    names: Mapping[str, str]


class ExchangeCode(_Value, frozen=True, kw_only=True):
    """Turn the code that waits into tokens and write them. `Stored` or `Failed`."""

    names: Mapping[str, str]


class RunChecks(_Value, frozen=True, kw_only=True):
    """Try what was entered. `Checked` for each, then `Validated` or `Failed`."""


class MakeSecret(_Value, frozen=True, kw_only=True):
    """A signing secret of ours, written to the backend. `Stored` or `Failed`."""

    names: Mapping[str, str]


class WriteConnection(_Value, frozen=True, kw_only=True):
    """Write its two records. `Written` or `Failed`."""

    webhook_id: str


class AskGateway(_Value, frozen=True, kw_only=True):
    """Wait until the gateway knows it. `Checked`, then `Served` or `Failed`."""


class RegisterWebhook(_Value, frozen=True, kw_only=True):
    """Tell the system by its API. `Registered` or `Failed`."""

    names: Mapping[str, str]


class AskForTest(_Value, frozen=True, kw_only=True):
    """Ask the system for a test event. `Sent` or `Failed`."""


class AwaitEvent(_Value, frozen=True, kw_only=True):
    """Wait for one that came since then (Unix µs). `Mismatched` for the first after
    `refused_since_us` that was refused for its signature, then `Arrived` or `NotArrived`."""

    since_us: int
    until_us: int
    refused_since_us: int = 0


class CleanUp(_Value, frozen=True, kw_only=True):
    """Take away what was made: webhooks while their credentials are there, the connection's
    records, then secrets by reference and by name. `CleanedUp`.

    `flow` is the state in which it was made. `blocking`: the flow waits for it (`running`).
    """

    flow: FlowState
    refs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    connection: bool = False
    blocking: bool = True


Effect = (
    StoreSecrets | BeginConsent | KeepCode | ExchangeCode | RunChecks | MakeSecret
    | WriteConnection | AskGateway | RegisterWebhook | AskForTest | AwaitEvent | CleanUp
)  # fmt: skip


# What the machine answers.


class Moved(_Value, frozen=True, kw_only=True):
    """The state afterwards, its revision one more if anything changed, and what is to be done."""

    state: FlowState
    effects: tuple[Effect, ...] = ()


class Refused(_Value, frozen=True, kw_only=True):
    """Not now; `code` as in `FlowRefused`."""

    code: str
    text: str
