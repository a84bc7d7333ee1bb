"""A console on a real port with the scripted connect service, and beside it, on another origin, a
page of our user's own that embeds the component under a strict policy, and the vendor's consent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from console.access.rates import Rate
from console.app import build
from console.connect import ConnectHttp, hosted_link
from console.connect.http import ConnectRates
from credentials.secret import Secret
from producer.connect.service import WantedSession
from tests.connect_page.fake_service import FakeService
from tests.connect_page.script import search
from tests.console.stage import Stage

_PLENTY = Rate(100_000, 10_000)


class Served:
    """An application on a port of this machine, in a thread."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.loop: asyncio.AbstractEventLoop | None = None

    def start(self, app: Any) -> None:
        """Serve it."""
        config = uvicorn.Config(
            app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)

        def run() -> None:
            async def serve() -> None:
                self.loop = asyncio.get_running_loop()
                await self.server.serve([self.socket])

            asyncio.run(serve())

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self.server.should_exit = True
        self._thread.join()


class ConnectStage:
    """All of it."""

    def __init__(self, folder: Path, service: FakeService | None = None) -> None:
        self.service = service or FakeService()
        self.console, self.outside = Served(), Served()
        self.stage = Stage(folder, [])
        self.service.vendor = self.outside.url
        plenty = ConnectRates(
            of_address=_PLENTY, of_session=_PLENTY, actions=_PLENTY, reveals=_PLENTY,
            callbacks=_PLENTY,
        )  # fmt: skip
        self.http = ConnectHttp(
            self.service, search, allowed_origins=[self.outside.url],
            public_url=self.console.url, rates=plenty,
        )  # fmt: skip
        self.page = self.embedding
        self.console.start(build(self.stage.parts, self.stage.gate, connect=self.http))
        self.outside.start(
            Starlette(routes=[Route("/page", self._page), Route("/consent", self._consent),
                              Route("/frame", self._frame), Route("/style.css", self._style)])
        )  # fmt: skip

    def session(self, system: str = "", **more: Any) -> str:
        """A session's token."""
        return self.service.make(WantedSession(tenant="acme", system=system), **more)

    def hosted(self, token: str) -> str:
        """The link to the hosted page."""
        return hosted_link(self.console.url, Secret(token)).reveal()

    def embedded(self, token: str) -> str:
        """A page of our user's, with the component in it."""
        return f"{self.outside.url}/page?session={token}"

    def on_loop(self, do: Callable[[], None]) -> None:
        """Do it where the service runs."""
        done = threading.Event()
        assert self.console.loop is not None
        self.console.loop.call_soon_threadsafe(lambda: (do(), done.set()))
        assert done.wait(10)

    def close(self) -> None:
        """End it."""
        self.console.close()
        self.outside.close()
        self.stage.close()

    def embedding(self, session: str) -> str:
        """The HTML of that page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Acme CRM</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="stylesheet" href="/style.css">'
            f'<script src="{self.console.url}/connect/hookline-connect.js" defer></script></head>'
            "<body><main><h1>Acme CRM: your systems</h1>"
            f'<hookline-connect session="{session}" api="{self.console.url}"></hookline-connect>'
            "</main></body></html>"
        )

    async def _page(self, request: Request) -> Response:
        answer = HTMLResponse(self.page(request.query_params.get("session", "")))
        answer.headers["content-security-policy"] = (
            f"default-src 'none'; style-src 'self'; script-src {self.console.url}; "
            f"connect-src {self.console.url}; require-trusted-types-for 'script'"
        )
        return answer

    async def _frame(self, request: Request) -> Response:
        return HTMLResponse(
            '<!doctype html><title>f</title><iframe title="f" '
            f'src="{self.console.url}/connect/x"></iframe>'
        )

    async def _style(self, request: Request) -> Response:
        css = "body{margin:0;font:16px/1.5 system-ui} main{max-width:60rem;margin:auto;padding:8px}"
        return Response(css, media_type="text/css")

    async def _consent(self, request: Request) -> Response:
        state = request.query_params["state"]
        back = f"{self.console.url}/connect/callback"
        if request.query_params.get("say") == "yes":
            return RedirectResponse(f"{back}?state={state}&code=the-code-of-one-use")
        return HTMLResponse(
            "<!doctype html><title>Shopify</title><h1>Allow Acme?</h1>"
            f'<a id="yes" href="{back}?state={state}&code=the-code-of-one-use">Install app</a> '
            f'<a id="no" href="{back}?state={state}&error=access_denied">Cancel</a>'
        )
