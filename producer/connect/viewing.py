"""The view of a session: from its state and its system's entry. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from producer.connect.flow import words
from producer.connect.flow.state import FlowState, Step
from producer.connect.session import Session
from producer.connect.system import Guide, OAuthCode, System, SystemField
from producer.connect.templates import fill
from producer.connect.view import (
    ArrivedView,
    AuthoriseView,
    ConnectionView,
    FieldView,
    FormView,
    GuideView,
    OptionView,
    StepView,
    SystemView,
    TestView,
    View,
    WebhookView,
)

_ORDER: Final = (
    Step.CHOOSE, Step.DETAILS, Step.AUTHORISE, Step.VALIDATE, Step.REGISTER, Step.TEST,
    Step.CONNECTED,
)  # fmt: skip
_BUSY: Final = {
    "StoreSecrets": "storing",
    "BeginConsent": "authorising",
    "KeepCode": "authorising",
    "ExchangeCode": "authorising",
    "RunChecks": "checking",
    "MakeSecret": "preparing",
    "WriteConnection": "preparing",
    "AskGateway": "preparing",
    "RegisterWebhook": "registering",
    "AskForTest": "testing",
    "AwaitEvent": "waiting",
    "CleanUp": "cleaning",
}


def view_of(
    session: Session,
    system: System | None,
    actions: Sequence[str],
    webhook_url: str,
    consent_url: str = "",
) -> View:
    """`actions`: those that the flow takes now; `consent_url` only right after it was made."""
    flow = session.flow
    shown = system if flow.step is not Step.CHOOSE else None
    return View(
        revision=flow.seen,
        step=flow.step.value,
        expires_at=_iso(session.expires_at_us),
        tenant=session.tenant,
        label=session.label,
        locale=session.locale,
        steps=_steps(flow, system, bool(session.system)),
        system=_system(shown) if shown is not None else None,
        systems=session.systems,
        form=_form(flow, shown) if shown is not None else None,
        authorise=_authorise(flow, shown, consent_url) if shown is not None else None,
        webhook=_webhook(flow, shown, webhook_url) if shown is not None else None,
        checks=flow.checks,
        problem=flow.problem,
        account=flow.account,
        test=_test(flow, shown) if shown is not None else None,
        arrived=ArrivedView(request_id=flow.arrived_request_id, at=flow.arrived_at)
        if flow.arrived_at
        else None,
        connection=ConnectionView(id=flow.connection_id) if flow.step is Step.CONNECTED else None,
        busy=_BUSY.get(flow.running, ""),
        actions=tuple(actions),
    )


def _steps(flow: FlowState, system: System | None, fixed: bool) -> tuple[StepView, ...]:
    shown = [step for step in _ORDER if _is_a_step(step, system, fixed)]
    reached = _ORDER.index(flow.step) if flow.step in _ORDER else -1
    found = []
    for step in shown:
        at = _ORDER.index(step)
        state = "done" if at < reached else "current" if at == reached else "todo"
        if flow.step is Step.CONNECTED:
            state = "done"
        found.append(StepView(id=step.value, title=words.STEPS[step], state=state))
    return tuple(found)


def _is_a_step(step: Step, system: System | None, fixed: bool) -> bool:
    if step is Step.CHOOSE:
        return not fixed
    if system is None:
        return step is not Step.AUTHORISE
    if step is Step.DETAILS:
        return bool(system.fields)
    if step is Step.AUTHORISE:
        return isinstance(system.authorisation, OAuthCode)
    return step is not Step.VALIDATE or system.validation is not None


def _system(system: System) -> SystemView:
    return SystemView(
        id=system.id,
        name=system.name,
        about=system.about,
        initials=system.logo.initials,
        colour=system.logo.colour,
        path=system.logo.path,
        minutes=system.minutes,
    )


def _form(flow: FlowState, system: System) -> FormView | None:
    if flow.step is Step.DETAILS:
        return FormView(
            fields=tuple(_field(flow, field) for field in system.fields),
            guidance=_guides(system.guidance, flow, system),
            submit="Continue",
        )
    registration = system.webhook.registration
    if flow.step is Step.REGISTER and registration.how == "manual" and not flow.registered:
        return FormView(
            fields=tuple(_field(flow, field) for field in registration.fields),
            guidance=(),
            submit="I have done this",
        )
    return None


def _field(flow: FlowState, field: SystemField) -> FieldView:
    return FieldView(
        id=field.id,
        label=field.label,
        help=field.help,
        example=field.example,
        pattern=field.pattern,
        mismatch=field.mismatch,
        kind=field.kind,
        secret=field.secret,
        required=field.required,
        options=tuple(OptionView(value=o.value, label=o.label) for o in field.options),
        value="" if field.secret else flow.values.get(field.id, field.default),
        filled=field.id in flow.secrets if field.secret else bool(flow.values.get(field.id)),
        mistake=flow.mistakes.get(field.id, ""),
    )


def _authorise(flow: FlowState, system: System, url: str) -> AuthoriseView | None:
    if flow.step is not Step.AUTHORISE:
        return None
    return AuthoriseView(url=url or None, system=system.name)


def _webhook(flow: FlowState, system: System, url: str) -> WebhookView | None:
    if flow.step not in (Step.REGISTER, Step.TEST):
        return None
    registration = system.webhook.registration
    by_hand = registration.how == "manual"
    return WebhookView(
        how=registration.how,
        url=url,
        events=tuple(registration.events),
        has_secret=may_reveal(flow, system),
        guidance=_guides(registration.guidance, flow, system, url) if by_hand else (),
    )


def may_reveal(flow: FlowState, system: System) -> bool:
    """Whether there is a signing secret of ours that the customer is to paste."""
    own, by_hand = system.webhook.secret, system.webhook.registration.how == "manual"
    there = "signing_secret" in flow.secrets and flow.step in (Step.REGISTER, Step.TEST)
    return there and by_hand and own.source == "generated"


def _test(flow: FlowState, system: System) -> TestView | None:
    if flow.step is not Step.TEST:
        return None
    test = system.webhook.test
    return TestView(
        how=test.how,
        guidance=_guides(test.guidance, flow, system),
        optional=test.optional,
        waiting_until=_iso(flow.waiting_until_us) if flow.waiting_until_us else None,
    )


def _guides(
    guides: Sequence[Guide], flow: FlowState, system: System, url: str = ""
) -> tuple[GuideView, ...]:
    values = {**flow.values, "webhook_url": url, "connection": flow.connection_id}
    return tuple(GuideView(text=fill(one.text, values), link=one.link) for one in guides)


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")[:19] + "Z"
