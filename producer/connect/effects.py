"""Carries out the flow's effects: each gives what came of it, and raises nothing of its own.

Secrets are read where they are used, and kept no longer than one effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, TypeVar

import msgspec

from credentials.secret import Secret
from producer.connect.answered import text_at
from producer.connect.arrivals import Arrivals, Mismatch
from producer.connect.calls import Requests, Unanswered, document
from producer.connect.clean_up import CleaningUp, written_by
from producer.connect.connection_records import ConnectionRecords
from producer.connect.flow import failures, words
from producer.connect.flow import inputs as i
from producer.connect.flow.progress import checks_of
from producer.connect.flow.state import PASSING, UNHEARD, Check, FlowState
from producer.connect.live_checks import run_checks
from producer.connect.oauth import Tokens, consent
from producer.connect.session import Session
from producer.connect.system import OAuthCode, System
from producer.connect.system_calls import SystemCalls, signing_secret
from producer.connect.templates import fill_all
from producer.outgoing.answers import OutgoingFailure
from schemas.connection import Connection, SecretReference
from schemas.connection_access import ConnectionAccess
from schemas.errors import HooklineError, SecretError

log = logging.getLogger("hookline.connect")

T = TypeVar("T")
_ALIVE_S: Final = 20.0
_AGAIN_S: Final = 1.0
_GATEWAY_WAIT_S: Final = 0.3


class Cargo(msgspec.Struct, kw_only=True):
    """Secrets on their way to an effect in this process, kept nowhere; and what it gives back."""

    secrets: Mapping[str, Secret] = {}
    code: Secret | None = None
    #: The address for the customer's consent, of BeginConsent.
    url: str = ""


class Effects:
    """One for a process."""

    def __init__(
        self,
        *,
        gateway: Requests,
        calls: SystemCalls,
        records: ConnectionRecords,
        arrivals: Arrivals,
        now_us: Callable[[], int],
    ) -> None:
        """`gateway` may reach our own gateway, wherever it is."""
        self._gateway = gateway
        self.calls = calls
        self._tokens = calls.tokens
        self._records = records
        self._arrivals = arrivals
        self._place = calls.place
        self._now_us = now_us
        self.cleaning = CleaningUp(calls, records)

    def close(self) -> None:
        """End; what runs in threads ends by itself."""
        self.calls.close()
        self._arrivals.close()

    async def carry_out(
        self, session: Session, system: System | None, effect: i.Effect, cargo: Cargo
    ) -> AsyncIterator[i.Outcome]:
        """What came of it, as it comes."""
        if isinstance(effect, i.CleanUp):
            yield await self.cleaning.carry_out(session, system, effect)
            return
        if system is None:
            yield i.Failed(explanation=words.system_gone(session.flow.system))
            return
        try:
            async for outcome in self._outcomes(session, system, effect, cargo):
                yield outcome
        except Unanswered as unanswered:
            yield i.Failed(explanation=unanswered.explanation)
        except OutgoingFailure as failure:
            yield i.Failed(explanation=failures.failure(failure.kind, failure.host, system))
        except SecretError as error:
            self._say(session, effect, error)
            yield i.Failed(explanation=words.not_kept())
        except HooklineError as error:
            self._say(session, effect, error)
            yield i.Failed(explanation=words.ours_failing())

    def _say(self, session: Session, effect: i.Effect, error: Exception) -> None:
        data = {
            "session": session.id,
            "connection": session.flow.connection_id,
            "system": session.flow.system,
            "effect": type(effect).__name__,
            "why": str(error),
        }
        log.warning("a step of a connect session failed on our side", extra={"data": data})

    async def _outcomes(
        self, session: Session, system: System, effect: i.Effect, cargo: Cargo
    ) -> AsyncIterator[i.Outcome]:
        flow = session.flow
        if isinstance(effect, i.StoreSecrets):
            yield await self._store(session, effect.names, cargo.secrets)
        elif isinstance(effect, i.BeginConsent):
            yield await self._begin(session, system, effect, cargo)
        elif isinstance(effect, i.KeepCode):
            code = {"oauth_code": cargo.code} if cargo.code is not None else {}
            yield await self._store(session, effect.names, code)
        elif isinstance(effect, i.ExchangeCode):
            yield await self._exchange(session, system, effect)
        elif isinstance(effect, i.RunChecks):
            values = await self.calls.values(session.tenant, flow, system)
            async for outcome in run_checks(self.calls, system, flow, values, self._now_s):
                yield outcome
        elif isinstance(effect, i.MakeSecret):
            made = {"signing_secret": signing_secret(system.webhook.secret.format)}
            yield await self._store(session, effect.names, made)
        elif isinstance(effect, i.WriteConnection):
            yield await self._write(session, system, effect)
        elif isinstance(effect, i.AskGateway):
            yield await self._ask_gateway(flow)
        elif isinstance(effect, i.RegisterWebhook):
            yield await self._register(session, system, effect)
        elif isinstance(effect, i.AskForTest):
            values = await self.calls.values(session.tenant, flow, system)
            call = system.webhook.test.call
            if call is not None:
                one = flow.webhook_id.partition("\n")[0]
                await self.calls.call(system, call, values, one)
            yield i.Sent()
        elif isinstance(effect, i.AwaitEvent):
            async for outcome in self._await(session, effect):
                yield outcome

    # Secrets.

    async def _store(
        self, session: Session, names: Mapping[str, str], values: Mapping[str, Secret]
    ) -> i.Outcome:
        refs: dict[str, str] = {}
        try:
            for field, name in names.items():
                if field in values:
                    refs[field] = await self.calls.write(session, name, values[field])
        except HooklineError as error:
            data = {"session": session.id, "why": str(error)}
            log.warning("a secret was not kept", extra={"data": data})
            return i.Failed(explanation=words.not_kept(), refs=refs)
        if set(refs) != set(names):
            # Taken over from a process that died: what it had was in its memory alone.
            return i.Failed(explanation=words.INTERRUPTED, refs=refs)
        return i.Stored(refs=refs, names=tuple(names.values()))

    # OAuth.

    async def _begin(
        self, session: Session, system: System, effect: i.BeginConsent, cargo: Cargo
    ) -> i.Outcome:
        app = self._tokens.app(system)
        if app is None:
            return i.Failed(explanation=words.not_set_up(system.name))
        made = consent(system, app, session.flow.values, self._place.redirect_uri)
        stored = await self._store(session, effect.names, {"oauth_verifier": made.verifier})
        if not isinstance(stored, i.Stored):
            return stored
        cargo.url = made.url
        return msgspec.structs.replace(stored, state_digest=made.state_digest)

    async def _exchange(
        self, session: Session, system: System, effect: i.ExchangeCode
    ) -> i.Outcome:
        how = system.authorisation
        kept = session.flow.secrets.get("oauth_code")
        if kept is None or not isinstance(how, OAuthCode):
            return i.Failed(explanation=words.consent_interrupted(system.name))
        code = await self.calls.resolve(kept)
        ref = session.flow.secrets.get("oauth_verifier")
        verifier = await self.calls.resolve(ref) if ref and how.pkce else None
        tokens = await self._tokens.exchange(
            system, session.flow.values, code, verifier, self._place.redirect_uri
        )
        held = {"access_token": tokens.access}
        if tokens.refresh is not None:
            held["refresh_token"] = tokens.refresh
        names = {field: name for field, name in effect.names.items() if field in held}
        stored = await self._store(session, names, held)
        if not isinstance(stored, i.Stored):
            return stored
        return msgspec.structs.replace(
            stored,
            names=tuple(effect.names.values()),
            scopes=tokens.scopes,
            kept=_expiry(tokens, self._now_us()),
        )

    # The checks.

    async def try_out(self, access: ConnectionAccess, tenant: str, system: System) -> list[Check]:
        """The checks of a connection that was made before, run now."""
        flow = FlowState(
            system=system.id, values=access.values, secrets=access.credentials,
            connection_id=access.connection, checks=checks_of(system),
        )  # fmt: skip
        done = {check.id: check for check in flow.checks}
        values = await self.calls.values(tenant, flow, system)
        async for outcome in run_checks(self.calls, system, flow, values, self._now_s):
            if isinstance(outcome, i.Checked):
                done[outcome.check.id] = outcome.check
        return list(done.values())

    def _now_s(self) -> float:
        return self._now_us() / 1e6

    # The connection.

    async def served(self, connection_id: str) -> bool:
        """Whether the gateway knows it, within the time that it may take."""
        asked = await self._ask_gateway(FlowState(connection_id=connection_id))
        return isinstance(asked, i.Served)

    async def _write(
        self, session: Session, system: System, effect: i.WriteConnection
    ) -> i.Outcome:
        flow, own = session.flow, system.webhook.secret
        ref = flow.secrets.get(own.field or "" if own.source == "field" else "signing_secret", "")
        if own.source == "app":
            app = self._tokens.app(system)
            ref = app.app_secret if app is not None else ""
        if not ref:
            return i.Failed(explanation=words.not_set_up(system.name))
        now_us = self._now_us()
        options = fill_all(system.webhook.options, flow.values)
        connection = Connection(
            id=flow.connection_id,
            tenant=session.tenant,
            provider=system.webhook.provider,
            environment=session.environment,
            secrets=(SecretReference(name="connect", ref=ref),),
            options=options,
        )
        access = ConnectionAccess(
            connection=flow.connection_id,
            environment=session.environment,
            system=system.id,
            values=dict(flow.values),
            credentials={k: ref for k, ref in flow.secrets.items() if k not in PASSING},
            webhook_id=effect.webhook_id,
            account=flow.account,
            label=session.label,
            changed_at_us=now_us,
            changed_by=written_by(session),
        )
        if not await self._records.put(connection, access):
            return i.Failed(explanation=words.taken())
        return i.Written(webhook_id=effect.webhook_id)

    async def _ask_gateway(self, flow: FlowState) -> i.Outcome:
        url = f"{self._place.gateway_check_url}/webhooks/{flow.connection_id}"
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._place.gateway_wait_s
        known = 0
        while loop.time() < until_s:
            try:
                # Without a signature: refused by a gateway that knows the connection, 404 else.
                answer = await self._gateway.request("POST", url, content=b"", timeout_s=5.0)
                known = known + 1 if answer.status not in (404, 502, 503, 504) else 0
            except OutgoingFailure:
                known = 0
            # Several may stand behind the address.
            if known >= 2:
                return i.Served()
            await asyncio.sleep(0 if known else _GATEWAY_WAIT_S)
        return i.Failed(explanation=words.gateway_silent())

    async def _register(
        self, session: Session, system: System, effect: i.RegisterWebhook
    ) -> i.Outcome:
        registration, own = system.webhook.registration, system.webhook.secret
        if registration.call is None:
            return i.Failed(explanation=words.not_set_up(system.name))
        values = await self.calls.values(session.tenant, session.flow, system)
        flow = session.flow
        if UNHEARD in flow.stray_webhooks and not await self.cleaning.webhooks(
            session.tenant, flow, system, [UNHEARD]
        ):
            # It may still be there, and another one beside it would send all twice.
            return i.Failed(explanation=words.register_interrupted(system.name), unheard=True)
        try:
            answer = await self.calls.call(system, registration.call, values)
        except Unanswered as unanswered:
            return i.Failed(explanation=unanswered.explanation, unheard=not unanswered.refused)
        answered = document(answer)
        ids = registration.ids(answered)
        webhook_id = "\n".join(ids) or ("-" if registration.remove is not None else "")
        if registration.id is not None and not ids:
            told = failures.answer(
                system, registration.meanings, answer.status, answer.headers, answer.body
            )
            return i.Failed(explanation=told, unheard=answer.status < 300)
        names = tuple(effect.names.values())
        if own.source != "answer":
            return i.Registered(webhook_id=webhook_id, names=names)
        try:
            if own.call is not None:
                answered = document(
                    await self.calls.call(system, own.call, values, ids[0] if ids else "")
                )
            text = text_at(answered, own.pointer or "/secret")
            if not text:
                return i.Failed(
                    explanation=words.no_signing_secret(system.name), webhook_id=webhook_id
                )
            stored = await self._store(session, effect.names, {"signing_secret": Secret(text)})
        except Unanswered as unanswered:
            return i.Failed(explanation=unanswered.explanation, webhook_id=webhook_id)
        if isinstance(stored, i.Failed):
            return msgspec.structs.replace(stored, webhook_id=webhook_id)
        assert isinstance(stored, i.Stored)
        return i.Registered(webhook_id=webhook_id, refs=stored.refs, names=names)

    async def _await(self, session: Session, effect: i.AwaitEvent) -> AsyncIterator[i.Outcome]:
        flow = session.flow
        refused_since_us: int | None = effect.refused_since_us
        while (left_s := (effect.until_us - self._now_us()) / 1e6) > 0:
            # One wait for the whole time: each new one is a look back over the topic.
            waiting = asyncio.create_task(
                self._arrivals.wait(
                    session.tenant, flow.connection_id, effect.since_us, left_s, refused_since_us
                )
            )
            try:
                while not (await asyncio.wait({waiting}, timeout=_ALIVE_S))[0]:
                    yield i.Alive()
                found = await waiting
            finally:
                waiting.cancel()
            if isinstance(found, Mismatch):
                yield i.Mismatched(received_at_us=found.received_at_us)
                # Told once for this wait, however often the system tries.
                refused_since_us = None
            elif found is not None:
                yield i.Arrived(request_id=found.request_id, at=found.at)
                return
            else:
                # Too many wait, or we are stopping: not asked again at once.
                await asyncio.sleep(min(left_s, _AGAIN_S))
                yield i.Alive()
        yield i.NotArrived()


def _expiry(tokens: Tokens, now_us: int) -> dict[str, str]:
    if tokens.expires_in_s is None:
        return {}
    return {"access_token_expires_at": str(now_us // 1_000_000 + tokens.expires_in_s)}
