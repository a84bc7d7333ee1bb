"""Routes requests: webhooks to the receiver, probes and scrapers to who knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from producer.gateway import answers
from producer.gateway.answers import Answer, Refusal
from producer.gateway.http.exchange import Exchange
from producer.gateway.receiver import Receiver
from producer.gateway.taken import Taken

_WEBHOOKS: Final = "/webhooks/"
_PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
Check = Callable[[], tuple[bool, str]]


class GatewayApp:
    """`/webhooks/{connection}`, `/livez`, `/readyz`, `/metrics`."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        live: Check,
        ready: Check,
        metrics: Callable[[], bytes],
        open_metrics: Callable[[], bytes] | None = None,
    ) -> None:
        """`open_metrics`: the same in OpenMetrics' format, for those who ask for it."""
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._live = live
        self._ready = ready
        self._pages = {_PLAIN: metrics, _OPEN_METRICS: open_metrics or metrics}
        self._has_open_metrics = open_metrics is not None
        self.draining = False
        self._collecting: dict[str, asyncio.Future[bytes]] = {}

    def begin(self, exchange: Exchange) -> None:
        """Answer a request, now or when its events are safe."""
        try:
            if exchange.path.startswith(_WEBHOOKS):
                self._webhook(exchange, exchange.path[len(_WEBHOOKS) :])
            else:
                self._other(exchange)
        # The request's top: a bug must cost one request, and be seen.
        except Exception as error:
            exchange.done(self._receiver.failed(error, exchange.began_ns))

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer a request that cannot be taken."""
        path = exchange.path
        connection_id = path[len(_WEBHOOKS) :] if path.startswith(_WEBHOOKS) else ""
        exchange.done(self._receiver.refuse(refusal, exchange.began_ns, connection_id))

    def _webhook(self, exchange: Exchange, connection_id: str) -> None:
        if exchange.method != "POST":
            # A handshake has no body; what was sent as one is not looked at.
            answer = self._receiver.handshake(
                connection_id,
                exchange.method,
                exchange.headers,
                exchange.query,
                exchange.began_ns,
            )
            exchange.done(answer)
            return
        taken = self._receiver.receive(
            connection_id,
            exchange.headers,
            exchange.body,
            exchange.began_ns,
            exchange.query,
            exchange,
        )
        if isinstance(taken, Answer):
            exchange.done(taken)
        else:
            taken.future.add_done_callback(_Done(self._receiver, exchange, taken))

    def _other(self, exchange: Exchange) -> None:
        method, path = exchange.method, exchange.path
        if method in ("GET", "HEAD"):
            if path == "/livez":
                return exchange.done(_health(*self._live()))
            if path == "/readyz":
                return exchange.done(
                    _health(*((False, "stopping") if self.draining else self._ready()))
                )
            if path == "/metrics":
                # Collecting can take milliseconds: not on the loop that webhooks wait for.
                # One collection for all who ask meanwhile.
                asked = exchange.headers.get("accept", "")
                kind = _PLAIN
                if self._has_open_metrics and "application/openmetrics-text" in asked:
                    kind = _OPEN_METRICS
                collecting = self._collecting.get(kind)
                if collecting is None or collecting.done():
                    collecting = self._loop.run_in_executor(None, self._pages[kind])
                    self._collecting[kind] = collecting
                collecting.add_done_callback(lambda done: self._collected(exchange, kind, done))
                return None
        return exchange.done(self._receiver.refuse(answers.NO_SUCH_PATH, exchange.began_ns))

    def _collected(self, exchange: Exchange, kind: str, collected: asyncio.Future[bytes]) -> None:
        try:
            text = collected.result()
        except Exception as error:
            exchange.done(self._receiver.failed(error, exchange.began_ns))
        else:
            exchange.done(answers.document(200, kind, text))


class _Done:
    """Answers when the events of a request are safe, or are not."""

    __slots__ = ("_exchange", "_receiver", "_taken")

    def __init__(self, receiver: Receiver, exchange: Exchange, taken: Taken) -> None:
        self._receiver = receiver
        self._exchange = exchange
        self._taken = taken

    def __call__(self, future: asyncio.Future[Any]) -> None:
        exchange = self._exchange
        try:
            answer = self._taken.answer()
        except Exception as error:
            answer = self._receiver.failed(error, exchange.began_ns)
        exchange.done(answer)


def _health(good: bool, reason: str) -> Answer:
    body = json.dumps({"status": "ok" if good else "failing", "reason": reason})
    return answers.document(200 if good else 503, "application/json", body.encode())
