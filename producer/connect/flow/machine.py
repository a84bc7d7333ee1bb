"""The flow: a state and an input give a state and what is to be done. No I/O, no clock.

The rule that holds it together: what was made outside (a secret, a webhook, a record) stands in the
state from before it is made until it is known to be gone, so that no end of a flow forgets it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from producer.connect.flow import inputs as i
from producer.connect.flow import outcomes, words
from producer.connect.flow.inputs import At, Effect, Moved, Refused
from producer.connect.flow.progress import (
    CARRYING,
    clean_up,
    enter_details,
    names_for,
    proceed,
    settle,
    tidy,
    without,
)
from producer.connect.flow.state import PASSING, FlowState, Step
from producer.connect.system import OAuthCode, System

#: Somebody who was sent to another system comes back within this, or asks again.
CONSENT_US: Final = 900_000_000
#: What came back waits so long for its proof, and takes so many wrong ones.
CONFIRM_US: Final = 300_000_000
MAX_TRIES: Final = 5
#: What runs says that it does every 20 s at least.
DEAD_AFTER_US: Final = 60_000_000

Answer = Moved | Refused
Turned = tuple[FlowState, tuple[Effect, ...]]


def start(at: At, connection_id: str = "") -> Moved:
    """A new flow; where the system is fixed, beyond its choice."""
    state = FlowState()
    if at.fixed and (system := at.get(at.fixed)) is not None:
        chosen = FlowState(system=system.id, connection_id=connection_id)
        return _moved(state, *enter_details(chosen, system, at), at=at)
    return Moved(state=replace(state, revision=1, seen=1))


def advance(state: FlowState, given: i.Input, at: At) -> Answer:
    """What becomes of a flow. Never raises; unchanged where an input says nothing new."""
    if isinstance(given, i.FromCustomer):
        return _from_customer(state, given, at)
    if isinstance(given, i.Consent):
        return _consent(state, given, at)
    if isinstance(given, i.Expire):
        turned = (state, ()) if state.ended else _end(state, Step.EXPIRED)
    elif isinstance(given, i.Interrupted):
        dead = state.running and at.now_us - state.running_since_us >= DEAD_AFTER_US
        turned = outcomes.interrupted(state, at) if dead else (state, ())
    elif isinstance(given, i.TidyUp):
        turned = (state, ()) if state.running else tidy(state)
    else:
        turned = outcomes.take(state, given, at)
    return _moved(state, *turned, at=at)


def allowed(state: FlowState, at: At) -> tuple[str, ...]:
    """The customer's actions that the flow takes now, by name."""
    if state.ended:
        return ()
    system = at.get(state.system)
    busy = bool(state.running)
    found = []
    if not busy and state.step is Step.CHOOSE:
        found.append("choose")
    if not busy and state.step is Step.DETAILS:
        found.append("details")
    if not busy and state.step is Step.AUTHORISE:
        found.append("authorise")
        if _waits_for_proof(state):
            found.append("confirm")
    if not busy and state.step is Step.REGISTER and system is not None and _by_hand(state, system):
        found.append("register")
    if not busy and state.problem is not None and state.step in _RETRIED:
        found.append("retry")
    if system is not None and state.step is Step.TEST and _may_send(state, system):
        found.append("send_test")
    if system is not None and outcomes.may_skip(state, system):
        found.append("skip")
    if state.running not in CARRYING and system is not None and _before(state, system, at):
        found.append("back")
    return (*found, "cancel")


_RETRIED: Final = (Step.VALIDATE, Step.REGISTER, Step.TEST)


def _moved(before: FlowState, after: FlowState, effects: tuple[Effect, ...], *, at: At) -> Moved:
    for effect in effects:
        if not isinstance(effect, i.CleanUp) or effect.blocking:
            after = replace(
                after,
                running=type(effect).__name__,
                running_since_us=at.now_us,
                run=before.revision + 1,
            )
    if after != before:
        revision = before.revision + 1
        seen = before.seen if _looks(after) == _looks(before) else revision
        after = replace(after, revision=revision, seen=seen)
    return Moved(state=after, effects=effects)


def _looks(state: FlowState) -> FlowState:
    """Without what the customer does not see."""
    return replace(state, running_since_us=0, run=0, discarded=(), intended=(), stray_webhooks=())


def _from_customer(state: FlowState, given: i.FromCustomer, at: At) -> Answer:
    if state.ended:
        return Refused(code="ended", text=words.ENDED[state.step])
    if isinstance(given, i.Cancel):
        return _moved(state, *_end(state, Step.CANCELLED), at=at)
    name = _NAMES[type(given)]
    if name not in allowed(state, at):
        if state.running:
            return Refused(code="busy", text=words.BUSY)
        return Refused(code="not_now", text=words.NOT_NOW)
    answer = _TAKEN[type(given)](state, given, at)
    return answer if isinstance(answer, Refused) else _moved(state, *answer, at=at)


