"""Consent counts for whoever holds the session, and for nobody who was sent a link (login CSRF)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from producer.connect.flow import inputs as i
from producer.connect.flow import machine, proofs
from producer.connect.flow.state import FlowState, Step
from producer.connect.service import ActionKind, ConnectService, FlowRefused
from tests.connect.rig import Rig, act, reach, until, wanted
from tests.connect.systems import kinds
from tests.parts.kafka import KafkaBroker

SYSTEMS = {one.id: one for one in kinds()}


@pytest.fixture
def rig(kafka: KafkaBroker, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(kafka, tmp_path, list(SYSTEMS.values()))
    with rig.vendor:
        yield rig


async def begun(rig: Rig, service: ConnectService) -> tuple[str, str]:
    """A session that waits for consent, and the state of its link."""
    _, session = await service.create(wanted("consent"))
    await act(service, session.id, ActionKind.DETAILS, values={"address": rig.vendor.url})
    return session.id, await link(service, session.id)


async def link(service: ConnectService, session: str) -> str:
    view = await act(service, session, ActionKind.AUTHORISE)
    assert view.authorise is not None
    return parse_qs(urlsplit(view.authorise.url or "").query)["state"][0]


def exchanges(rig: Rig) -> int:
    return [asked[1] for asked in rig.vendor.requests].count("/token")


@pytest.mark.kafka
def test_a_victim_who_consents_by_an_attackers_link_connects_nothing(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            attacker, state = await begun(rig, service)
            rig.vendor.codes["victims-code"] = ""
            # The victim's browser comes back; the attacker sees nothing of what its page shows.
            came = await service.came_back(state, "victims-code", "")
            assert came.ok
            view = await service.view(attacker)
            assert "confirm" in view.actions
            assert (came.proof or rig.key).reveal().encode() not in msgspec.json.encode(view)
            own, other = await begun(rig, service)
            elsewhere = await service.came_back(other, "another-code", "")
            assert elsewhere.typed is not None
            # What he has of his own, another way back's, nothing, and guesses: until it is over.
            for guess in (elsewhere.typed.reveal(), state, "", "BBBB-BBBB"):
                view = await act(service, attacker, ActionKind.CONFIRM, values={"proof": guess})
                assert view.problem is not None
                assert view.problem.code == "code_wrong"
            view = await act(service, attacker, ActionKind.CONFIRM, values={"proof": "CCCC-CCCC"})
            assert view.problem is not None
            assert view.problem.code == "code_wrong_again"
            # From then on the right one does not count either, and what was kept is gone.
            with pytest.raises(FlowRefused) as refused:
                await act(
                    service, attacker, ActionKind.CONFIRM,
                    values={"proof": (came.proof or rig.key).reveal()},
                )  # fmt: skip
            assert refused.value.code == "not_now"
            assert exchanges(rig) == 0
            assert "victims-code" in rig.vendor.codes
            await act(service, own, ActionKind.CANCEL)
            await until(lambda: rig.names() == [])

    asyncio.run(go())


@pytest.mark.kafka
def test_on_another_replica_the_typed_code_is_as_good_as_the_proof(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as one, rig.running() as other:
            session, state = await begun(rig, one)
            await until(lambda: other._store.get(session) == one._store.get(session))
            rig.vendor.codes["code-1"] = ""
            came = await other.came_back(state, "code-1", "")
            typed = (came.typed or rig.key).reveal()
            await reach(one, session, lambda v: "confirm" in v.actions)
            assert exchanges(rig) == 0
            presented = f" {typed.lower().replace('-', ' ')}"
            await act(one, session, ActionKind.CONFIRM, values={"proof": presented})
            await reach(one, session, lambda v: v.step in ("register", "test"))
            assert exchanges(rig) == 1
            await act(one, session, ActionKind.CANCEL)
            await until(lambda: rig.names() == [])

    asyncio.run(go())


@pytest.mark.kafka
def test_a_no_is_told_without_any_proof(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            session, state = await begun(rig, service)
            came = await service.came_back(state, "", "access_denied")
            assert (came.ok, came.code, came.proof) == (False, "consent_denied", None)
            view = await service.view(session)
            assert view.problem is not None
            assert view.problem.code == "consent_denied"
            assert "confirm" not in view.actions

    asyncio.run(go())


# The machine alone.

KEPT = FlowState(
    revision=4, step=Step.AUTHORISE, system="consent", connection_id="c", oauth_at_us=1_000_000,
    oauth_proofs=("right",), secrets={"oauth_code": "kept:code", "oauth_verifier": "kept:verifier"},
)  # fmt: skip


def at(now_us: int) -> i.At:
    return i.At(now_us=now_us, session="s", get=SYSTEMS.get)


def moved(state: FlowState, given: i.Input, now_us: int = 2_000_000) -> i.Moved:
    answer = machine.advance(state, given, at(now_us))
    assert isinstance(answer, i.Moved), answer
    return answer


def test_what_came_back_is_used_after_its_proof_alone_and_once() -> None:
    came = moved(
        msgspec.structs.replace(KEPT, oauth_proofs=(), oauth_state="digest", secrets={}),
        i.Consent(state_digest="digest", proofs=("right",)),
    )
    assert [type(effect).__name__ for effect in came.effects] == ["KeepCode"]
    assert "confirm" not in machine.allowed(came.state, at(0))
    first = moved(KEPT, i.Confirm(digest="right"))
    assert [type(effect).__name__ for effect in first.effects] == ["ExchangeCode"]
    again = machine.advance(first.state, i.Confirm(digest="right"), at(2_000_000))
    assert isinstance(again, i.Refused)


def test_it_does_not_wait_for_ever() -> None:
    in_time = moved(KEPT, i.Confirm(digest="right"), 1_000_000 + machine.CONFIRM_US)
    assert isinstance(in_time.effects[0], i.ExchangeCode)
    late = moved(KEPT, i.Confirm(digest="right"), 1_000_001 + machine.CONFIRM_US)
    assert late.state.problem is not None
    assert late.state.problem.code == "confirmed_late"
    (effect,) = late.effects
    assert isinstance(effect, i.CleanUp)
    assert set(effect.refs) == {"kept:code", "kept:verifier"}


@pytest.mark.parametrize("given", [i.Authorise(), i.Back(), i.Cancel()])
def test_who_begins_again_or_leaves_forgets_it(given: i.Input) -> None:
    state = moved(KEPT, given).state
    assert state.oauth_proofs == ()
    assert "oauth_code" not in state.secrets or state.step is Step.CANCELLED
    assert "confirm" not in machine.allowed(state, at(0))


def test_a_proof_is_of_one_session_and_hard_to_guess() -> None:
    made = proofs.make_proof("s1", lambda letters: letters[-1])
    assert made.typed.reveal() == "ZZZZ-ZZZZ"
    for text in ("ZZZZ-ZZZZ", "zzzzzzzz", " zzzz zzzz\n"):
        assert proofs.digest("s1", text) == made.digests[1]
        assert proofs.digest("s2", text) not in made.digests
    assert proofs.digest("s1", made.sent.reveal()) == made.digests[0]
    assert made.sent.reveal() not in repr(made)
