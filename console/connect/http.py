"""The endpoints under /connect, and the door to them: origins, sessions, rates, headers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access.client_address import client_address
from console.access.gate import Gate
from console.access.rates import Buckets, Rate
from console.access.security_headers import with_security
from console.access.throttle import Throttle, address_key
from console.connect import asking, problems
from console.connect.listening import Listeners
from console.connect.origins import Origins
from console.connect.problems import Refused
from console.rendering import Pages, load_assets
from producer.connect.service import Catalogue, ConnectService, FlowRefused
from producer.connect.session import Session, SessionRefused
from producer.connect.system import System
from producer.connect.view import view_json
from schemas.errors import HooklineError

log = logging.getLogger("hookline.connect")

PREFIX: Final = "/connect"
COMPONENT: Final = "hookline-connect.js"
#: By the name in the address: the component, and what the two pages load.
_FILES: Final = {COMPONENT, "connect-page.js", "connect-callback.js", "connect-page.css"}
_MAX_PARAMETER_CHARS: Final = 4_096

Search = Callable[[Catalogue, str, int], Sequence[System]]


class ConnectRates(msgspec.Struct, frozen=True, kw_only=True):
    """How often what may be asked for. Many customers may come from one address."""

    of_address: Rate = Rate(300, 10)
    of_session: Rate = Rate(80, 3)
    actions: Rate = Rate(30, 0.5)
    reveals: Rate = Rate(10, 0.1)
    callbacks: Rate = Rate(30, 0.5)


class ConnectHttp:
    """The application under /connect. Used on one event loop."""

    def __init__(
        self,
        service: ConnectService,
        search: Search,
        *,
        allowed_origins: Sequence[str] = (),
        public_url: str = "",
        proxies: tuple[str, ...] = (),
        rates: ConnectRates | None = None,
        listeners: Listeners | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """ConfigurationError if an allowed origin is none. `proxies` as in GateRules."""
        rates = rates or ConnectRates()
        self._service = service
        self._search = search
        self._proxies = proxies
        self._clock_s = clock_s
        self.origins = Origins(allowed_origins, public_url)
        self.listeners = listeners or Listeners()
        self._of_address = Buckets(rates.of_address)
        self._of_session = Buckets(rates.of_session)
        self._actions = Buckets(rates.actions)
        self._reveals = Buckets(rates.reveals)
        self._callbacks = Buckets(rates.callbacks)
        self._throttle = Throttle()
        version, assets = load_assets()
        self._etag = f'"{version}"'
        self._files = {name: asset for name, asset in assets.items() if name in _FILES}
        self._pages = Pages(version)

    def app(self) -> Starlette:
        """The routes, whole paths."""
        return Starlette(
            routes=[
                Route(f"{PREFIX}/api/state", self._state),
                Route(f"{PREFIX}/api/changes", self._changes),
                Route(f"{PREFIX}/api/systems", self._systems),
                Route(f"{PREFIX}/api/actions", self._act, methods=["POST"]),
                Route(f"{PREFIX}/api/reveal", self._reveal, methods=["POST"]),
                Route(f"{PREFIX}/callback", self._callback),
                *(Route(f"{PREFIX}/{name}", self._file) for name in sorted(_FILES)),
                Route(f"{PREFIX}/{{session}}", self._hosted),
            ],
            exception_handlers={
                Refused: self._refused,
                SessionRefused: self._session_refused,
                FlowRefused: self._flow_refused,
                HTTPException: self._http_problem,
                HooklineError: self._trouble,
                Exception: self._fault,
            },
        )

    # The component's.

    async def _state(self, request: Request) -> Response:
        session = await self._admitted(request)
        return _json(view_json(await self._service.view(session.id)))

    async def _changes(self, request: Request) -> Response:
        session = await self._admitted(request)
        if self.listeners.full(session.id):
            raise Refused(
                503,
                "too_many",
                "Too many pages follow already; this one asks now and then.",
                retry_after_s=3,
            )
        return StreamingResponse(
            self.listeners.stream(session.id, self._service.changes(session.id)),
            media_type="text/event-stream",
            # nginx would gather it; another proxy might compress or keep it.
            headers={"cache-control": "no-store, no-transform", "x-accel-buffering": "no"},
        )

    async def _systems(self, request: Request) -> Response:
        session = await self._admitted(request)
        text, limit = asking.wanted_systems(request)
        catalogue = self._service.catalogue()
        # The allowed ones may be behind those that are not.
        most = limit if not session.systems else asking.MAX_SYSTEMS * 10
        found = self._search(catalogue, text, most) if text else catalogue.all()
        allowed = [one for one in found if not session.systems or one.id in session.systems]
        return JSONResponse({"systems": [_listed(one) for one in allowed[:limit]]})

    async def _act(self, request: Request) -> Response:
        session = await self._admitted(request)
        _within(self._actions, session.id, self._clock_s())
        action = await asking.wanted_action(request)
        return _json(view_json(await self._service.act(session.id, action)))

    async def _reveal(self, request: Request) -> Response:
        session = await self._admitted(request)
        _within(self._reveals, session.id, self._clock_s())
        await asking.bounded_body(request)
        secret = await self._service.reveal(session.id)
        return JSONResponse({"secret": secret.reveal()})

    async def _admitted(self, request: Request) -> Session:
        """The session that was presented; Refused or SessionRefused."""
        now_s = self._clock_s()
        address = address_key(client_address(request, self._proxies))
        _within(self._of_address, address, now_s)
        wait_s = self._throttle.wait_s((address,), now_s)
        if wait_s > 0:
            raise problems.too_often(wait_s)
        try:
            session = await self._service.admit(asking.session_token(request))
        except SessionRefused as refused:
            # One that has ended is no guess: a page that stands open asks with it.
            if refused.reason == "unknown":
                self._throttle.failed((address,), now_s)
            log.info("a connect session was refused", extra={"data": {"reason": refused.reason}})
            raise
        _within(self._of_session, session.id, now_s)
        origin = request.headers.get("origin", "").lower()
        bound = session.origin.lower()
        if bound and origin not in ("", bound) and not self._own(request, origin):
            raise Refused(403, "origin", "This session is for another page.")
        return session

    def _own(self, request: Request, origin: str) -> bool:
        return self.origins.own(origin, request.headers.get("host", ""))

    def origin_allowed(self, request: Request) -> bool:
        """Whether a page may ask at all: the console's own and those of the list."""
        origin = request.headers.get("origin", "").lower()
        return not origin or self.origins.allows(origin) or self._own(request, origin)

    # Pages and files, for everybody: no session's data is in them.

    async def _hosted(self, request: Request) -> Response:
        request.state.framed = self.origins.framed
        policy = "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "img-src 'self'",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "require-trusted-types-for 'script'",
                f"frame-ancestors {self.origins.frame_ancestors}",
            )
        )
        answer = self._pages.answer("connect.html", {})
        answer.headers["content-security-policy"] = policy
        answer.headers["referrer-policy"] = "same-origin"
        # The window of the system that is to be connected is ours to open, and to lead.
        answer.headers["cross-origin-opener-policy"] = "same-origin-allow-popups"
        return answer

    async def _callback(self, request: Request) -> Response:
        address = address_key(client_address(request, self._proxies))
        _within(self._callbacks, address, self._clock_s())
        state, code, error = (
            request.query_params.get(name, "")[:_MAX_PARAMETER_CHARS]
            for name in ("state", "code", "error")
        )
        found = await self._service.came_back(state, code, error)
        values = {"title": found.title, "text": found.text, "proof": ""}
        if found.proof is not None and found.typed is not None:
            own = f"{request.url.scheme}://{request.headers.get('host', '')}".lower()
            values |= {
                "proof": found.proof.reveal(),
                "typed": found.typed.reveal(),
                "origins": " ".join(self.origins.embedding(found.origin, own)),
            }
        answer = self._pages.answer("connect_callback.html", values, 200 if found.ok else 400)
        # Its address holds a code.
        answer.headers["referrer-policy"] = "no-referrer"
        # Else it would not know the window that opened it, which waits for the proof.
        answer.headers["cross-origin-opener-policy"] = "unsafe-none"
        return answer

    async def _file(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        headers = {
            "cache-control": "public, max-age=300",
            "etag": self._etag,
            # For `<script crossorigin integrity>` of a page elsewhere; there is no secret in it.
            "access-control-allow-origin": "*",
            "cross-origin-resource-policy": "cross-origin",
        }
        if request.headers.get("if-none-match") == self._etag:
            return Response(status_code=304, headers=headers)
        found = self._files[name]
        return Response(found.body, media_type=found.media_type, headers=headers)

    # What goes wrong.

    async def _refused(self, request: Request, refused: Exception) -> Response:
        assert isinstance(refused, Refused)
        if _wants_data(request):
            return problems.problem(request, refused)
        values = {"title": "Not now", "text": refused.detail, "proof": ""}
        return self._pages.answer("connect_callback.html", values, refused.status)

    async def _session_refused(self, request: Request, refused: Exception) -> Response:
        assert isinstance(refused, SessionRefused)
        return await self._refused(request, problems.of_session(refused))

    async def _flow_refused(self, request: Request, refused: Exception) -> Response:
        assert isinstance(refused, FlowRefused)
        return await self._refused(request, problems.of_flow(refused))

    async def _http_problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = {404: "not_found", 405: "method"}
        code = known.get(error.status_code, f"http_{error.status_code}")
        answer = await self._refused(
            request, Refused(error.status_code, code, "There is nothing here.")
        )
        answer.headers.update(error.headers or {})
        return answer

    async def _trouble(self, request: Request, error: Exception) -> Response:
        """Kafka or the secret backend is away. Its text is the operator's: it is only logged."""
        log.warning("the connect flow cannot go on", extra={"data": {"error": str(error)}})
        text = "A part that this needs is not there at the moment. Try again in a minute."
        return await self._refused(request, Refused(503, "unavailable", text, retry_after_s=5))

    async def _fault(self, request: Request, error: Exception) -> Response:
        # Starlette raises it again behind the answer, so that the server logs it.
        text = "Something went wrong on our side. Try again in a moment."
        return await self._refused(request, Refused(500, "fault", text))


class ConnectDoor:
    """ASGI: what is under /connect goes to the connect application, all else on to the console."""

    def __init__(self, app: ASGIApp, connect: ConnectHttp, gate: Gate) -> None:
        self._app = app
        self._connect = connect
        self._inner = connect.app()
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not scope["path"].startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        request = Request(scope, receive)
        api = _wants_data(request)
        origin = request.headers.get("origin", "").lower() if api else ""
        origins = self._connect.origins
        https = self._gate.https(request)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = with_security(list(message.get("headers", ())), https=https)
                if scope["state"].get("framed"):
                    # frame-ancestors says who; the older header knows no list.
                    headers = [one for one in headers if one[0].lower() != b"x-frame-options"]
                if api:
                    headers.append((b"vary", b"Origin"))
                    if origins.allows(origin):
                        headers += _raw(origins.answer_headers(origin))
                message["headers"] = headers
            await send(message)

        if api and not self._connect.origin_allowed(request):
            detail = "This page is not among connect.allowed_origins."
            answer = problems.problem(request, Refused(403, "origin", detail))
            await answer(scope, receive, secured)
        elif api and request.method == "OPTIONS":
            headers = origins.preflight_headers(origin) if origins.allows(origin) else {}
            extra = {k: v for k, v in headers.items() if k not in origins.answer_headers(origin)}
            await Response(status_code=204, headers=extra)(scope, receive, secured)
        else:
            await self._inner(scope, receive, secured)


def _wants_data(request: Request) -> bool:
    return request.url.path.startswith(f"{PREFIX}/api/")


def _within(buckets: Buckets, key: str, now_s: float) -> None:
    wait_s = buckets.take(key, now_s)
    if wait_s > 0:
        raise problems.too_often(wait_s)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _listed(system: System) -> dict[str, object]:
    return {
        "id": system.id,
        "name": system.name,
        "about": system.about,
        "initials": system.logo.initials,
        "colour": system.logo.colour,
        "path": system.logo.path,
        "categories": system.categories,
    }
