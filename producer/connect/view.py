"""What the component is shown of a flow: as JSON, with no secret in it. Absent parts are null."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from producer.connect.flow.state import Check, Explanation


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One of the steps above the form; `state`: done, current or todo."""

    id: str
    title: str
    state: str


class SystemView(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen system; `path` is an SVG path in 24 by 24, else its initials are drawn."""

    id: str
    name: str
    about: str
    initials: str
    colour: str
    path: str | None = None
    minutes: int


class OptionView(msgspec.Struct, frozen=True, kw_only=True):
    """One of a field's choices."""

    value: str
    label: str


class FieldView(msgspec.Struct, frozen=True, kw_only=True):
    """What the customer is asked for. `value` is never that of a secret: `filled` says it is there,
    and one left empty then stays as it is."""

    id: str
    label: str
    help: str
    example: str
    pattern: str
    mismatch: str
    kind: str
    secret: bool
    required: bool
    options: tuple[OptionView, ...] = ()
    value: str = ""
    filled: bool = False
    #: What is wrong with it; empty if nothing is.
    mistake: str = ""


class GuideView(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered thing to do in the other system."""

    text: str
    link: str | None = None


class FormView(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be filled in now; `submit` is the button's text."""

    fields: tuple[FieldView, ...]
    guidance: tuple[GuideView, ...]
    submit: str


class AuthoriseView(msgspec.Struct, frozen=True, kw_only=True):
    """Consent at the system. `url` is there only in the answer to the action `authorise`: it is
    for one use, and is kept nowhere."""

    url: str | None = None
    system: str


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """How the system is told where its webhooks go. `has_secret`: `reveal` gives one to paste."""

    how: str
    url: str
    events: tuple[str, ...]
    has_secret: bool
    guidance: tuple[GuideView, ...]


class TestView(msgspec.Struct, frozen=True, kw_only=True):
    """The test event: who sends it, and until when it is awaited (ISO 8601, null while not)."""

    __test__ = False

    how: str
    guidance: tuple[GuideView, ...]
    optional: bool
    waiting_until: str | None = None


class ArrivedView(msgspec.Struct, frozen=True, kw_only=True):
    """The event that arrived; `at` is topic/partition/offset."""

    request_id: str
    at: str


class ConnectionView(msgspec.Struct, frozen=True, kw_only=True):
    """What came out."""

    id: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that is shown. `actions` are those that are allowed now.

    `busy` is what runs at the moment (empty if nothing does): the next view comes by itself.
    """

    revision: int
    step: str
    expires_at: str
    tenant: str
    label: str
    locale: str = ""
    steps: tuple[StepView, ...]
    system: SystemView | None = None
    #: The systems that may be chosen, if not all: their ids.
    systems: tuple[str, ...] = ()
    form: FormView | None = None
    authorise: AuthoriseView | None = None
    webhook: WebhookView | None = None
    checks: tuple[Check, ...] = ()
    problem: Explanation | None = None
    account: str = ""
    test: TestView | None = None
    arrived: ArrivedView | None = None
    connection: ConnectionView | None = None
    busy: str = ""
    actions: tuple[str, ...] = ()


_ENCODER: Final = msgspec.json.Encoder()


def view_json(view: View) -> bytes:
    """As the component gets it."""
    return _ENCODER.encode(view)


def view_builtins(view: View) -> Any:
    """The same as plain values, for a problem's `view`."""
    return msgspec.to_builtins(view)
