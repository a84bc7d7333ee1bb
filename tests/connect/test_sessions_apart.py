"""Sessions beside each other, and what is not to be had at the moment: on real Kafka, with a sealed
file and a vendor on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from credentials.secret import Secret
from producer.connect.service import ActionKind, ConnectService, FlowRefused
from schemas.errors import BackendAway
from tests.connect.rig import SECRET, Rig, act, reach, until, wanted
from tests.connect.systems import system
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture
def rig(kafka: KafkaBroker, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(kafka, tmp_path, [system("plain")])
    with rig.vendor:
        yield rig


def details(rig: Rig, token: str = SECRET) -> dict[str, str]:
    return {"address": rig.vendor.url, "token": token}


def test_a_name_that_a_session_was_given_is_not_free_either(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            token, session = await service.create(wanted("plain"))
            name = session.flow.connection_id
            foreign = msgspec.structs.replace(wanted("plain", connection_id=name), tenant="b")
            with pytest.raises(FlowRefused) as refused:
                await service.create(foreign)
            assert refused.value.code == "exists"
            rig.vendor.known.add(name)
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            await reach(service, session.id, lambda v: v.step == "test")
            # Half made: its record is there, and it is still the first one's.
            with pytest.raises(FlowRefused) as refused:
                await service.create(foreign)
            assert refused.value.code == "exists"
            await service.admit(token.reveal())

    asyncio.run(go())


def test_a_secret_does_not_go_to_another_address_than_it_was_entered_for(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain"))
            await act(service, session.id, ActionKind.DETAILS, values=details(rig, "wrong-token"))
            await reach(service, session.id, lambda v: v.problem is not None)
            await act(service, session.id, ActionKind.BACK)
            # The same address in other words, and another path there: it stays.
            same = {"address": rig.vendor.url.replace("http", "HTTP") + "/"}
            await act(service, session.id, ActionKind.DETAILS, values=same)
            await reach(service, session.id, lambda v: v.problem is not None)
            asked = len(rig.vendor.requests)
            await act(service, session.id, ActionKind.BACK)
            elsewhere = {"address": rig.vendor.url.replace("127.0.0.1", "127.0.0.2")}
            # A second try with the same address is no way round.
            for _ in range(2):
                view = await act(service, session.id, ActionKind.DETAILS, values=elsewhere)
                assert view.step == "details"
                assert view.form is not None
                (token,) = (field for field in view.form.fields if field.id == "token")
                assert token.mistake
                assert not token.filled
            assert len(rig.vendor.requests) == asked
            service._runner._tidied[session.id] = (0, 1)
            await until(lambda: rig.names() == [])

    asyncio.run(go())


def test_what_cannot_be_taken_away_for_now_can_be_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain", connection_id="acme-plain"))
            rig.vendor.known.add("acme-plain")
            rig.vendor.when_hooked = lambda hook: rig.event("acme/acme-plain/item/1")
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            await reach(service, session.id, lambda v: v.step == "connected")
            # The system does not answer.
            rig.vendor.instead["/hooks/hook-1"] = (503, {}, b"")
            assert "try again" in (await service.remove("acme-plain", "a test"))[0]
            rig.vendor.instead.clear()
            # Nor does the backend: what it takes to remove the webhook is there, and not at hand.
            with monkeypatch.context() as patch:
                patch.setattr(service._effects.calls, "_resolve", _away)
                assert "try again" in (await service.remove("acme-plain", "a test"))[0]
            assert rig.vendor.hooks
            assert rig.names()
            assert service._records.there("acme-plain")
            assert await service.remove("acme-plain", "a test") == ()
            assert (rig.vendor.hooks, rig.names()) == ({}, [])
            assert not service._records.there("acme-plain")

    asyncio.run(go())


def _away(ref: str) -> Secret:
    raise BackendAway("the backend does not answer")


def test_of_sessions_that_are_asked_for_at_once_one_tenants_counts(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as one, rig.running() as two:
            asked = [
                service.create(
                    msgspec.structs.replace(wanted("plain", connection_id="raced"), tenant=tenant)
                )
                for tenant in ("acme", "b", "c")
                for service in (one, two)
            ]
            made = await asyncio.gather(*asked, return_exceptions=True)
            refused = [found.code for found in made if isinstance(found, FlowRefused)]
            assert set(refused) == {"exists"}
            assert len(refused) >= 4
            await until(lambda: len(_open(one)) == len(_open(two)) == 1)
            assert _open(one) == _open(two)

    asyncio.run(go())


def _open(service: ConnectService) -> list[str]:
    return [one.id for one in service._store.all() if not one.flow.ended]
