"""What came of an effect, in time or late; and what becomes of one that nobody carries out."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from producer.connect.flow import inputs as i
from producer.connect.flow import words
from producer.connect.flow.inputs import At, Effect, Outcome
from producer.connect.flow.progress import (
    await_event,
    awaiting,
    clean_up,
    enter_register,
    proceed,
    tidy,
    without,
)
from producer.connect.flow.state import (
    PASSING,
    UNHEARD,
    Check,
    CheckState,
    Explanation,
    FlowState,
    Step,
)
from producer.connect.system import System

Turned = tuple[FlowState, tuple[Effect, ...]]
_FINE: Final = (CheckState.PASSED, CheckState.SKIPPED)


def take(state: FlowState, given: Outcome, at: At) -> Turned:
    """The state with what came of it. One that nobody waits for changes nothing, but what it has
    made is taken away."""
    in_time = bool(state.running) and given.run == state.run
    if isinstance(given, i.CleanedUp):
        return _cleaned(state, given, given.blocking and in_time)
    if not in_time:
        return _late(state, given)
    if isinstance(given, i.Alive):
        return replace(state, running_since_us=at.now_us), ()
    if isinstance(given, i.Failed):
        return _failed(state, given)
    if isinstance(given, i.Checked):
        # What runs has shown that it is alive.
        return replace(_put(state, given.check), running_since_us=at.now_us), ()
    if isinstance(given, i.Mismatched):
        return _mismatched(state, given, at), ()
    kind = state.running
    idle = replace(state, running="", running_since_us=0)
    if state.step in (Step.CANCELLED, Step.EXPIRED):
        return _clean(_merged(idle, given))
    if isinstance(given, i.Stored):
        return _stored(idle, given, kind, at)
    if isinstance(given, i.Validated):
        return _validated(idle, given, at)
    if isinstance(given, i.Registered):
        return proceed(_mark(_merged(idle, given), "register", CheckState.PASSED), at)
    if isinstance(given, i.Written):
        return proceed(_merged(idle, given), at)
    if isinstance(given, i.Served):
        after = replace(idle, served=True)
        return proceed(_mark(after, "gateway", CheckState.PASSED), at)
    return _tested(idle, given, at)


def interrupted(state: FlowState, at: At) -> Turned:
    """Whoever carried it out is taken for dead: what can be repeated is, what cannot is told."""
    kind = state.running
    idle = replace(state, running="", running_since_us=0)
    if kind == "RegisterWebhook":
        idle = _unheard(idle)
    if state.ended or kind == "CleanUp":
        return _clean(idle)
    if kind == "AwaitEvent":
        return idle, (awaiting(state),)
    if kind in ("RunChecks", "WriteConnection", "AskGateway", "MakeSecret"):
        return proceed(idle, at)
    system = at.get(state.system)
    name = system.name if system is not None else state.system
    if kind == "RegisterWebhook":
        return _unmark(replace(idle, problem=words.register_interrupted(name))), ()
    if kind in ("BeginConsent", "KeepCode", "ExchangeCode"):
        return replace(idle, problem=words.consent_interrupted(name)), ()
    if kind == "StoreSecrets":
        # The customer said that it was done; what he pasted is lost all the same.
        registered = state.registered and state.step is not Step.REGISTER
        return replace(idle, registered=registered, problem=words.INTERRUPTED), ()
    return _unmark(replace(idle, problem=words.INTERRUPTED)), ()


def _late(state: FlowState, given: Outcome) -> Turned:
    if isinstance(given, i.Written):
        if state.written or state.step is Step.CONNECTED:
            return state, ()
        # It was written after all, when the flow had been cleaned up.
        after = replace(state, written=True, stale=True)
        return (after, ()) if after.running else tidy(after)
    if not isinstance(given, i.Stored | i.Registered | i.Failed):
        return state, ()
    refs = tuple(given.refs.values())
    names = () if isinstance(given, i.Failed) else given.names
    state = replace(
        state,
        intended=_without(state.intended, names),
        discarded=(*state.discarded, *refs),
    )
    webhook_id = given.webhook_id if isinstance(given, i.Registered | i.Failed) else ""
    if isinstance(given, i.Failed) and given.unheard:
        webhook_id = UNHEARD
    return _stray(state, refs, webhook_id)


def _stray(state: FlowState, refs: tuple[str, ...], webhook_id: str) -> Turned:
    """Take away what a late one made; the state's own webhook and connection are not it."""
    webhook = bool(webhook_id) and webhook_id != state.webhook_id
    if not (refs or webhook):
        return state, ()
    if webhook:
        state = replace(state, stray_webhooks=(*state.stray_webhooks, webhook_id))
    webhooks = (webhook_id,) if webhook else ()
    effect = i.CleanUp(flow=state, refs=refs, webhooks=webhooks, blocking=False)
    return state, (effect,)


