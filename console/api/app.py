"""The API as an application of its own under /api, and the door to it.

It stands before the console's own door: only an API token as `Authorization: Bearer` admits, never
a cookie, so nothing that a browser sends by itself changes anything here. Whatever goes wrong is
answered with problem details.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import msgspec
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access.gate import Gate
from console.access.guard import guarded, public
from console.access.rates import Buckets, Rate
from console.access.security_headers import with_security
from console.access.sessions import Visitor
from console.api import problems, reading
from console.api.calls import Answering, Call, ConnectCalls, Search
from console.api.connection_calls import Book, ConnectionCalls
from console.api.document import document
from console.api.kept_answers import (
    Asked,
    InProgress,
    KeptAnswer,
    KeptAnswers,
    OtherRequest,
    Taken,
    Unsealable,
)
from console.api.operations import DOCUMENT, OPERATIONS, PREFIX, Operation
from console.api.problems import ApiProblem
from credentials.writing import SecretWriter
from producer.connect.service import ConnectService, FlowRefused
from producer.connect.session import SessionRefused
from schemas.errors import HooklineError, SecretError

log = logging.getLogger("hookline.api")

_TOP: Final = "/api"


class ApiRates(msgspec.Struct, frozen=True, kw_only=True):
    """How often a token may ask, in each replica."""

    requests: Rate = Rate(300, 10)
    changes: Rate = Rate(60, 1)


class ApiParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the API is made from; wired in `hookline/processes/console_api.py`.

    `service` and `writer` are None where the connect flow is not set up. `public_url`: where
    browsers find the hosted page.
    """

    book: Book
    answers: KeptAnswers
    service: ConnectService | None
    search: Search
    writer: SecretWriter | None = None
    public_url: str = ""
    origin_allowed: Callable[[str], bool] = lambda origin: True
    rates: ApiRates = ApiRates()
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    clock_s: Callable[[], float] = time.monotonic


class Api:
    """The routes, whole paths. Used on one event loop."""

    def __init__(self, parts: ApiParts) -> None:
        self._answers = parts.answers
        self._clock_s = parts.clock_s
        self._rates = parts.rates
        self._requests = Buckets(parts.rates.requests)
        self._changes = Buckets(parts.rates.changes)
        connect = ConnectCalls(
            parts.service,
            parts.search,
            public_url=parts.public_url,
            origin_allowed=parts.origin_allowed,
        )
        connections = ConnectionCalls(parts.book, parts.service, parts.writer, parts.now_us)
        answering = connect.by_operation() | connections.by_operation()
        self._document = msgspec.json.encode(document())
        self.routes: Sequence[Route] = [
            Route(DOCUMENT, self._told, methods=["GET"]),
            *(self._route(one, answering.pop(one.id)) for one in OPERATIONS),
        ]
        assert not answering, f"these answer no operation: {sorted(answering)}"

    def app(self, gate: Gate) -> Starlette:
        """The application; ConfigurationError if a route does not say who may use it."""
        gate.check_routes(self.routes)
        app = Starlette(
            routes=self.routes,
            exception_handlers={
                ApiProblem: self._problem,
                SessionRefused: self._session_refused,
                FlowRefused: self._flow_refused,
                HTTPException: self._http_problem,
                HooklineError: self._trouble,
                Exception: self._fault,
            },
        )
        # An address with a slash too many is not there; a redirect would be no problem document.
        app.router.redirect_slashes = False
        return app

    def admitted(self, visitor: Visitor, method: str) -> dict[str, str]:
        """Count a request; the headers that say what is left. ApiProblem 429."""
        key, now_s = visitor.admission.token_id, self._clock_s()
        changing = method not in ("GET", "HEAD", "OPTIONS")
        wait_s = self._requests.take(key, now_s)
        if changing and not wait_s:
            wait_s = self._changes.take(key, now_s)
        policies = [("requests", self._requests, self._rates.requests)]
        policies.append(("changes", self._changes, self._rates.changes))
        headers = {
            "ratelimit-policy": ", ".join(
                f'"{name}";q={rate.burst:.0f};w={math.ceil(rate.burst / rate.per_s)}'
                for name, _, rate in policies
            ),
            "ratelimit": ", ".join(
                f'"{name}";r={int(left)};t={math.ceil((rate.burst - left) / rate.per_s)}'
                for name, buckets, rate in policies
                for left in (buckets.left(key, now_s),)
            ),
        }
        if wait_s:
            problem = problems.too_often(wait_s)
            problem.headers |= headers
            raise problem
        return headers

    # One call.

    def _route(self, operation: Operation, answering: Answering) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._answer(request, operation, answering)

        return Route(
            PREFIX + operation.path,
            guarded(operation.scope)(endpoint),
            methods=[operation.method],
            name=operation.id,
        )

    async def _answer(
        self, request: Request, operation: Operation, answering: Answering
    ) -> Response:
        query = reading.query_model(operation.query, request)
        raw = await reading.body_bytes(request)
        body: BaseModel | None = None
        if operation.body is not None:
            body = reading.body_model(operation.body, raw, operation.body_needed)
        elif raw:
            raise ApiProblem("malformed", "This takes no body.")
        call = Call(request=request, id=request.path_params.get("id", ""), body=body, query=query)
        key = reading.idempotency_key(request) if operation.keyed else ""
        if not key:
            return _json(operation.status, _encoded(await answering(call)))
        asked = Asked(
            token_id=call.by,
            presented=request.headers.get("authorization", "").partition(" ")[2].strip(),
            key=key,
            method=request.method,
            path=request.url.path,
            body=raw,
        )
        return await self._once(operation, asked, lambda: answering(call))

    async def _once(
        self, operation: Operation, asked: Asked, do: Callable[[], Awaitable[BaseModel]]
    ) -> Response:
        taken = await self._take(asked)
        if isinstance(taken, KeptAnswer):
            replayed = _json(taken.status, taken.body)
            replayed.headers["idempotency-replayed"] = "true"
            return replayed
        try:
            answered = await do()
        except BaseException:
            # Nothing was done, or it is not known: the next try is a try. Also if the caller went.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._answers.released, taken)
            raise
        # A crash here leaves the key taken for two minutes; the thing is then done again.
        kept = KeptAnswer(status=operation.status, body=_encoded(answered))
        await run_in_threadpool(self._answers.done, taken, kept)
        return _json(kept.status, kept.body)

    async def _take(self, asked: Asked) -> Taken | KeptAnswer:
        try:
            return await run_in_threadpool(self._answers.take, asked)
        except InProgress:
            raise ApiProblem(
                "key_in_progress",
                "The same request is under way: ask again in a moment.",
                retry_after_s=1,
            ) from None
        except (OtherRequest, Unsealable):
            raise ApiProblem(
                "key_reused",
                "This Idempotency-Key was used for another request: make a new one.",
                errors=[problems.Mistake(detail="It was used.", parameter="Idempotency-Key")],
            ) from None

    @public
    async def _told(self, request: Request) -> Response:
        return _json(200, self._document)

    # What goes wrong.

    async def _problem(self, request: Request, problem: Exception) -> Response:
        assert isinstance(problem, ApiProblem)
        return problems.answer(request, problem)

    async def _session_refused(self, request: Request, refused: Exception) -> Response:
        assert isinstance(refused, SessionRefused)
        return problems.answer(request, problems.of_session(refused))

    async def _flow_refused(self, request: Request, refused: Exception) -> Response:
        assert isinstance(refused, FlowRefused)
        return problems.answer(request, problems.of_flow(refused))

    async def _http_problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allowed = sorted(self._methods(request))
            problem = ApiProblem(
                "method_not_allowed",
                f"This address takes {', '.join(allowed)}.",
                headers={"allow": ", ".join(allowed)},
            )
        elif error.status_code == 403:
            problem = ApiProblem("scope_missing", error.detail)
        elif error.status_code == 404:
            problem = ApiProblem("not_found", f"There is no such address: see {DOCUMENT}.")
        else:
            problem = ApiProblem("malformed", error.detail)
        return problems.answer(request, problem)

    def _methods(self, request: Request) -> set[str]:
        return {
            method
            for route in self.routes
            if route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }

    async def _trouble(self, request: Request, error: Exception) -> Response:
        """Kafka, the audit log or the secret backend is away. Its text is the operator's."""
        log.warning(
            "the API cannot answer",
            extra={"data": {"error": type(error).__name__, "why": str(error)}},
        )
        what = "The secret backend" if isinstance(error, SecretError) else "Kafka"
        text = f"{what} does not do what this needs at the moment: the console's log has more."
        return problems.answer(request, ApiProblem("unavailable", text, retry_after_s=5))

    async def _fault(self, request: Request, error: Exception) -> Response:
        # Starlette raises it again behind the answer, so that the server logs it.
        text = "This met a fault of ours: the console's log has it under the request id."
        return problems.answer(request, ApiProblem("fault", text))


