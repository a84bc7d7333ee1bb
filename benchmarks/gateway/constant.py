"""The ceiling: the gateway's own server, settings and event loop, around a constant answer.

It reads the body, so what is left out is verification, identification and Kafka. Run as
`python -m benchmarks.gateway.constant PORT`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, cast

import uvloop

from producer.gateway import answers
from producer.gateway.rsgi import GatewayApp
from producer.gateway.server import GatewayServer


class ConstantApp:
    """Answers what an accepted webhook is answered, with the same headers, always the same."""

    def __init__(self) -> None:
        self._answer = answers.accepted(
            "0" * 32, "verify;dur=0.000, encode;dur=0.000, publish;dur=0.000, total;dur=0.000"
        )

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        await protocol()
        answer = self._answer
        protocol.response_bytes(answer.status, answer.headers, answer.body)

    async def drained(self, within_s: float) -> bool:
        """There is nothing to wait for."""
        return True


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    app = cast(GatewayApp, ConstantApp())
    server = GatewayServer(app, host="127.0.0.1", port=port, header_timeout_ms=5_000)
    server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(1.0)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
