"""What comes next, from what is known: so that a flow that was interrupted anywhere goes on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from msgspec.structs import replace

from producer.connect.flow import inputs as i
from producer.connect.flow import words
from producer.connect.flow.inputs import At, CleanUp, Effect
from producer.connect.flow.state import UNHEARD, Check, CheckState, FlowState, Step
from producer.connect.system import OAuthCode, System

#: What makes something outside: it may not be left before it is known what.
CARRYING: Final = frozenset(
    {"StoreSecrets", "BeginConsent", "KeepCode", "ExchangeCode", "MakeSecret", "RegisterWebhook",
     "WriteConnection", "CleanUp"}
)  # fmt: skip

Turned = tuple[FlowState, tuple[Effect, ...]]


def names_for(state: FlowState, fields: Sequence[str], at: At) -> dict[str, str]:
    """What the backend calls these secrets: other names at each try, so that a late writer of an
    earlier one neither overwrites nor is taken for this one."""
    start = f"{state.connection_id}/{at.session}"
    return {field: f"{start}.{field}.{state.revision + 1}" for field in fields}


def without(state: FlowState, fields: Collection[str]) -> FlowState:
    """These secrets are of no use any more."""
    gone = tuple(ref for field, ref in state.secrets.items() if field in fields)
    kept = {field: ref for field, ref in state.secrets.items() if field not in fields}
    return replace(state, secrets=kept, discarded=(*state.discarded, *gone))


def proceed(state: FlowState, at: At) -> Turned:
    """Go on from where the state is; its step's own part is done, or tried again."""
    system = at.get(state.system)
    if system is None:
        return replace(state, problem=words.system_gone(state.system)), ()
    if state.step is Step.DETAILS:
        return _enter_authorise(state, system, at)
    if state.step is Step.AUTHORISE:
        return _enter_authorise(state, system, at)
    if state.step is Step.VALIDATE:
        return _enter_validate(state, system, at)
    if state.step is Step.REGISTER:
        return settle(state, system, at)
    if state.step is Step.TEST:
        return _enter_test(state, system, at)
    return state, ()


def enter_details(state: FlowState, system: System, at: At) -> Turned:
    """The form, if there is something to ask for."""
    if system.fields:
        values = {f.id: f.default for f in system.fields if f.default and not f.secret}
        return replace(state, step=Step.DETAILS, values={**values, **state.values}), ()
    return _enter_authorise(state, system, at)


def _enter_authorise(state: FlowState, system: System, at: At) -> Turned:
    if isinstance(system.authorisation, OAuthCode) and "access_token" not in state.secrets:
        return replace(state, step=Step.AUTHORISE, checks=()), ()
    return _enter_validate(state, system, at)


def _enter_validate(state: FlowState, system: System, at: At) -> Turned:
    checks = checks_of(system)
    after = replace(state, step=Step.VALIDATE, checks=checks, validated=not checks)
    if checks:
        return after, (i.RunChecks(),)
    return enter_register(after, system, at)


def enter_register(state: FlowState, system: System, at: At) -> Turned:
    """Tell the system where its webhooks go. From now on an event that comes is a test event."""
    by_hand = system.webhook.registration.how == "manual"
    first = Check(id="pasted", title=words.TITLES["pasted"]) if by_hand else _check("register")
    after = replace(
        state,
        step=Step.REGISTER,
        checks=(_check("gateway"), first) if by_hand else (first, _check("gateway")),
        watch_since_us=at.now_us,
    )
    return settle(after, system, at)