def _failed(state: FlowState, given: i.Failed) -> Turned:
    kind = state.running
    after = replace(
        state,
        running="",
        running_since_us=0,
        discarded=(*state.discarded, *given.refs.values()),
        webhook_id=given.webhook_id or state.webhook_id,
        registered=state.registered or bool(given.webhook_id),
    )
    if given.unheard:
        after = _unheard(after)
    if after.ended:
        return _clean(after)
    if kind == "StoreSecrets" and state.step is Step.REGISTER:
        after = replace(after, registered=False)
    return _unmark(replace(after, problem=given.explanation, waiting_until_us=0)), ()


def _unheard(state: FlowState) -> FlowState:
    """It is looked for before another one is made, and when the flow is cleaned up."""
    kept = _without(state.stray_webhooks, (UNHEARD,))
    return replace(state, stray_webhooks=(*kept, UNHEARD))


def _merged(state: FlowState, given: Outcome) -> FlowState:
    """With what an outcome says was made."""
    if isinstance(given, i.Stored | i.Registered):
        replaced = tuple(state.secrets[k] for k in given.refs if k in state.secrets)
        state = replace(
            state,
            secrets={**state.secrets, **given.refs},
            intended=_without(state.intended, given.names),
            discarded=(*state.discarded, *replaced),
            # The connection's record names what was replaced.
            stale=state.stale or bool(state.written and replaced),
        )
    if isinstance(given, i.Stored) and given.kept:
        state = replace(state, values={**state.values, **given.kept})
    if isinstance(given, i.Registered):
        before = state.webhook_id
        stray = (*state.stray_webhooks, *([before] if before else []))
        state = replace(state, registered=True, webhook_id=given.webhook_id, stray_webhooks=stray)
    if isinstance(given, i.Written):
        state = replace(state, written=True, written_webhook_id=given.webhook_id, stale=False)
    return state


def _stored(state: FlowState, given: i.Stored, kind: str, at: At) -> Turned:
    after = _merged(state, given)
    if kind == "BeginConsent":
        return replace(after, oauth_state=given.state_digest, oauth_at_us=at.now_us), ()
    if kind == "KeepCode":
        return after, ()
    if kind == "ExchangeCode":
        after = replace(without(after, PASSING), granted_scopes=given.scopes)
    return proceed(after, at)


def _validated(state: FlowState, given: i.Validated, at: At) -> Turned:
    if not state.checks or any(check.state not in _FINE for check in state.checks):
        # Whoever ran them was wrong: a connection is made after its checks only.
        return replace(state, problem=words.INTERRUPTED), ()
    system = at.get(state.system)
    after = replace(
        state,
        validated=True,
        account=given.account,
        values={**state.values, **given.kept},
        granted_scopes=given.scopes or state.granted_scopes,
    )
    if system is None:
        return replace(after, problem=words.system_gone(state.system)), ()
    return enter_register(after, system, at)


