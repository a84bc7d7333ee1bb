"""A console of four pages behind a gate, and a browser that can be told what to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from console.access import (
    AccessMiddleware,
    Gate,
    GateRules,
    guarded,
    local_path,
    public,
    visitor_of,
)
from credentials.token_ledger import TokenLedger
from schemas.api_token import Scope
from tests.access.making import ENVIRONMENT, NOW_US


@guarded(Scope.EVENTS_READ)
async def overview(request: Request) -> Response:
    return PlainTextResponse(f"csrf={visitor_of(request).csrf}")


@guarded(Scope.DEAD_LETTERS_WRITE)
async def redrive(request: Request) -> Response:
    numbers = (await request.form()).getlist("number")
    return PlainTextResponse(f"redriven {','.join(map(str, numbers))}")


@guarded(Scope.EVENTS_READ)
async def live(request: Request) -> Response:
    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@public
async def sign_in(request: Request) -> Response:
    if request.method == "GET":
        return PlainTextResponse("token, please")
    gate: Gate = request.state.gate
    form = await request.form()
    found = gate.sign_in(request, form.get("token"))
    if found.session is None:
        return PlainTextResponse(found.message, found.status, found.headers)
    return gate.signed_in(RedirectResponse(local_path(form.get("next")), 303), found)


@guarded(None)
async def sign_out(request: Request) -> Response:
    gate: Gate = request.state.gate
    return gate.sign_out(request, RedirectResponse("/sign-in", 303))


ROUTES = [
    Route("/", overview),
    Route("/redrive", redrive, methods=["POST"]),
    Route("/live", live),
    Route("/sign-in", sign_in, methods=["GET", "POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]


class Console:
    """The console and the clock of it."""

    def __init__(self, **rules: Any) -> None:
        self.ledger = TokenLedger(ENVIRONMENT)
        self.now_us = NOW_US
        self.used: list[str] = []
        self.gate = Gate(
            self.ledger,
            GateRules(**rules),
            used=self.used.append,
            now_us=lambda: self.now_us,
            clock_s=lambda: self.now_us / 1e6,
        )
        self.app = Starlette(
            routes=ROUTES, middleware=[Middleware(AccessMiddleware, gate=self.gate)]
        )
        self.gate.check_routes(self.app.routes)

    def browser(self, host: str = "192.0.2.7", url: str = "http://console.test") -> TestClient:
        """A browser at an address, without cookies."""
        return TestClient(
            self.app,
            base_url=url,
            headers={"accept": "text/html"},
            client=(host, 50_000),
            follow_redirects=False,
        )

    def signed_in(self, token: str, **more: Any) -> TestClient:
        """A browser that has signed in with this token."""
        browser = self.browser(**more)
        answer = browser.post("/sign-in", data={"token": token})
        assert answer.status_code == 303, answer.text
        return browser


def csrf_of(browser: TestClient) -> str:
    """What the first page has in its forms."""
    return browser.get("/").text.removeprefix("csrf=")