def settle(state: FlowState, system: System, at: At) -> Turned:
    """What is still to be done to have webhooks come: the first thing of it."""
    webhook = system.webhook
    source, by_api = webhook.secret.source, webhook.registration.how == "api"
    if source == "generated" and "signing_secret" not in state.secrets:
        names = names_for(state, ("signing_secret",), at)
        after = replace(state, intended=(*state.intended, *names.values()))
        return after, (i.MakeSecret(names=names),)
    if source == "answer" and by_api and not state.registered:
        return _register(state, at)
    if source == "field" and (webhook.secret.field or "") not in state.secrets:
        return replace(state, registered=False), ()
    if source == "answer" and "signing_secret" not in state.secrets:
        return replace(state, problem=words.no_signing_secret(system.name)), ()
    if not state.written or state.stale:
        return _write(state)
    if not state.served:
        return _with(state, "gateway", CheckState.RUNNING), (i.AskGateway(),)
    if not state.registered:
        return _register(state, at) if by_api else (state, ())
    if state.written_webhook_id != state.webhook_id:
        return _write(state)
    if not by_api:
        state = _with(state, "pasted", CheckState.PASSED)
    return _enter_test(replace(state, checks=()), system, at)


def _write(state: FlowState) -> Turned:
    # From now on they may be there, whatever becomes of who writes them.
    after = replace(state, written=True, stale=True)
    return after, (i.WriteConnection(webhook_id=state.webhook_id),)


def _register(state: FlowState, at: At) -> Turned:
    names = names_for(state, ("signing_secret",), at)
    after = replace(
        _with(state, "register", CheckState.RUNNING), intended=(*state.intended, *names.values())
    )
    return after, (i.RegisterWebhook(names=names),)


def _enter_test(state: FlowState, system: System, at: At) -> Turned:
    test = system.webhook.test
    checks = (_check("sent"), _check("arrived")) if test.how == "api" else (_check("arrived"),)
    after = replace(state, step=Step.TEST, checks=checks, waiting_until_us=0)
    if test.how == "api":
        return _with(after, "sent", CheckState.RUNNING), (i.AskForTest(),)
    return await_event(after, system, at)


def await_event(state: FlowState, system: System, at: At) -> Turned:
    """Wait for an event that came since the system was told."""
    until_us = at.now_us + system.webhook.test.wait_s * 1_000_000
    after = replace(_with(state, "arrived", CheckState.RUNNING), waiting_until_us=until_us)
    return after, (awaiting(after),)


def awaiting(state: FlowState) -> i.AwaitEvent:
    """The wait that a state asks for."""
    return i.AwaitEvent(
        since_us=state.watch_since_us,
        until_us=state.waiting_until_us,
        refused_since_us=max(state.watch_since_us, state.refused_at_us),
    )


def clean_up(state: FlowState) -> CleanUp:
    """All that a flow without a connection leaves behind."""
    return CleanUp(
        flow=state,
        refs=(*state.secrets.values(), *state.discarded),
        names=state.intended,
        webhooks=(*state.stray_webhooks, *([state.webhook_id] if state.webhook_id else [])),
        connection=state.written,
    )


def tidy(state: FlowState) -> Turned:
    """What nobody needs any more, of a flow in which nothing runs."""
    if state.ended and state.step is not Step.CONNECTED:
        return (state, (clean_up(state),)) if state.left_over else (state, ())
    stale = state.written and state.stale
    if not (state.discarded or state.intended or state.stray_webhooks or stale):
        return state, ()
    effect = CleanUp(
        flow=state,
        refs=state.discarded,
        names=state.intended,
        webhooks=state.stray_webhooks,
        connection=stale,
        # Nobody may write the connection while it is being taken away, or make the webhook that is
        # looked for.
        blocking=stale or (UNHEARD in state.stray_webhooks and not state.ended),
    )
    return state, (effect,)


def checks_of(system: System) -> tuple[Check, ...]:
    """What is looked at to validate, in its order; nothing where nothing can be asked."""
    validation = system.validation
    if validation is None:
        return ()
    ids = ["address", "dns", "tls", "reach", "credentials"]
    if validation.scopes:
        ids.append("permissions")
    if validation.clock:
        ids.append("clock")
    return tuple(map(_check, ids))


def _check(check_id: str) -> Check:
    return Check(id=check_id, title=words.TITLES[check_id])


def _with(state: FlowState, check_id: str, standing: CheckState) -> FlowState:
    return replace(
        state,
        checks=tuple(
            replace(one, state=standing, explanation=None) if one.id == check_id else one
            for one in state.checks
        ),
    )