def _choose(state: FlowState, given: i.Choose, at: At) -> Turned | Refused:
    system = at.get(given.system)
    if system is None or (at.allowed and given.system not in at.allowed):
        return Refused(code="unknown_system", text=words.UNKNOWN_SYSTEM)
    if state.written or state.stray_webhooks:
        return Refused(code="busy", text=words.STILL_CLEANING)
    chosen = FlowState(
        revision=state.revision,
        seen=state.seen,
        system=system.id,
        connection_id=given.connection_id,
        intended=state.intended,
        discarded=(*state.discarded, *state.secrets.values()),
    )
    return enter_details(chosen, system, at)


def _details(state: FlowState, given: i.Details, at: At) -> Turned | Refused:
    other = any(state.values.get(name) != value for name, value in given.values.items())
    if state.stray_webhooks and (other or given.elsewhere):
        # What takes it away is what it was made with.
        return Refused(code="busy", text=words.STILL_CLEANING)
    if given.elsewhere:
        gone = (*state.discarded, *state.secrets.values())
        state = replace(state, secrets={}, discarded=gone)
    after = replace(
        state,
        values={**state.values, **given.values},
        mistakes=dict(given.mistakes),
        problem=None,
        validated=False,
    )
    if given.mistakes:
        return after, ()
    if given.secret_fields:
        names = names_for(after, given.secret_fields, at)
        return _storing(after, names), (i.StoreSecrets(names=names),)
    return proceed(after, at)


def _register(state: FlowState, given: i.Register, at: At) -> Turned:
    after = replace(
        state,
        values={**state.values, **given.values},
        mistakes=dict(given.mistakes),
        problem=None,
    )
    if given.mistakes:
        return after, ()
    # What was refused before was for what stood here before.
    after = replace(after, registered=True, refused_at_us=at.now_us)
    if given.secret_fields:
        names = names_for(after, given.secret_fields, at)
        return _storing(after, names), (i.StoreSecrets(names=names),)
    return proceed(after, at)


def _authorise(state: FlowState, given: i.Authorise, at: At) -> Turned:
    names = names_for(state, ("oauth_verifier",), at)
    after = without(replace(state, problem=None, **_NO_CONSENT), ("oauth_code",))
    return _storing(after, names), (i.BeginConsent(names=names),)


def _confirm(state: FlowState, given: i.Confirm, at: At) -> Turned:
    system = at.get(state.system)
    name = system.name if system is not None else ""
    over = replace(state, problem=None, **_NO_CONSENT)
    if at.now_us - state.oauth_at_us > CONFIRM_US:
        return tidy(without(replace(over, problem=words.confirmed_late(name)), PASSING))
    if given.digest not in state.oauth_proofs:
        tries = state.oauth_tries + 1
        if tries >= MAX_TRIES:
            return tidy(without(replace(over, problem=words.code_wrong_again(name)), PASSING))
        return replace(state, oauth_tries=tries, problem=words.code_wrong(name)), ()
    names = names_for(over, ("access_token", "refresh_token"), at)
    return _storing(over, names), (i.ExchangeCode(names=names),)


def _waits_for_proof(state: FlowState) -> bool:
    return bool(state.oauth_proofs) and "oauth_code" in state.secrets


def _retry(state: FlowState, given: i.Retry, at: At) -> Turned:
    system = at.get(state.system)
    if state.step is Step.REGISTER and system is not None and _unsigned(state, system):
        # It did not say how it signs: another one in its place may.
        stray = (*state.stray_webhooks, *([state.webhook_id] if state.webhook_id else []))
        state = replace(state, registered=False, webhook_id="", stray_webhooks=stray)
    return proceed(replace(state, problem=None), at)


def _unsigned(state: FlowState, system: System) -> bool:
    """A webhook was made by the API, and its signing secret is not known."""
    webhook = system.webhook
    missing = webhook.secret.source == "answer" and "signing_secret" not in state.secrets
    return missing and webhook.registration.how == "api" and state.registered


def _send_test(state: FlowState, given: i.SendTest, at: At) -> Turned:
    return proceed(replace(state, problem=None, waiting_until_us=0), at)


def _skip(state: FlowState, given: i.Skip, at: At) -> Turned:
    return outcomes.skipped(state)


