"""The HTTP side, on Granian's RSGI: routes, and bodies read within bounds of size and time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from producer.gateway import answers
from producer.gateway.answers import Refusal
from producer.gateway.receiver import Receiver

log = logging.getLogger("hookline.gateway")

_WEBHOOKS: Final = "/webhooks/"
Check = Callable[[], tuple[bool, str]]


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class GatewayApp:
    """The RSGI application: `/webhooks/{connection}`, `/livez`, `/readyz`, `/metrics`."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        live: Check,
        ready: Check,
        metrics: Callable[[], bytes],
        max_body_bytes: int,
        max_reading_bytes: int,
        read_timeout_s: float,
    ) -> None:
        """`max_reading_bytes` bounds the bodies of all requests that are not answered yet."""
        self._receiver = receiver
        self._checks = {"/livez": live, "/readyz": ready}
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._max_reading_bytes = max_reading_bytes
        self._read_timeout_s = read_timeout_s
        self._reading_bytes = 0
        self.in_flight = 0

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        began_ns = time.perf_counter_ns()
        path: str = scope.path
        if not path.startswith(_WEBHOOKS):
            await self._other(scope.method, path, protocol, began_ns)
            return
        self.in_flight += 1
        try:
            connection_id = path[len(_WEBHOOKS) :]
            if scope.method != "POST":
                answer = self._receiver.refuse(answers.METHOD, began_ns)
            else:
                headers = scope.headers
                declared = _declared_bytes(headers)
                held = self._hold(declared)
                try:
                    body = await self._body(protocol, declared)
                    answer = await self._receiver.receive(connection_id, headers, body, began_ns)
                except _Refused as refused:
                    answer = self._receiver.refuse(refused.refusal, began_ns, connection_id)
                finally:
                    self._reading_bytes -= held
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        except ProtocolClosed:
            # The sender went away before its request was whole: nothing was taken, nobody waits.
            pass
        # The request's top: a bug must cost one request, and be seen.
        except Exception as error:
            log.error("a request failed", exc_info=error)
            answer = self._receiver.refuse(answers.FAILED, began_ns)
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        finally:
            self.in_flight -= 1

    def _hold(self, declared: int | None) -> int:
        """Count a body against the bound on all bodies in memory, before it is read."""
        held = self._max_body_bytes if declared is None else min(declared, self._max_body_bytes)
        self._reading_bytes += held
        return held

    async def _body(self, protocol: Any, declared: int | None) -> bytes:
        if declared is not None and declared > self._max_body_bytes:
            raise _Refused(answers.TOO_LARGE)
        if self._reading_bytes > self._max_reading_bytes:
            raise _Refused(answers.OVERLOADED)
        try:
            async with asyncio.timeout(self._read_timeout_s):
                if declared is not None:
                    # The server reads no more than was declared.
                    whole: bytes = await protocol()
                    return whole
                parts: list[bytes] = []
                size_bytes = 0
                async for part in protocol:
                    size_bytes += len(part)
                    if size_bytes > self._max_body_bytes:
                        raise _Refused(answers.TOO_LARGE)
                    parts.append(part)
                return b"".join(parts)
        except TimeoutError:
            raise _Refused(answers.TOO_SLOW) from None

    async def _other(self, method: str, path: str, protocol: Any, began_ns: int) -> None:
        check = self._checks.get(path)
        if path == "/metrics" and method == "GET":
            # Collecting can take milliseconds: not on the loop that webhooks wait for.
            text = await asyncio.get_running_loop().run_in_executor(None, self._metrics)
            content_type = "text/plain; version=0.0.4; charset=utf-8"
            protocol.response_bytes(200, [("content-type", content_type)], text)
        elif check is not None and method in ("GET", "HEAD"):
            good, reason = check()
            status = "ok" if good else "failing"
            body = f'{{"status":"{status}","reason":"{reason.translate(_UNQUOTED)}"}}'
            protocol.response_bytes(
                200 if good else 503, [("content-type", "application/json")], body.encode()
            )
        else:
            answer = self._receiver.refuse(answers.NO_SUCH_PATH, began_ns)
            protocol.response_bytes(answer.status, answer.headers, answer.body)


_UNQUOTED: Final = str.maketrans({'"': "'", "\\": "/", "\n": " ", "\r": " ", "\t": " "})


def _declared_bytes(headers: Any) -> int | None:
    """Content-Length, or None when the body comes in chunks (or not at all)."""
    if headers.get("transfer-encoding") is not None:
        return None
    declared = headers.get("content-length")
    # The server has refused what is not a number; isascii keeps other scripts' digits out.
    if declared is None or not (declared.isascii() and declared.isdigit()):
        return None
    return int(declared[:18])
