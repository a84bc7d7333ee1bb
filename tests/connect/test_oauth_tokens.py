"""Tokens at a system on loopback: refreshed, got for the customer's own client, and ended with the
connection that they were for."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from credentials.secret import Secret
from producer.connect.calls import Unanswered
from producer.connect.oauth import OAuthApp, TokenClient, Tokens
from producer.connect.service import ActionKind
from producer.connect.system import System
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from tests.connect.rig import SECRET, Rig, act, reach, wanted
from tests.connect.systems import NAMED, OAUTH, TOKEN_FIELD, URL_FIELD, system
from tests.connect.vendor import Vendor
from tests.parts.kafka import KafkaBroker

CONSENT = system("consent", fields=NAMED, authorisation=OAUTH | {"revoke_url": "{address}/revoke"})
BASIC = system("consent", fields=NAMED, authorisation=OAUTH | {"client_auth": "basic"})
OWN = system(
    "own",
    fields=[URL_FIELD, {"id": "client", "label": "Client"}, TOKEN_FIELD],
    authorisation={
        "kind": "oauth2_client", "token_url": "{address}/token", "client_id": "{client}",
        "client_secret": "{token}", "scopes": ["read", "hooks"],
    },
)  # fmt: skip
OUR_SECRET, REFRESH = "our-client-secret", "refresh-0"

Ask = Callable[[TokenClient, dict[str, str]], Awaitable[Tokens]]


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor(SECRET) as running:
        yield running


def given(**more: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"access_token": SECRET, "token_type": "bearer"} | more).encode()


def asked(vendor: Vendor, ask: Ask) -> Tokens:
    async def resolve(ref: str) -> Secret:
        assert ref == "kept:client"
        return Secret(OUR_SECRET)

    async def go() -> Tokens:
        policy = OutgoingPolicy(allow_networks=("127.0.0.0/8",), https_only=False, timeout_s=5.0)
        app = OAuthApp(client_id="hookline-client", client_secret="kept:client")
        tokens = TokenClient(OutgoingClient(policy), {"consent": app}, resolve)
        return await ask(tokens, {"address": vendor.url})

    return asyncio.run(go())


def refreshed(one: System = CONSENT) -> Ask:
    return lambda tokens, values: tokens.refresh(one, values, Secret(REFRESH))


def form(vendor: Vendor, path: str = "/token") -> dict[str, str]:
    """What the last request to this path sent."""
    body = [sent for _, target, _, sent in vendor.requests if target == path][-1]
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def test_a_refresh_gives_new_tokens_and_when_they_end(vendor: Vendor) -> None:
    vendor.instead["/token"] = given(refresh_token="refresh-1", expires_in=3600, scope="read hooks")
    tokens = asked(vendor, refreshed())
    assert tokens.access.reveal() == SECRET
    assert tokens.refresh is not None
    assert tokens.refresh.reveal() == "refresh-1"
    assert (tokens.expires_in_s, tokens.scopes) == (3600, ("read", "hooks"))
    assert form(vendor) == {
        "grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": "hookline-client",
        "client_secret": OUR_SECRET,
    }  # fmt: skip
    assert SECRET not in repr(tokens)


def test_without_a_new_refresh_token_the_old_one_goes_on(vendor: Vendor) -> None:
    vendor.instead["/token"] = given()
    assert asked(vendor, refreshed()).refresh is None


def test_a_client_that_is_known_by_its_header_is_not_named_in_the_form(vendor: Vendor) -> None:
    vendor.instead["/token"] = given()
    asked(vendor, refreshed(BASIC))
    pair = base64.b64encode(f"hookline-client:{OUR_SECRET}".encode()).decode()
    assert vendor.requests[-1][2]["authorization"] == f"Basic {pair}"
    assert set(form(vendor)) == {"grant_type", "refresh_token"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((400, {}, b'{"error": "invalid_grant"}'), "credentials_refused"),
        ((401, {}, b""), "credentials_refused"),
        ((429, {"retry-after": "30"}, b""), "rate_limited"),
        ((503, {}, b"<html>"), "system_failing"),
        ((200, {}, b"<html>"), "not_the_system"),
        ((200, {}, b'{"access_token": ""}'), "not_the_system"),
        ((200, {}, b'{"access_token": 7}'), "not_the_system"),
        ((200, {}, b'{"error": "bad_verification_code"}'), "not_the_system"),
    ],
)
def test_a_refresh_that_is_refused_is_explained(
    vendor: Vendor, answer: tuple[int, dict[str, str], bytes], code: str
) -> None:
    vendor.instead["/token"] = answer
    with pytest.raises(Unanswered) as refused:
        asked(vendor, refreshed())
    assert refused.value.explanation.code == code
    assert REFRESH not in repr(refused.value.explanation)


@pytest.fixture
def rig(kafka: KafkaBroker, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(kafka, tmp_path, [CONSENT, OWN])
    with rig.vendor:
        yield rig


@pytest.mark.kafka
def test_the_customers_own_client_gets_a_token_for_each_step(rig: Rig) -> None:
    secret = "the-customers-client-secret"
    rig.vendor.instead["/token"] = given(expires_in=60)
    rig.vendor.known.add("acme-own")
    rig.vendor.when_hooked = lambda hook: rig.event("acme/acme-own/item/1")
    values = {"address": rig.vendor.url, "client": "customer 1", "token": secret}

    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("own", connection_id="acme-own"))
            rig.vendor.instead["/token"] = (401, {}, b'{"error": "invalid_client"}')
            await act(service, session.id, ActionKind.DETAILS, values=values)
            view = await reach(service, session.id, lambda v: v.problem is not None)
            assert view.problem is not None
            assert (view.problem.code, view.problem.field) == ("credentials_refused", "token")
            assert "/me" not in [target for _, target, _, _ in rig.vendor.requests]
            rig.vendor.instead["/token"] = given(expires_in=60)
            await act(service, session.id, ActionKind.RETRY)
            await reach(service, session.id, lambda v: v.step == "connected")
            pair = base64.b64encode(f"customer 1:{secret}".encode()).decode()
            for _, target, headers, body in rig.vendor.requests:
                proof = headers.get("authorization", "")
                if target == "/token":
                    assert proof == f"Basic {pair}"
                elif not target.startswith("/webhooks/"):
                    assert proof == f"Bearer {SECRET}"
                    assert secret.encode() not in body
            assert form(rig.vendor) == {"grant_type": "client_credentials", "scope": "read hooks"}
            # The token is kept nowhere; what it is got with is.
            access = service._records.access("acme-own")
            assert access is not None
            assert set(access.credentials) == {"token", "signing_secret"}

    asyncio.run(go())


@pytest.mark.kafka
@pytest.mark.parametrize("answer", [(200, {}, b""), (503, {}, b"<html>")])
def test_what_was_granted_ends_with_the_connection(
    rig: Rig, answer: tuple[int, dict[str, str], bytes]
) -> None:
    rig.vendor.codes["code-1"] = ""
    rig.vendor.known.add("acme-consent")
    rig.vendor.when_hooked = lambda hook: rig.event("acme/acme-consent/item/1")
    rig.vendor.instead["/revoke"] = answer

    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("consent", connection_id="acme-consent"))
            await act(service, session.id, ActionKind.DETAILS, values={"address": rig.vendor.url})
            view = await act(service, session.id, ActionKind.AUTHORISE)
            assert view.authorise is not None
            state = parse_qs(urlsplit(view.authorise.url or "").query)["state"][0]
            came = await service.came_back(state, "code-1", "")
            assert came.proof is not None
            proof = {"proof": came.proof.reveal()}
            await act(service, session.id, ActionKind.CONFIRM, values=proof)
            await reach(service, session.id, lambda v: v.step == "connected")
            assert await service.remove("acme-consent", "a test") == ()
            # The webhook was taken away while its token counted, the refresh token ended first.
            last = [(method, target) for method, target, _, _ in rig.vendor.requests][-3:]
            assert last == [("DELETE", "/hooks/hook-1"), ("POST", "/revoke"), ("POST", "/revoke")]
            ended = [
                parse_qs(body.decode())["token"][0]
                for _, target, _, body in rig.vendor.requests
                if target == "/revoke"
            ]
            assert ended == ["refresh-1", SECRET]
            # Whatever the system said to that: nothing of it is kept here.
            assert rig.names() == []
            assert not service._records.there("acme-consent")

    asyncio.run(go())