def _back(state: FlowState, given: i.Back, at: At) -> Turned | Refused:
    system = at.get(state.system)
    to = _before(state, system, at) if system is not None else None
    if to is None:
        return Refused(code="not_now", text=words.NOT_NOW)
    after = replace(
        state, step=to, problem=None, mistakes={}, checks=(), running="", running_since_us=0,
        waiting_until_us=0, arrived_request_id="", arrived_at="", **_NO_CONSENT,
    )  # fmt: skip
    if to is Step.REGISTER:
        # By hand: what the customer did in the other system stands; he sees what it was.
        after = replace(after, registered=False)
        return settle(after, system, at) if system is not None else (after, ())
    kept = {k: ref for k, ref in after.secrets.items() if k not in _MADE and to != Step.CHOOSE}
    gone = tuple(ref for ref in after.secrets.values() if ref not in kept.values())
    webhooks = (*after.stray_webhooks, *([after.webhook_id] if after.webhook_id else []))
    after = replace(
        after, validated=False, account="", granted_scopes=(), served=False, registered=False,
        stale=after.written, webhook_id="", stray_webhooks=webhooks, secrets=kept,
        discarded=(*after.discarded, *gone),
    )  # fmt: skip
    if not (webhooks or after.written or after.discarded):
        return after, ()
    # With what the state before had: its credentials take the webhook away.
    effect = i.CleanUp(
        flow=state, refs=after.discarded, webhooks=webhooks, connection=after.written
    )
    return after, (effect,)


#: Secrets that the customer did not enter: a step back makes them anew.
_MADE: Final = frozenset({"signing_secret", "access_token", "refresh_token", *PASSING})
#: Nobody is waited for.
_NO_CONSENT: Final[dict[str, Any]] = {
    "oauth_state": "", "oauth_at_us": 0, "oauth_proofs": (), "oauth_tries": 0,
}  # fmt: skip
_NAMES: Final[dict[type, str]] = {
    i.Choose: "choose",
    i.Details: "details",
    i.Register: "register",
    i.Authorise: "authorise",
    i.Confirm: "confirm",
    i.Retry: "retry",
    i.Back: "back",
    i.SendTest: "send_test",
    i.Skip: "skip",
}
_TAKEN: Final[dict[type, Callable[[FlowState, Any, At], Turned | Refused]]] = {
    i.Choose: _choose,
    i.Details: _details,
    i.Register: _register,
    i.Authorise: _authorise,
    i.Confirm: _confirm,
    i.Retry: _retry,
    i.Back: _back,
    i.SendTest: _send_test,
    i.Skip: _skip,
}


def _consent(state: FlowState, given: i.Consent, at: At) -> Answer:
    if state.ended:
        return Refused(code="ended", text=words.ENDED[state.step])
    waited_us = at.now_us - state.oauth_at_us
    if not state.oauth_state or state.oauth_state != given.state_digest or state.running:
        return Refused(code="state_unknown", text=words.CONSENT_USED)
    # Whatever comes of it: this state counts once.
    after = replace(state, problem=None, **_NO_CONSENT)
    system = at.get(state.system)
    name = system.name if system is not None else ""
    if waited_us > CONSENT_US:
        return _moved(state, replace(after, problem=words.consent_late(name)), (), at=at)
    if given.denied:
        return _moved(state, replace(after, problem=words.denied(name, given.denied)), (), at=at)
    # Anybody may have been led here: it waits until the one who asked shows that it was him.
    after = replace(after, oauth_proofs=given.proofs, oauth_at_us=at.now_us)
    names = names_for(after, ("oauth_code",), at)
    return _moved(state, _storing(after, names), (i.KeepCode(names=names),), at=at)


def _end(state: FlowState, step: Step) -> Turned:
    after = replace(state, step=step, problem=None, mistakes={}, **_NO_CONSENT)
    if state.running in CARRYING:
        # What it makes is not known yet: its outcome, or its silence, begins the clean-up.
        return after, ()
    after = replace(after, running="", running_since_us=0)
    return (after, (clean_up(after),)) if after.left_over else (after, ())


def _storing(state: FlowState, names: dict[str, str]) -> FlowState:
    return replace(state, intended=(*state.intended, *names.values()))


def _by_hand(state: FlowState, system: System) -> bool:
    return system.webhook.registration.how == "manual" and not state.registered


def _may_send(state: FlowState, system: System) -> bool:
    # Where the customer or the registration brings it about, there is nothing that we could send.
    return system.webhook.test.how == "api" and state.running in ("", "AwaitEvent")


def _before(state: FlowState, system: System, at: At) -> Step | None:
    """The step behind the back button; None where there is none."""
    choose = None if at.fixed else Step.CHOOSE
    details = Step.DETAILS if system.fields else choose
    consent = Step.AUTHORISE if isinstance(system.authorisation, OAuthCode) else details
    by_hand = system.webhook.registration.how == "manual"
    return {
        Step.DETAILS: choose,
        Step.AUTHORISE: details,
        Step.VALIDATE: consent,
        Step.REGISTER: consent,
        Step.TEST: Step.REGISTER if by_hand else consent,
    }.get(state.step)