def _tested(state: FlowState, given: Outcome, at: At) -> Turned:
    system = at.get(state.system)
    if system is None:
        return replace(state, problem=words.system_gone(state.system)), ()
    if isinstance(given, i.Sent):
        return await_event(_mark(state, "sent", CheckState.PASSED), system, at)
    after = replace(state, waiting_until_us=0)
    if isinstance(given, i.Arrived):
        arrived = replace(after, arrived_request_id=given.request_id, arrived_at=given.at)
        return _connected(_mark(arrived, "arrived", CheckState.PASSED))
    mismatch = _mismatch(after)
    if system.webhook.test.optional and mismatch is None:
        return _connected(_mark(after, "arrived", CheckState.SKIPPED))
    explanation = mismatch or words.not_arrived(system)
    failed = _put(after, _changed(after, "arrived", CheckState.FAILED, explanation))
    return replace(failed, problem=explanation), ()


def may_skip(state: FlowState, system: System) -> bool:
    """Whether nothing but an event that need not come is missing."""
    waits = state.running in ("", "AwaitEvent")
    optional = system.webhook.test.optional and _mismatch(state) is None
    return state.step is Step.TEST and waits and optional


def skipped(state: FlowState) -> Turned:
    """The customer does not wait for it; what waits finds that its turn is over."""
    idle = replace(state, running="", running_since_us=0, waiting_until_us=0, problem=None)
    return _connected(_mark(idle, "arrived", CheckState.SKIPPED))


def _mismatched(state: FlowState, given: i.Mismatched, at: At) -> FlowState:
    """Told beside the check, which goes on: the next event may be a right one."""
    system = at.get(state.system)
    alive = replace(state, running_since_us=at.now_us)
    if system is None or state.step is not Step.TEST:
        return alive
    explanation = words.signature_wrong(system)
    check = _changed(state, "arrived", CheckState.RUNNING, explanation)
    return replace(_put(alive, check), refused_at_us=given.received_at_us)


def _mismatch(state: FlowState) -> Explanation | None:
    told = (one.explanation for one in state.checks if one.id == "arrived")
    return next((one for one in told if one is not None), None)


def _connected(state: FlowState) -> Turned:
    after = replace(state, step=Step.CONNECTED, problem=None)
    return tidy(after)


def _clean(state: FlowState) -> Turned:
    return (state, (clean_up(state),)) if state.left_over else (state, ())


def _cleaned(state: FlowState, given: i.CleanedUp, waited_for: bool) -> Turned:
    gone = set(given.refs)
    after = replace(
        state,
        secrets={k: ref for k, ref in state.secrets.items() if ref not in gone},
        discarded=tuple(ref for ref in state.discarded if ref not in gone),
        intended=_without(state.intended, given.names),
        stray_webhooks=_without(state.stray_webhooks, given.webhooks),
    )
    if after.webhook_id in given.webhooks:
        after = replace(after, webhook_id="", registered=False)
    if not waited_for:
        return after, ()
    after = replace(after, running="", running_since_us=0)
    if given.connection:
        after = replace(after, written=False, written_webhook_id="", stale=False, served=False)
    return after, ()


def _put(state: FlowState, check: Check) -> FlowState:
    found = tuple(check if one.id == check.id else one for one in state.checks)
    return replace(state, checks=found)


def _changed(
    state: FlowState, check_id: str, standing: CheckState, explanation: Explanation | None = None
) -> Check:
    for one in state.checks:
        if one.id == check_id:
            return replace(one, state=standing, explanation=explanation)
    return Check(id=check_id, title=words.TITLES[check_id], state=standing)


def _mark(state: FlowState, check_id: str, standing: CheckState) -> FlowState:
    return _put(state, _changed(state, check_id, standing))


def _unmark(state: FlowState) -> FlowState:
    """Nothing runs: a check that ran has failed with the problem, or waits."""
    return replace(
        state,
        checks=tuple(
            replace(one, state=CheckState.FAILED, explanation=state.problem)
            if one.state is CheckState.RUNNING
            else one
            for one in state.checks
        ),
    )


def _without(some: tuple[str, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in some if one not in gone)
