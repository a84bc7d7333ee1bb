"""The flow against a world that answers, fails, dies and comes late, in any order: a seed each."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from producer.connect.flow import form, machine, words
from producer.connect.flow import inputs as i
from producer.connect.flow.state import UNHEARD, Check, CheckState, FlowState, Step
from producer.connect.system import System
from tests.connect.systems import kinds

SYSTEMS = {one.id: one for one in kinds()}
SECRET = "sw0rdfish-canary"
_STORING = i.StoreSecrets | i.BeginConsent | i.KeepCode | i.ExchangeCode | i.MakeSecret
FINE = (CheckState.PASSED, CheckState.SKIPPED)


class World:
    """One flow, and what was made outside because of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_us = 1_700_000_000_000_000
        self.fixed = self.random.choice(["", "", self.random.choice(list(SYSTEMS))])
        self.secrets: dict[str, str] = {}
        self.webhooks: set[str] = set()
        self.connection = False
        self.made = 0
        self.unheard_webhooks: set[str] = set()
        #: Effects under way, each with what it will give back.
        self.running: list[tuple[i.Effect, int]] = []
        self.current: i.Effect | None = None
        self.consent = self.proof = ""
        self.trace: list[str] = []
        moved = machine.start(self.at(), "conn")
        self.state = FlowState()
        self.take(moved, "start")

    def at(self) -> i.At:
        return i.At(now_us=self.now_us, session="s1", get=SYSTEMS.get, fixed=self.fixed)

    def give(self, given: i.Input) -> None:
        waiting = self.state.oauth_proofs
        answer = machine.advance(self.state, given, self.at())
        if isinstance(answer, i.Moved):
            if any(isinstance(effect, i.ExchangeCode) for effect in answer.effects):
                assert isinstance(given, i.Confirm)
                assert given.digest in waiting
            self.take(answer, type(given).__name__)
        elif isinstance(given, i.FromCustomer):
            assert answer.text
            name = type(given).__name__.lower().replace("sendtest", "send_test")
            gone = answer.code in ("unknown_system", "ended", "busy")
            assert gone or name not in machine.allowed(self.state, self.at())

    def take(self, moved: i.Moved, why: str) -> None:
        before, self.state = self.state, moved.state
        self.trace.append(f"{why}: {before.step}→{self.state.step} {self.state.running}")
        assert self.state.revision - before.revision in (0, 1)
        assert before == self.state or self.state.revision > before.revision
        assert before.ended <= self.state.ended
        encoded = msgspec.json.encode(self.state)
        assert SECRET.encode() not in encoded
        assert msgspec.json.decode(encoded, type=FlowState) == self.state
        blocking = [e for e in moved.effects if not isinstance(e, i.CleanUp) or e.blocking]
        assert len(blocking) <= 1
        for effect in blocking:
            self.current = effect
            assert self.state.running == type(effect).__name__
        if self.state.validated and not before.validated and self.state.system == before.system:
            assert before.step is not Step.VALIDATE or all(
                check.state in FINE for check in before.checks
            )
        for effect in moved.effects:
            if isinstance(effect, i.WriteConnection | i.RegisterWebhook):
                assert self.state.validated, self.trace
            self.running.append((effect, self.state.revision))
        if self.state.step is Step.CONNECTED and before.step is not Step.CONNECTED:
            self.connected(before)

    def connected(self, before: FlowState) -> None:
        system = SYSTEMS[self.state.system]
        assert self.connection, self.trace
        assert self.state.validated
        assert self.state.written
        assert not self.state.stale
        assert self.state.registered
        assert all(check.state in FINE for check in self.state.checks)
        assert self.state.arrived_at or system.webhook.test.optional
        if system.webhook.secret.source != "app":
            name = system.webhook.secret.field or "signing_secret"
            assert self.state.secrets[name] in self.secrets

    # What the customer does.

    def customer(self) -> i.Input:
        allowed = machine.allowed(self.state, self.at())
        onward = [one for one in allowed if one not in ("back", "cancel")]
        if onward and self.random.random() < 0.8:
            what = self.random.choice(onward)
        elif self.random.random() < 0.8:
            what = self.random.choice(
                [
                    "choose",
                    "details",
                    "register",
                    "authorise",
                    "confirm",
                    "retry",
                    "send_test",
                    "skip",
                ]
            )
        else:
            what = self.random.choice(["back", "back", "back", "cancel"])
        system = SYSTEMS.get(self.state.system)
        if what == "choose":
            named = self.random.choice([*SYSTEMS, "none-such"])
            return i.Choose(system=named, connection_id=f"conn-{named}")
        if what in ("details", "register"):
            return self.filled(what, system)
        return {
            "authorise": i.Authorise(),
            "confirm": i.Confirm(digest=self.random.choice([self.proof, self.proof, "forged"])),
            "retry": i.Retry(),
            "back": i.Back(),
            "send_test": i.SendTest(),
            "skip": i.Skip(),
            "cancel": i.Cancel(),
        }[what]

    def filled(self, what: str, system: System | None) -> i.Input:
        fields: list[Any] = []
        if system is not None:
            fields = system.fields if what == "details" else system.webhook.registration.fields
        given = {
            field.id: self.random.choice(
                [SECRET if field.secret else "https://x.example", "", "\x00bad"]
                if self.random.random() < 0.3
                else [SECRET if field.secret else "https://x.example"]
            )
            for field in fields
        }
        found = form.read(fields, given, self.state.secrets)
        kind = i.Details if what == "details" else i.Register
        return kind(
            values=found.values, secret_fields=tuple(found.secrets), mistakes=found.mistakes
        )

    # What becomes of an effect.

    def carry_out(self, sure: bool = False) -> None:
        """The next thing that happens to one of those under way."""
        at = self.random.randrange(len(self.running)) if not sure else 0
        effect, run = self.running[at]
        if sure:
            fate = "good"
        elif isinstance(effect, i.AwaitEvent):
            fate = self.random.choice(["good", "bad", "alive", "mismatch", "die"])
        else:
            fate = self.random.choices(["good", "bad", "die"], [8, 2, 1])[0]
        if fate == "alive":
            self.give(i.Alive(run=run))
            return
        if fate == "mismatch":
            self.give(i.Mismatched(received_at_us=self.now_us, run=run))
            return
        del self.running[at]
        if fate == "die":
            # It may have done it, and nobody hears of it. (Whoever is so slow that he was taken for
            # dead, does it after all and then dies, is one fault too many.)
            if self.state.running and effect is self.current and self.random.random() < 0.5:
                self.outcomes(effect, dead=True)
            return
        if fate == "bad":
            self.fail(effect, run)
            return
        for outcome in self.outcomes(effect):
            self.give(msgspec.structs.replace(outcome, run=run))

    def fail(self, effect: i.Effect, run: int) -> None:
        if isinstance(effect, i.CleanUp):
            self.give(i.CleanedUp(blocking=effect.blocking, run=run))
        elif isinstance(effect, i.AwaitEvent):
            self.give(i.NotArrived(run=run))
        elif isinstance(effect, i.RegisterWebhook) and self.random.random() < 0.3:
            # Its answer was lost.
            if UNHEARD in self.state.stray_webhooks:
                self.look_for_unheard(self.state)
            self.unheard_webhooks.add(self.webhook())
            self.give(i.Failed(explanation=words.ours_failing(), unheard=True, run=run))
        elif isinstance(effect, i.RegisterWebhook) and self.random.random() < 0.5:
            # Told, and what it answered could not be kept.
            self.give(i.Failed(explanation=words.not_kept(), webhook_id=self.webhook(), run=run))
        else:
            self.give(i.Failed(explanation=words.ours_failing(), run=run))

    def look_for_unheard(self, state: FlowState) -> None:
        """All that go to our address, but the one that is known."""
        self.webhooks -= self.unheard_webhooks - {state.webhook_id}
        self.unheard_webhooks.clear()

    def webhook(self) -> str:
        self.made += 1
        self.webhooks.add(f"hook-{self.made}")
        return f"hook-{self.made}"

    def store(self, names: Any) -> dict[str, str]:
        refs = {}
        for field, name in names.items():
            refs[field] = f"kept:{name}"
            self.secrets[f"kept:{name}"] = name
        return refs

    def outcomes(self, effect: i.Effect, dead: bool = False) -> list[i.Outcome]:
        if isinstance(effect, _STORING):
            if isinstance(effect, i.BeginConsent):
                self.made += 1
                self.consent = f"digest-{self.made}"
            return [
                i.Stored(
                    refs=self.store(effect.names),
                    names=tuple(effect.names.values()),
                    state_digest=self.consent if isinstance(effect, i.BeginConsent) else "",
                )
            ]
        if isinstance(effect, i.RunChecks):
            return [*map(self.checked, self.state.checks), i.Validated(account="octocat")]
        if isinstance(effect, i.WriteConnection):
            self.connection = True
            return [i.Written(webhook_id=effect.webhook_id)]
        if isinstance(effect, i.AskGateway):
            return [i.Served()]
        if isinstance(effect, i.RegisterWebhook):
            if UNHEARD in self.state.stray_webhooks:
                self.look_for_unheard(self.state)
            webhook = self.webhook()
            if dead:
                # Nobody has heard of it: it is looked for.
                self.unheard_webhooks.add(webhook)
                return []
            answer = SYSTEMS[self.state.system].webhook.secret.source == "answer"
            refs = self.store(effect.names) if answer else {}
            return [i.Registered(webhook_id=webhook, refs=refs, names=tuple(effect.names.values()))]
        if isinstance(effect, i.AskForTest):
            return [i.Sent()]
        if isinstance(effect, i.AwaitEvent):
            return [i.Arrived(request_id="ab", at="events/0/1")]
        self.webhooks -= set(effect.webhooks)
        if UNHEARD in effect.webhooks:
            self.look_for_unheard(effect.flow)
        for ref in effect.refs:
            self.secrets.pop(ref, None)
        for name in effect.names:
            self.secrets.pop(f"kept:{name}", None)
        if effect.connection:
            self.connection = False
        return [
            i.CleanedUp(
                refs=effect.refs,
                names=effect.names,
                webhooks=effect.webhooks,
                connection=effect.connection,
                blocking=effect.blocking,
            )
        ]

    def checked(self, check: Check) -> i.Checked:
        state = CheckState.PASSED if self.random.random() < 0.97 else CheckState.FAILED
        return i.Checked(check=Check(id=check.id, title=check.title, state=state))

    def step(self) -> None:
        roll = self.random.random()
        if self.running and roll < 0.5:
            self.carry_out()
        elif roll < 0.8:
            self.give(self.customer())
        elif roll < 0.88:
            digest = self.random.choice([self.consent, self.consent, "forged"])
            denied = self.random.choice(["", "", "no"])
            self.made += 1
            proof = f"proof-{self.made}"
            if digest == self.consent == self.state.oauth_state:
                self.proof = proof
            self.give(i.Consent(state_digest=digest, denied=denied, proofs=(proof,)))
        elif roll < 0.95:
            self.now_us += self.random.choice([1_000_000, 61_000_000])
            self.give(i.Interrupted())
        elif roll < 0.995:
            self.give(i.TidyUp())
        else:
            self.give(i.Expire())

    def come_to_rest(self) -> None:
        """All that runs succeeds, what is dead is taken over, what is left over is tidied."""
        for _ in range(60):
            while self.running:
                self.carry_out(sure=True)
            self.now_us += 61_000_000
            if self.state.running:
                self.give(i.Interrupted())
            elif not self.running:
                self.give(i.TidyUp())
            if not (self.running or self.state.running):
                return
        raise AssertionError(self.trace)


@pytest.mark.parametrize("first", range(0, 3000, 200))
def test_no_sequence_leads_to_an_exception_a_leak_or_leftovers(first: int) -> None:
    ends = set()
    for seed in range(first, first + 200):
        world = World(seed)
        try:
            for _ in range(world.random.choice([20, 60, 150])):
                world.step()
            world.come_to_rest()
            if not world.state.ended:
                world.give(i.Expire() if seed % 2 else i.Cancel())
                world.come_to_rest()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}\n" + "\n".join(world.trace)) from error
        ends.add(world.state.step)
        told = f"seed {seed}\n" + "\n".join(world.trace)
        assert world.state.ended, told
        if world.state.step is Step.CONNECTED:
            assert set(world.secrets) == set(world.state.secrets.values()), told
            assert world.connection, told
            assert world.webhooks <= {world.state.webhook_id}, told
        else:
            assert world.secrets == {}, told
            assert world.webhooks == set(), told
            assert not world.connection, told
            assert not world.state.left_over, told
    assert ends >= {Step.CONNECTED, Step.CANCELLED, Step.EXPIRED}
