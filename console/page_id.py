"""The request id of each of the console's answers: ours, in its log lines and `X-Request-ID`."""

from __future__ import annotations

import secrets
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.request_id import RANDOM_BYTES, current_request_id, make


def page_id(request: Request) -> bytes:
    """The request id of a page, as its log lines have it."""
    found: bytes = request.state.page_id
    return found


class PageId:
    """Gives each request an id of our own, in its log lines, its page and `X-Request-ID`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = make(time.time_ns() // 1_000_000, secrets.token_bytes(RANDOM_BYTES))
        scope.setdefault("state", {})["page_id"] = own
        current_request_id.set(own)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", own.hex().encode())]
            await send(message)

        await self._app(scope, receive, sent)
