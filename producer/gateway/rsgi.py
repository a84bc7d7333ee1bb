"""The HTTP side, on Granian's RSGI: routes requests and hands answers over."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from producer.gateway import answers
from producer.gateway.body import BodyReader
from producer.gateway.receiver import Answer, Receiver

log = logging.getLogger("hookline.gateway")

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
        self.in_flight = 0
        self.draining = False

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        began_ns = time.perf_counter_ns()
        self.in_flight += 1
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
            log.error("a request failed", exc_info=error)
            answer = self._receiver.refuse(answers.FAILED, began_ns)
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        finally:
            self.in_flight -= 1

    async def _webhook(
        self, connection_id: str, scope: Any, protocol: Any, began_ns: int
    ) -> Answer:
        if scope.method != "POST":
            return self._receiver.refuse(answers.METHOD, began_ns)
        headers = scope.headers
        body = await self._bodies.read(protocol, headers)
        if not isinstance(body, bytes):
            return self._receiver.refuse(body, began_ns, connection_id)
        try:
            return await self._receiver.receive(connection_id, headers, body, began_ns)
        finally:
            self._bodies.release(len(body))

    async def _other(self, method: str, path: str, began_ns: int) -> Answer:
        if method in ("GET", "HEAD"):
            if path == "/livez":
                return _health(*self._live())
            if path == "/readyz":
                return _health(*((False, "stopping") if self.draining else self._ready()))
            if path == "/metrics":
                # Collecting can take milliseconds: not on the loop that webhooks wait for.
                text = await asyncio.get_running_loop().run_in_executor(None, self._metrics)
                content_type = "text/plain; version=0.0.4; charset=utf-8"
                return Answer(200, [("content-type", content_type)], text)
        return self._receiver.refuse(answers.NO_SUCH_PATH, began_ns)


def _health(good: bool, reason: str) -> Answer:
    body = json.dumps({"status": "ok" if good else "failing", "reason": reason})
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return Answer(200 if good else 503, headers, body.encode())
