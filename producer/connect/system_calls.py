"""Requests to a customer's system with the customer's credentials, and the secrets that it takes.

Secrets are read where they are used, and kept no longer than one effect.
"""

from __future__ import annotations

import asyncio
import base64
import secrets as randomness
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from credentials.secret import Secret
from credentials.writing import SecretWriter
from producer.connect.calls import Requests, Unanswered, prepare, send
from producer.connect.flow import failures
from producer.connect.flow.state import PASSING, FlowState
from producer.connect.oauth import OAuthApp, TokenClient
from producer.connect.session import Session
from producer.connect.system import Call, OAuthClient, OAuthCode, System
from producer.outgoing.answers import OutgoingAnswer, OutgoingFailure
from schemas.errors import HooklineError

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where our own ends are."""

    #: Public base URL of the gateway, without a slash at its end.
    gateway_url: str
    #: Where the gateway is asked whether it knows a connection.
    gateway_check_url: str
    #: Where a system sends the customer back to.
    redirect_uri: str
    #: How long the gateway may take to know a connection.
    gateway_wait_s: float = 15.0


class SystemCalls:
    """One for a process; on one event loop, with threads for what waits for a backend."""

    def __init__(
        self,
        *,
        requests: Requests,
        writer: SecretWriter | None,
        resolve: Callable[[str], Secret],
        apps: Mapping[str, OAuthApp],
        place: Place,
        threads: int = 8,
    ) -> None:
        """`requests` is what may reach the addresses that customers name; `apps` are our OAuth
        clients by system."""
        self.requests = requests
        self._writer = writer
        self._resolve = resolve
        self.place = place
        self.tokens = TokenClient(requests, apps, self.resolve)
        self._pool = ThreadPoolExecutor(threads, "hookline-connect")

    def close(self) -> None:
        """End; what runs in threads ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what waits for a backend."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def resolve(self, ref: str) -> Secret:
        """The secret behind a reference; SecretError."""
        return await self.in_thread(self._resolve, ref)

    def writer(self) -> SecretWriter:
        """Where secrets are written to; HooklineError if nothing is set up."""
        if self._writer is None:
            raise HooklineError("connect.secrets is not set up, so no secret can be kept")
        return self._writer

    async def write(self, session: Session, name: str, secret: Secret) -> str:
        """Keep one; its reference. SecretError."""
        return await self.in_thread(self.writer().write, f"{session.tenant}/{name}", secret)

    async def values(self, tenant: str, flow: FlowState, system: System) -> dict[str, str]:
        """All that templates may name, the secrets among it."""
        found = dict(flow.values)
        for name, ref in flow.secrets.items():
            if name not in PASSING:
                found[name] = (await self.resolve(ref)).reveal()
        own = system.webhook.secret
        if own.source == "field" and own.field in found:
            found["signing_secret"] = found[own.field]
        app = self.tokens.app(system)
        if own.source == "app" and app is not None and app.app_secret:
            found["signing_secret"] = (await self.resolve(app.app_secret)).reveal()
        return found | {
            "webhook_url": self.webhook_url(flow.connection_id),
            "connection": flow.connection_id,
        }

    def webhook_url(self, connection_id: str) -> str:
        """Where the system sends its webhooks."""
        return f"{self.place.gateway_url}/webhooks/{connection_id}"

    async def call(
        self, system: System, call: Call, values: Mapping[str, str], webhook_id: str = ""
    ) -> OutgoingAnswer:
        """A good answer; Unanswered with the explanation of any other."""
        token = await self.token(system, values)
        put = {**values, "webhook_id": webhook_id} if webhook_id else values
        try:
            answer = await send(self.requests, prepare(system, call, put, token))
        except OutgoingFailure as failure:
            raise Unanswered(failures.failure(failure.kind, failure.host, system)) from None
        if answer.status not in call.ok:
            meanings = system.webhook.registration.meanings
            raise Unanswered(
                failures.answer(system, meanings, answer.status, answer.headers, answer.body),
                answer,
            )
        return answer

    async def token(self, system: System, values: Mapping[str, str]) -> str:
        """OAuth's access token, where that is how it is asked; Unanswered."""
        if isinstance(system.authorisation, OAuthCode):
            return values.get("access_token", "")
        if isinstance(system.authorisation, OAuthClient):
            return (await self.tokens.client_credentials(system, values)).access.reveal()
        return ""


def signing_secret(form: str) -> Secret:
    """A new one, 256 random bits, as the system wants it."""
    material = randomness.token_bytes(32)
    if form == "hex":
        return Secret(material.hex())
    text = base64.b64encode(material).decode()
    if form == "whsec":
        return Secret(f"whsec_{text}")
    return Secret(text if form == "base64" else randomness.token_urlsafe(32))
