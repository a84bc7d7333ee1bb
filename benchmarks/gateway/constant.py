"""The ceiling: the gateway's own server, settings and event loop, around a constant answer.

It reads the body, so what is left out is verification, identification and Kafka. Run as
`python -m benchmarks.gateway.constant PORT`.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from producer.gateway import answers
from producer.gateway.answers import Refusal
from producer.gateway.http.bodies import Bodies
from producer.gateway.http.exchange import Exchange, HttpLimits
from producer.gateway.http.server import GatewayServer


class ConstantApp:
    """Answers what an accepted webhook is answered, with the same headers, always the same."""

    def __init__(self) -> None:
        self._answer = answers.accepted(
            "0" * 32, "verify;dur=0.000, encode;dur=0.000, publish;dur=0.000, total;dur=0.000"
        )

    def begin(self, exchange: Exchange) -> None:
        """Answer it."""
        exchange.done(self._answer)

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Refuse it."""
        exchange.done(refusal.answer("0" * 32))


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    server = GatewayServer(
        ConstantApp(),
        host="127.0.0.1",
        port=port,
        bodies=Bodies(max_body_bytes=1_048_576, max_held_bytes=134_217_728),
        limits=HttpLimits(head_s=5.0, body_s=10.0, idle_s=75.0),
    )
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(1.0)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
