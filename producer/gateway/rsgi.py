"""The HTTP side, on Granian's RSGI: routes requests and hands answers over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Final

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from producer.gateway import answers
from producer.gateway.answers import Answer
from producer.gateway.body import BodyReader
from producer.gateway.receiver import Receiver

_WEBHOOKS: Final = "/webhooks/"
Check = Callable[[], tuple[bool, str]]


class GatewayApp:
    """The RSGI application: `/webhooks/{connection}`, `/livez`, `/readyz`, `/metrics`."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        bodies: BodyReader,
        live: Check,
        ready: Check,
        metrics: Callable[[], bytes],
    ) -> None:
        self._receiver = receiver
        self._bodies = bodies
        self._live = live
        self._ready = ready
        self._metrics = metrics
        self._in_flight = 0
        self._draining = False
        self._idle = asyncio.Event()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        began_ns = time.perf_counter_ns()
        self._in_flight += 1
        try:
            path: str = scope.path
            if path.startswith(_WEBHOOKS):
                answer = await self._webhook(path[len(_WEBHOOKS) :], scope, protocol, began_ns)
            else:
                answer = await self._other(scope.method, path, began_ns)
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        except ProtocolClosed:
            # The sender went away: either nothing was taken, or it will send again and the
            # event id tells.
            pass
        # The request's top: a bug must cost one request, and be seen.
        except Exception as error:
            answer = self._receiver.failed(error, began_ns)
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        finally:
            self._in_flight -= 1
            if self._draining and not self._in_flight:
                self._idle.set()

    async def drained(self, within_s: float) -> bool:
        """Be unready from here on; False if some requests were not answered in time."""
        self._draining = True
        if self._in_flight:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), max(0.0, within_s))
        return not self._in_flight

    async def _webhook(
        self, connection_id: str, scope: Any, protocol: Any, began_ns: int
    ) -> Answer:
        method, headers, query = scope.method, scope.headers, scope.query_string
        if method != "POST":
            # A handshake has no body; what was sent as one is not read.
            return self._receiver.handshake(connection_id, method, headers, query, began_ns)
        body = await self._bodies.read(protocol, headers)
        if not isinstance(body, bytes):
            return self._receiver.refuse(body, began_ns, connection_id)
        try:
            return await self._receiver.receive(connection_id, headers, body, began_ns, query)
        finally:
            self._bodies.release(len(body))

    async def _other(self, method: str, path: str, began_ns: int) -> Answer:
        if method in ("GET", "HEAD"):
            if path == "/livez":
                return _health(*self._live())
            if path == "/readyz":
                return _health(*((False, "stopping") if self._draining else self._ready()))
            if path == "/metrics":
                # Collecting can take milliseconds: not on the loop that webhooks wait for.
                text = await asyncio.get_running_loop().run_in_executor(None, self._metrics)
                return answers.document(200, "text/plain; version=0.0.4; charset=utf-8", text)
        return self._receiver.refuse(answers.NO_SUCH_PATH, began_ns)


def _health(good: bool, reason: str) -> Answer:
    body = json.dumps({"status": "ok" if good else "failing", "reason": reason})
    return answers.document(200 if good else 503, "application/json", body.encode())
