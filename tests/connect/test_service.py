"""The connect service: real Kafka, a real sealed file, a vendor on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from producer.connect.service import Action, ActionKind, FlowRefused, SessionRefused
from producer.connect.view import View
from tests.connect.rig import SECRET, Rig, act, reach, until, wanted
from tests.connect.systems import kinds, system
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
SYSTEMS = [*kinds(), system("optional", testing={"optional": True, "wait_s": 5})]


@pytest.fixture
def rig(kafka: KafkaBroker, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(kafka, tmp_path, SYSTEMS)
    with rig.vendor:
        yield rig


def details(rig: Rig, token: str = SECRET) -> dict[str, str]:
    return {"address": rig.vendor.url, "token": token}


def test_a_system_is_connected_by_api_and_its_test_event_is_seen(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            token, session = await service.create(wanted("plain", connection_id="acme-plain"))
            assert token.reveal().startswith(f"hc_test_{session.id}")
            assert (await service.admit(token.reveal())).id == session.id
            rig.vendor.known.add("acme-plain")
            rig.vendor.when_hooked = lambda hook: rig.event("acme/acme-plain/item/1", "cd" * 16)
            seen: list[View] = []

            async def watch() -> None:
                async for view in service.changes(session.id):
                    seen.append(view)

            watching = asyncio.create_task(watch())
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            last = await reach(service, session.id, lambda v: v.step == "connected")
            await asyncio.wait_for(watching, 20)
            assert last.arrived is not None
            assert last.arrived.request_id == "cd" * 16
            assert last.arrived.at.startswith(f"{rig.events}/")
            assert last.account == "octocat"
            assert {"validate", "register", "test", "connected"} <= {v.step for v in seen}
            running = {c.id for v in seen for c in v.checks if c.state == "running"}
            assert {"address", "register", "gateway", "arrived"} <= running
            assert SECRET.encode() not in msgspec.json.encode(seen)
            (hook,) = rig.vendor.hooks.values()
            assert hook["url"] == "https://hooks.example/webhooks/acme-plain"
            access = service._records.access("acme-plain")
            assert access is not None
            assert access.webhook_id == "hook-1"
            assert set(access.credentials) == {"token", "signing_secret"}
            record = service._records.record("acme-plain")
            assert record is not None
            (secret,) = record.connection.secrets
            assert rig.resolver.resolve(secret.ref).reveal() == hook["secret"]
            assert all(check.state == "passed" for check in await service.check("acme-plain"))
            # The next one of this name is refused; taken away, nothing is left.
            with pytest.raises(FlowRefused, match="there already"):
                await service.create(wanted("plain", connection_id="acme-plain"))
            assert await service.remove("acme-plain", "a test") == ()
            assert rig.vendor.hooks == {}
            assert rig.names() == []
            assert not service._records.there("acme-plain")

    asyncio.run(go())


def test_a_wrong_token_is_explained_and_after_cancelling_nothing_is_left(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            token, session = await service.create(wanted("plain"))
            await act(service, session.id, ActionKind.DETAILS, values=details(rig, "wrong-token"))
            view = await reach(service, session.id, lambda v: v.problem is not None)
            assert view.problem is not None
            assert (view.problem.code, view.problem.field) == ("credentials_refused", "token")
            states = {check.id: check.state for check in view.checks}
            assert (states["reach"], states["credentials"]) == ("passed", "failed")
            assert {"back", "cancel", "retry"} == set(view.actions)
            assert len(rig.names()) == 1
            # Whoever leaves means all of it, whatever came since he looked.
            await service.act(session.id, Action(kind=ActionKind.CANCEL, revision=0))
            await until(lambda: rig.names() == [])
            with pytest.raises(SessionRefused) as refused:
                await service.admit(token.reveal())
            assert refused.value.reason == "ended"

    asyncio.run(go())


def test_consent_is_asked_with_pkce_and_its_answer_counts_once(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("consent", connection_id="acme-consent"))
            await act(service, session.id, ActionKind.DETAILS, values={"address": rig.vendor.url})
            view = await act(service, session.id, ActionKind.AUTHORISE)
            assert view.authorise is not None
            assert view.authorise.url is not None
            query = {k: v[0] for k, v in parse_qs(urlsplit(view.authorise.url).query).items()}
            assert query["code_challenge_method"] == "S256"
            assert query["redirect_uri"] == "https://console.example/connect/callback"
            assert (await service.view(session.id)).authorise != view.authorise
            forged = await service.came_back("forged", "code-1", "")
            assert (forged.ok, forged.code) == (False, "state_unknown")
            denied = await service.came_back(query["state"], "", "access_denied")
            assert (denied.ok, denied.code) == (False, "consent_denied")
            view = await act(service, session.id, ActionKind.AUTHORISE)
            assert view.authorise is not None
            query = {k: v[0] for k, v in parse_qs(urlsplit(view.authorise.url or "").query).items()}
            rig.vendor.codes["code-1"] = ""
            rig.vendor.known.add("acme-consent")
            came = await service.came_back(query["state"], "code-1", "")
            assert came.ok
            assert came.proof is not None
            again = await service.came_back(query["state"], "code-1", "")
            assert again.code == "state_unknown"
            await act(
                service, session.id, ActionKind.CONFIRM, values={"proof": came.proof.reveal()}
            )
            await reach(service, session.id, lambda v: v.step == "test")
            rig.event("acme/acme-consent/item/1")
            await reach(service, session.id, lambda v: v.step == "connected")
            access = service._records.access("acme-consent")
            assert access is not None
            assert set(access.credentials) == {"access_token", "refresh_token", "signing_secret"}
            await until(lambda: len(rig.names()) == 3)

    asyncio.run(go())


def test_by_hand_the_secret_is_shown_to_be_pasted_and_the_gateway_knows_before(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("hand", connection_id="acme-hand"))
            with pytest.raises(FlowRefused):
                await service.reveal(session.id)
            rig.vendor.known.add("acme-hand")
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            view = await reach(service, session.id, lambda v: "register" in v.actions)
            assert view.webhook is not None
            assert view.webhook.has_secret
            secret = (await service.reveal(session.id)).reveal()
            assert secret.startswith("whsec_")
            assert secret.encode() not in msgspec.json.encode(view)
            await act(service, session.id, ActionKind.REGISTER)
            await reach(service, session.id, lambda v: v.step == "test")
            rig.event("acme/acme-hand/item/1")
            await reach(service, session.id, lambda v: v.step == "connected")

    asyncio.run(go())


def test_two_tabs_and_two_replicas_give_one_result(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as one, rig.running() as other:
            _, session = await one.create(wanted("plain"))
            await until(lambda: other._store.get(session.id) is not None)
            view = await one.view(session.id)
            action = Action(
                kind=ActionKind.DETAILS, revision=view.revision, values=details(rig, "wrong-token")
            )
            found = await asyncio.gather(
                *(service.act(session.id, action) for service in (one, other, one, other)),
                return_exceptions=True,
            )
            assert sum(isinstance(each, View) for each in found) == 1, found
            refused = [each for each in found if isinstance(each, FlowRefused)]
            assert {each.code for each in refused} == {"stale"}
            assert all(each.view is not None for each in refused)
            for service in (one, other):
                view = await reach(service, session.id, lambda v: v.problem is not None)
            # Asked once, kept once.
            assert [r[1] for r in rig.vendor.requests] == ["/me"]
            assert len(rig.names()) == 1

    asyncio.run(go())


def test_a_session_that_expires_takes_all_with_it(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            token, session = await service.create(wanted("plain", connection_id="acme-plain"))
            rig.vendor.known.add("acme-plain")
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            await reach(service, session.id, lambda v: v.step == "test")
            assert rig.vendor.hooks
            assert service._records.there("acme-plain")
            rig.ahead_us = 31 * 60_000_000
            with pytest.raises(SessionRefused) as refused:
                await service.admit(token.reveal())
            assert refused.value.reason == "expired"
            await until(lambda: not rig.vendor.hooks and rig.names() == [])
            await until(lambda: not service._records.there("acme-plain"))

    asyncio.run(go())


def test_what_nobody_carries_out_any_more_is_taken_over(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain", connection_id="acme-plain"))
            rig.vendor.known.add("acme-plain")
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            await reach(service, session.id, lambda v: v.step == "test" and v.busy == "waiting")
        # That process has ended; the event comes while nobody looks.
        rig.event("acme/acme-plain/item/1")
        rig.ahead_us = 20_000_000
        async with rig.running() as other:
            assert (await other.view(session.id)).busy == "waiting"
            rig.ahead_us = 90_000_000
            await reach(other, session.id, lambda v: v.step in ("connected", "test") and not v.busy)
            view = await other.view(session.id)
            if view.step == "test":
                await act(other, session.id, ActionKind.RETRY)
            await reach(other, session.id, lambda v: v.step == "connected")

    asyncio.run(go())


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"connection_id": "No Slug"}, "invalid"),
        ({"origin": "javascript:alert(1)"}, "invalid"),
        ({"label": "two\nlines"}, "invalid"),
        ({"systems": ("none-such",)}, "unknown_system"),
        ({"system": "none-such"}, "unknown_system"),
    ],
)
def test_a_session_that_cannot_be_is_refused(rig: Rig, more: dict[str, str], code: str) -> None:
    async def go() -> None:
        async with rig.running() as service:
            with pytest.raises(FlowRefused) as refused:
                await service.create(wanted(**more))
            assert refused.value.code == code

    asyncio.run(go())


def test_a_session_is_not_for_another_tenants_connection_and_the_newer_one_counts(
    rig: Rig,
) -> None:
    async def go() -> None:
        async with rig.running() as service:
            first, session = await service.create(wanted("plain", connection_id="shared"))
            foreign = msgspec.structs.replace(wanted("plain", connection_id="shared"), tenant="b")
            with pytest.raises(FlowRefused) as refused:
                await service.create(foreign)
            assert refused.value.code == "exists"
            await act(service, session.id, ActionKind.DETAILS, values=details(rig, "wrong-token"))
            second, _ = await service.create(wanted("plain", connection_id="shared"))
            with pytest.raises(SessionRefused):
                await service.admit(first.reveal())
            await service.admit(second.reveal())
            await until(lambda: rig.names() == [])
            for text in (second.reveal()[:-1] + "x", "hc_test_x", "", second.reveal() + "0"):
                with pytest.raises(SessionRefused) as unknown:
                    await service.admit(text)
                assert unknown.value.reason == "unknown"

    asyncio.run(go())


def test_what_the_system_does_not_let_us_take_away_is_tried_again(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain", connection_id="acme-plain"))
            rig.vendor.known.add("acme-plain")
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            await reach(service, session.id, lambda v: v.step == "test")
            rig.vendor.instead["/hooks/hook-1"] = (503, {}, b"")
            await act(service, session.id, ActionKind.CANCEL)
            # The connection takes nothing any more; what it takes to remove the webhook is kept.
            await until(lambda: not service._records.there("acme-plain"))
            await until(lambda: not service._store.get(session.id).flow.running)  # type: ignore[union-attr]
            assert rig.vendor.hooks
            assert rig.names()
            rig.vendor.instead.clear()
            # Due now, not in half a minute.
            service._runner._tidied[session.id] = (0, 1)
            await until(lambda: not rig.vendor.hooks and rig.names() == [])

    asyncio.run(go())


@pytest.mark.parametrize(
    ("path", "status", "code", "step"),
    [
        ("/me", 404, "not_found", "validate"),
        ("/me", 429, "rate_limited", "validate"),
        ("/hooks", 403, "permission_missing", "register"),
        ("/hooks", 500, "system_failing", "register"),
    ],
)
def test_each_refusal_is_explained_where_it_happens_and_retry_goes_on(
    rig: Rig, path: str, status: int, code: str, step: str
) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain", connection_id="acme-plain"))
            rig.vendor.known.add("acme-plain")
            rig.vendor.instead[path] = (status, {}, b"<script>alert(1)</script>")
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            view = await reach(service, session.id, lambda v: v.problem is not None)
            assert view.problem is not None
            assert (view.problem.code, view.step) == (code, step)
            assert b"<script>" not in msgspec.json.encode(view)
            rig.vendor.instead.clear()
            await act(service, session.id, ActionKind.RETRY)
            await reach(service, session.id, lambda v: v.step == "test")
            view = await act(service, session.id, ActionKind.BACK)
            assert view.step == "details"
            view = await reach(service, session.id, lambda v: not v.busy)
            assert rig.vendor.hooks == {}
            assert not service._records.there("acme-plain")
            assert {name.split(".")[1] for name in rig.names()} == {"token"}
            assert view.form is not None
            (token,) = [field for field in view.form.fields if field.secret]
            assert (token.value, token.filled) == ("", True)

    asyncio.run(go())


def test_a_gateway_that_does_not_know_the_connection_is_told(rig: Rig) -> None:
    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain", connection_id="acme-plain"))
            await act(service, session.id, ActionKind.DETAILS, values=details(rig))
            view = await reach(service, session.id, lambda v: v.problem is not None)
            assert view.problem is not None
            assert view.problem.code == "gateway_silent"
            assert not rig.vendor.hooks

    asyncio.run(go())
