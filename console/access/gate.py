"""From a request to its visitor: cookies, bearer tokens, origins, sign-in; as ASGI middleware."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access.client_address import client_address
from console.access.guard import SAFE, says_who_may
from console.access.security_headers import with_security
from console.access.sessions import Session, Sessions, Visitor
from console.access.throttle import Throttle, address_key
from credentials.api_token import public_part
from credentials.audit_log import AuditLog
from credentials.token_check import Admission, Tokens, admit, again
from schemas.errors import AccessError, ConfigurationError, TokenRefused, TokensUnknown

log = logging.getLogger("hookline.access")

_COOKIE: Final = "hookline-session"
_MAX_TOKEN_CHARS: Final = 512


class GateRules(msgspec.Struct, frozen=True, kw_only=True):
    """`public_url`: where browsers see the console, if a proxy stands before it; then `https` there
    makes the cookie Secure, and only forms from there may change something. `proxies`: the networks
    of those whose X-Forwarded-For is believed."""

    public_url: str = ""
    proxies: tuple[str, ...] = ()
    max_sessions: int = 1_000
    idle_s: float = 12 * 3600.0
    max_age_s: float = 7 * 86_400.0
    #: How often a long answer is looked at for whether its token counts still.
    watch_s: float = 0.5


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt to sign in went. `session_id` is for the cookie alone."""

    status: int = 200
    message: str = ""
    headers: dict[str, str] = {}
    session: Session | None = None
    session_id: str = ""
    admission: Admission | None = None
    secure: bool = False

    def __repr__(self) -> str:
        return f"SignIn(status={self.status}, message={self.message!r})"


def _unused(token_id: str) -> None:
    """Nobody wants to know when a token is used."""


