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
Check = Callable[[], tuple[bool, str]]


class GatewayApp:
    """`/webhooks/{connection}`, `/livez`, `/readyz`, `/metrics`."""

    def __init__(
        self, *, receiver: Receiver, live: Check, ready: Check, metrics: Callable[[], bytes]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._live = live
        self._ready = ready
        self._metrics = metrics
        self.draining = False
        self._collecting: asyncio.Future[bytes] | None = None

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
                if self._collecting is None or self._collecting.done():
                    self._collecting = self._loop.run_in_executor(None, self._metrics)
                self._collecting.add_done_callback(lambda done: self._collected(exchange, done))
                return None
        return exchange.done(self._receiver.refuse(answers.NO_SUCH_PATH, exchange.began_ns))

    def _collected(self, exchange: Exchange, collected: asyncio.Future[bytes]) -> None:
        try:
            text = collected.result()
        except Exception as error:
            exchange.done(self._receiver.failed(error, exchange.began_ns))
        else:
            kind = "text/plain; version=0.0.4; charset=utf-8"
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
