"""The console as an ASGI application: which page is where, and who may see it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, cast

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from console.access import AccessMiddleware, Gate, guarded, local_path, public, visitor_of
from console.access.auditing import audited
from console.api import Api, ApiDoor
from console.connect import ConnectDoor, ConnectHttp
from console.live import Live
from console.page_id import PageId, page_id
from console.pages import alerts, connections, dead_letters, events, overview, parked, requests
from console.problems import Problem
from console.remembering import Remembered
from console.rendering import THEMES, Pages, load_assets
from console.visit import Parts, Visit
from console.warming import Warmer
from consumer.monitor.contract import Questions
from schemas.api_token import Scope
from schemas.errors import HooklineError

log = logging.getLogger("hookline.console")

MAX_FORM_BYTES: Final = 1_048_576
MAX_FORM_FIELDS: Final = 10_000
#: In an audit record; the rest is counted.
_MAX_NAMED: Final = 10
_YEAR: Final = "public, max-age=31536000, immutable"

Endpoint = Callable[[Request], Awaitable[Response]]
#: Whether all is well, and if not, why; it answers at once.
Check = Callable[[], tuple[bool, str]]
PageMaker = Callable[[Visit], Response]


class Console:
    """The application's parts and endpoints."""

    def __init__(
        self,
        parts: Parts,
        gate: Gate,
        live: Check,
        ready: Check,
        connect: ConnectHttp | None,
        api: Api | None,
    ) -> None:
        remembered = cast(Questions, Remembered(parts.questions, parts.now_us))
        self._parts = replace(parts, questions=remembered)
        self.warmer = Warmer(remembered, gate.tokens.environment, parts.now_us)
        self._gate = gate
        self._connect = connect
        self._api = api
        self._live, self._ready = live, ready
        self._news = Live(parts.questions, gate.tokens.environment)
        self._version, self._assets = load_assets()
        self._pages = Pages(self._version)

    def app(self) -> Starlette:
        """The application; ConfigurationError if a route does not say who may use it."""
        see, change = Scope.EVENTS_READ, Scope.DEAD_LETTERS_WRITE
        routes = [
            Route("/", self._shown(overview.page)),
            Route("/connections", self._shown(connections.page)),
            Route("/connections/{name:path}", self._shown(_named(connections.one, "name"))),
            Route("/find", self._shown(requests.find)),
            Route("/requests", self._shown(events.requests)),
            Route("/requests/{id}", self._shown(_named(requests.page, "id"))),
            Route("/events", self._shown(events.page)),
            Route("/dead-letters", self._shown(dead_letters.page)),
            Route(
                "/dead-letters/preview", self._shown(dead_letters.preview, change), methods=["POST"]
            ),
            Route("/dead-letters/redrive", self._redrive(), methods=["POST"]),
            Route("/dead-letters/discard", self._discard(), methods=["POST"]),
            Route("/dead-letters/{number}", self._shown(_named(dead_letters.one, "number"))),
            Route("/parked", self._shown(parked.page)),
            Route("/parked/key", self._shown(parked.one)),
            Route("/parked/preview", self._shown(parked.preview, change), methods=["POST"]),
            Route("/parked/retry", self._retry(), methods=["POST"]),
            Route("/alerts", self._shown(alerts.page)),
            Route("/alerts/silence", self._silence(), methods=["POST"]),
            Route("/alerts/end-silence", self._end_silence(), methods=["POST"]),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/live", guarded(see)(self._listen)),
            Route("/sign-in", self._sign_in_page),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/static/{version}/{name}", self._asset),
        ]
        self._gate.check_routes(routes)
        # Its own admission, so it stands before the console's: a customer is no visitor.
        door = []
        if self._connect is not None:
            door.append(Middleware(ConnectDoor, connect=self._connect, gate=self._gate))
        if self._api is not None:
            door.append(Middleware(ApiDoor, api=self._api, gate=self._gate))
        return Starlette(
            routes=routes,
            middleware=[Middleware(PageId), *door, Middleware(AccessMiddleware, gate=self._gate)],
            exception_handlers={
                Problem: self._problem,
                HTTPException: self._http_problem,
                HooklineError: self._trouble,
                Exception: self._fault,
            },
        )

    # Pages: made on threads, since what they ask waits for a store.

    def _shown(self, make_page: PageMaker, scope: Scope = Scope.EVENTS_READ) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(make_page, await self._visit(request))

        return guarded(scope)(endpoint)

    async def _visit(self, request: Request) -> Visit:
        self.warmer.looked()
        form: list[tuple[str, str]] = []
        if request.method == "POST":
            length = request.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
                raise HTTPException(413, f"a form has at most {MAX_FORM_BYTES} bytes")
            sent = await request.form(max_files=0, max_fields=MAX_FORM_FIELDS)
            form = [(name, value) for name, value in sent.multi_items() if isinstance(value, str)]
        return Visit(
            parts=self._parts,
            pages=self._pages,
            visitor=visitor_of(request),
            request=request,
            query=request.query_params,
            form=form,
            page_id=page_id(request),
            now_us=self._parts.now_us(),
            theme=theme_of(request),
        )

    # Changes: each one in the audit log, its intent before anything is touched.

    def _redrive(self) -> Endpoint:
        return self._change_letters("redrive", dead_letters.redrive)

    def _discard(self) -> Endpoint:
        return self._change_letters("discard", dead_letters.discard)

    def _change_letters(self, action: str, do: Callable[[Visit, list[int]], int]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            chosen = dead_letters.numbers(visit)
            target = _some([str(number) for number in chosen])
            async with audited(request, f"dead_letter.{action}", target=target) as change:
                count = await run_in_threadpool(do, visit, chosen)
                change.note(chosen=len(chosen), done=count)
            return dead_letters.after_change(action, count)

        return guarded(Scope.DEAD_LETTERS_WRITE)(endpoint)

    def _retry(self) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            places = parked.chosen(visit)
            target = _some([key.decode("utf-8", "backslashreplace") for _, key in places])
            async with audited(request, "parked.retry", target=target) as change:
                count = await run_in_threadpool(parked.retry, visit, places)
                change.note(chosen=len(places), done=count)
            return parked.after_change(count)

        return guarded(Scope.DEAD_LETTERS_WRITE)(endpoint)

    def _silence(self) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            wanted = alerts.wanted_silence(visit)
            target = " ".join(f"{name}={value}" for name, value in wanted.matchers.items())
            async with audited(request, "alert.silence", target=target) as change:
                made = await run_in_threadpool(alerts.silence, visit, wanted)
                change.note(number=made.number, until_ms=made.until_ms)
            return alerts.after_change()

        return guarded(Scope.ALERTS_WRITE)(endpoint)

    def _end_silence(self) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            number = alerts.wanted_number(visit)
            async with audited(request, "alert.end_silence", target=str(number)):
                await run_in_threadpool(alerts.end_silence, visit, number)
            return alerts.after_change()

        return guarded(Scope.ALERTS_WRITE)(endpoint)

    # The rest.

    @public
    async def _livez(self, request: Request) -> Response:
        return _health(*self._live())

    @public
    async def _readyz(self, request: Request) -> Response:
        return _health(*self._ready())

    async def _listen(self, request: Request) -> Response:
        if self._news.full:
            raise HTTPException(503, "too many pages listen already; this one loads itself again")
        return StreamingResponse(
            self._news.stream(),
            media_type="text/event-stream",
            # nginx would gather it.
            headers={"X-Accel-Buffering": "no"},
        )

    @public
    async def _sign_in_page(self, request: Request) -> Response:
        visitor = getattr(request.state, "visitor", None)
        following = local_path(request.query_params.get("next"))
        if visitor is not None:
            return RedirectResponse(following, 303)
        return self._sign_in_form(request, following, getattr(request.state, "refused", ""), 200)

    @public
    async def _sign_in(self, request: Request) -> Response:
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
            raise HTTPException(413, f"a form has at most {MAX_FORM_BYTES} bytes")
        form = await request.form(max_files=0, max_fields=10)
        following = local_path(form.get("next"))
        found = self._gate.sign_in(request, form.get("token"))
        if found.session is not None:
            return self._gate.signed_in(RedirectResponse(following, 303), found)
        answer = self._sign_in_form(request, following, found.message, found.status)
        answer.headers.update(found.headers)
        return answer

    def _sign_in_form(
        self, request: Request, following: str, message: str, status: int
    ) -> Response:
        values = self._bare(request) | {
            "next": following,
            "message": message[:1].upper() + message[1:],
            "environment": self._gate.tokens.environment,
        }
        return self._pages.answer("sign_in.html", values, status)

    @public
    async def _sign_out(self, request: Request) -> Response:
        return self._gate.sign_out(request, RedirectResponse("/sign-in", 303))

    @public
    async def _asset(self, request: Request) -> Response:
        found = self._assets.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        current = request.path_params["version"] == self._version
        cached = _YEAR if current else "no-cache"
        return Response(found.body, media_type=found.media_type, headers={"Cache-Control": cached})

    # What goes wrong, as pages.

    async def _problem(self, request: Request, problem: Exception) -> Response:
        assert isinstance(problem, Problem)
        return self._wrong(request, problem.status, problem.title, problem.next_step)

    async def _http_problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = _TITLES.get(error.status_code, "This did not work")
        known = error.detail if error.detail and error.status_code != 404 else ""
        next_step = known or _NEXT.get(error.status_code, "Go back and try again.")
        next_step = next_step[:1].upper() + next_step[1:]
        answer = self._wrong(request, error.status_code, title, next_step)
        answer.headers.update(error.headers or {})
        return answer

    async def _trouble(self, request: Request, error: Exception) -> Response:
        """A store or Kafka that is away: its error says what to do."""
        log.warning("a page could not be made", extra={"data": {"error": type(error).__name__}})
        text = str(error)
        return self._wrong(
            request, 503, "A part that this page needs is not there", text[:1].upper() + text[1:]
        )

    async def _fault(self, request: Request, error: Exception) -> Response:
        # Starlette raises it again behind the answer, so that the server logs it.
        return self._wrong(
            request,
            500,
            "This page met a fault of ours",
            "Load it again. If it stays, look for its request id in the console's log, and report "
            "what is there.",
        )

    def _wrong(self, request: Request, status: int, title: str, next_step: str) -> Response:
        values = {"status": status, "title": title, "next_step": next_step}
        return self._pages.answer("problem.html", self._bare(request) | values, status)

    def _bare(self, request: Request) -> dict[str, object]:
        visitor = getattr(request.state, "visitor", None)
        return {
            "session": visitor.admission if visitor is not None else None,
            "csrf": visitor.csrf if visitor is not None else "",
            "here": "",
            "live": False,
            "now_us": self._parts.now_us(),
            "page_id": page_id(request).hex(),
            "theme": theme_of(request),
        }


_TITLES: Final = {
    400: "This was not understood",
    403: "This is not yours to do",
    404: "There is no such page",
    405: "This cannot be done here",
    413: "This is too much at once",
    503: "Not now",
}
_NEXT: Final = {404: "The pages that there are stand above; a request id can be pasted there, too."}


def _named(make_page: Callable[[Visit, str], Response], name: str) -> PageMaker:
    def page(visit: Visit) -> Response:
        return make_page(visit, visit.request.path_params[name])

    return page


def _some(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f", and {more} more" if more > 0 else "")


def theme_of(request: Request) -> str:
    """The colours that this browser has chosen; empty: its system's."""
    chosen = request.cookies.get("hookline-theme", "")
    return chosen if chosen in THEMES else ""


def _well() -> tuple[bool, str]:
    return True, ""


def _health(ok: bool, reason: str) -> Response:
    body = {"status": "ok" if ok else "failing", "reason": reason}
    return JSONResponse(body, 200 if ok else 503)


def build(
    parts: Parts,
    gate: Gate,
    *,
    live: Check = _well,
    ready: Check = _well,
    connect: ConnectHttp | None = None,
    api: Api | None = None,
) -> Starlette:
    """The console's application; `live` and `ready` answer /livez and /readyz; with `connect`
    customers connect their systems under /connect; `api` is what is under /api.

    `app.state.warmer` is for its process to start and stop.
    """
    console = Console(parts, gate, live, ready, connect, api)
    app = console.app()
    app.state.warmer = console.warmer
    return app