class Gate:
    """Lets in who has an API token. Used on one event loop; `tokens` may change meanwhile."""

    def __init__(
        self,
        tokens: Tokens,
        rules: GateRules | None = None,
        *,
        audit: AuditLog | None = None,
        used: Callable[[str], None] = _unused,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `audit` nothing can be changed. `used` is told each time that a token is; it must
        not block."""
        self.tokens = tokens
        self.rules = rules or GateRules()
        self.sessions = Sessions(
            max_sessions=self.rules.max_sessions,
            idle_s=self.rules.idle_s,
            max_age_s=self.rules.max_age_s,
        )
        self.throttle = Throttle()
        self.audit = audit
        self._used = used
        self._now_us = now_us
        self._clock_s = clock_s

    def check_routes(self, routes: Sequence[BaseRoute], public_mounts: Iterable[str] = ()) -> None:
        """ConfigurationError if a route neither is guarded nor says that it is public."""
        open_mounts = set(public_mounts)
        for route in routes:
            if isinstance(route, Mount):
                if route.path in open_mounts:
                    continue
                if route.routes:
                    self.check_routes(route.routes)
                    continue
            elif isinstance(route, Route) and says_who_may(route.endpoint):
                continue
            path = getattr(route, "path", route)
            raise ConfigurationError(
                f"route {path} of the console does not say who may use it: decorate its endpoint "
                "with @guarded(scope) or @public"
            )

    def sign_in(self, request: Request, presented: object) -> SignIn:
        """Begin a session for who presents a token that counts."""
        text = presented.strip() if isinstance(presented, str) else ""
        found = self._admit(request, text)
        if isinstance(found, SignIn):
            return found
        old = request.cookies.get(self._cookie(request))
        if old:
            self.sessions.end(old)
        session_id, session = self.sessions.begin(found.token_id, self._clock_s())
        log.info("signed in to the console", extra={"data": {"token_id": found.token_id}})
        return SignIn(
            session=session,
            session_id=session_id,
            admission=found,
            secure=self.https(request),
        )

    def signed_in(self, response: Response, found: SignIn) -> Response:
        """The response with the session's cookie."""
        response.set_cookie(
            _name(found.secure),
            found.session_id,
            path="/",
            secure=found.secure,
            httponly=True,
            samesite="strict",
        )
        return response

    def sign_out(self, request: Request, response: Response) -> Response:
        """End the session, here and in the browser."""
        name = self._cookie(request)
        self.sessions.end(request.cookies.get(name, ""))
        response.delete_cookie(
            name, path="/", secure=self.https(request), httponly=True, samesite="strict"
        )
        return response

    def https(self, connection: HTTPConnection) -> bool:
        """Whether browsers reach the console by HTTPS."""
        if self.rules.public_url:
            return self.rules.public_url.startswith("https:")
        return connection.url.scheme == "https"

    def visitor(self, connection: HTTPConnection) -> Visitor | SignIn | None:
        """Who sends this; why not, if a token was sent along; None if nobody says who it is."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        from_where = client_address(connection, self.rules.proxies)
        if scheme.lower() == "bearer":
            found = self._admit(connection, token.strip())
            if isinstance(found, SignIn):
                return found
            return Visitor(admission=found, from_where=from_where)
        session_id = connection.cookies.get(self._cookie(connection), "")
        session = self.sessions.find(session_id, self._clock_s()) if session_id else None
        if session is None:
            return None
        try:
            admission = again(self.tokens, session.token_id, self._now_us())
        except TokenRefused as refused:
            self.sessions.end_of(session.token_id)
            return SignIn(status=401, message=str(refused))
        self._used(admission.token_id)
        return Visitor(admission=admission, csrf=session.csrf, from_where=from_where)

    def counts(self, visitor: Visitor) -> bool:
        """Whether a visitor's token counts still."""
        try:
            again(self.tokens, visitor.admission.token_id, self._now_us())
        except AccessError:
            return False
        return True

    def own_origin(self, connection: HTTPConnection) -> bool:
        """Whether a browser says that this comes from a page of ours; also if it says nothing."""
        headers = connection.headers
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        if self.rules.public_url:
            return _origin(origin) == _origin(self.rules.public_url)
        # Without a public URL the scheme is not ours to know: TLS may end at a proxy.
        there = urlsplit(origin)
        return bool(there.netloc) and there.netloc.lower() == headers.get("host", "").lower()

    def _admit(self, connection: HTTPConnection, text: str) -> Admission | SignIn:
        host = client_address(connection, self.rules.proxies)
        text = text if len(text) <= _MAX_TOKEN_CHARS else ""
        keys = (address_key(host), public_part(text))
        now_s = self._clock_s()
        wait_s = self.throttle.wait_s(keys, now_s)
        if wait_s > 0:
            seconds = int(wait_s) + 1
            return SignIn(
                status=429,
                message=f"too many attempts failed: try again in {seconds} s",
                headers={"retry-after": str(seconds)},
            )
        try:
            admission = admit(self.tokens, text, self._now_us())
        except TokensUnknown as unknown:
            return SignIn(status=503, message=str(unknown), headers={"retry-after": "5"})
        except TokenRefused as refused:
            self.throttle.failed(keys, now_s)
            log.warning(
                "an API token was refused",
                extra={"data": {"reason": refused.reason, "from": host, "token": keys[1]}},
            )
            return SignIn(status=401, message=str(refused))
        self.throttle.succeeded(keys[1])
        self._used(admission.token_id)
        return admission

    def _cookie(self, connection: HTTPConnection) -> str:
        return _name(self.https(connection))


class AccessMiddleware:
    """Puts the visitor on `request.state`, refuses forms of others, adds the security headers."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "websocket":
            # The console has none, and none of what is checked here would hold for one.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gate, connection = self._gate, HTTPConnection(scope)
        https = gate.https(connection)
        watched: asyncio.Task[None] | None = None
        visitor: Visitor | None = None
        task = asyncio.current_task()

        async def secured(message: Message) -> None:
            nonlocal watched
            if message["type"] == "http.response.start":
                message["headers"] = with_security(list(message.get("headers", ())), https=https)
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if visitor is not None and kind.startswith("text/event-stream"):
                    watched = asyncio.create_task(self._watch(visitor, task))
            await send(message)

        if scope["method"] not in SAFE and not gate.own_origin(connection):
            answer = JSONResponse(
                {"error": "foreign_origin", "detail": "this form is not ours"}, 403
            )
            await answer(scope, receive, secured)
            return
        state = scope.setdefault("state", {})
        found = gate.visitor(connection)
        visitor = found if isinstance(found, Visitor) else None
        state.update(visitor=visitor, gate=gate)
        if isinstance(found, SignIn):
            state.update(refused=found.message, refused_status=found.status)
        try:
            await self._app(scope, receive, secured)
        except asyncio.CancelledError:
            if watched is None or not watched.done() or task is None:
                raise
            task.uncancel()
            with suppress(Exception):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if watched is not None:
                watched.cancel()

    async def _watch(self, visitor: Visitor, task: asyncio.Task[Any] | None) -> None:
        """Cut a long answer off once its token counts no more."""
        while self._gate.counts(visitor):  # noqa: ASYNC110 - an expiry is no event
            await asyncio.sleep(self._gate.rules.watch_s)
        if task is not None:
            task.cancel()


def _name(secure: bool) -> str:
    # A browser takes the prefix only of this host, over HTTPS, for all paths: nobody beside can
    # set it.
    return f"__Host-{_COOKIE}" if secure else _COOKIE


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url.lower())
        return (
            parts.scheme,
            parts.hostname,
            parts.port or {"https": 443, "http": 80}.get(parts.scheme),
        )
    except ValueError:
        return "", None, None