class ApiDoor:
    """ASGI: what is under /api goes to the API, all else on to the console."""

    def __init__(self, app: ASGIApp, api: Api, gate: Gate) -> None:
        self._app = app
        self._api = api
        self._gate = gate
        self._inner = api.app(gate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == _TOP or path.startswith(f"{_TOP}/")):
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        request = Request(scope, receive)
        https = self._gate.https(request)
        more: dict[str, str] = {}

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_ms = (time.perf_counter() - began_s) * 1000
                headers = with_security(list(message.get("headers", ())), https=https)
                for name, value in {**more, "server-timing": f"total;dur={took_ms:.1f}"}.items():
                    headers.append((name.encode(), value.encode()))
                message["headers"] = headers
            await send(message)

        state = scope.setdefault("state", {})
        state["gate"] = self._gate
        try:
            if path != DOCUMENT:
                visitor = self._visitor(request)
                state["visitor"] = visitor
                more.update(self._api.admitted(visitor, request.method))
        except ApiProblem as problem:
            await problems.answer(request, problem)(scope, receive, told)
            return
        await self._inner(scope, receive, told)

    def _visitor(self, request: Request) -> Visitor:
        if request.headers.get("authorization", "").partition(" ")[0].lower() != "bearer":
            raise ApiProblem(
                "unauthenticated",
                "Send an API token as `Authorization: Bearer …`: `hookline tokens create` makes "
                "one.",
            )
        found = self._gate.visitor(request)
        if isinstance(found, Visitor):
            return found
        status, message = (found.status, found.message) if found is not None else (401, "")
        code = {429: "rate_limited", 503: "unavailable"}.get(status, "unauthenticated")
        retry_after = found.headers.get("retry-after", "0") if found is not None else "0"
        raise ApiProblem(code, message[:1].upper() + message[1:], retry_after_s=int(retry_after))


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")


def _encoded(answered: BaseModel) -> bytes:
    return answered.model_dump_json().encode()
