"""Listens, watches the time of all connections, and stops without dropping what it has taken.

One process and one event loop: no request goes from one thread to another (decision 15).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final

from producer.gateway.http.answer import Dates
from producer.gateway.http.bodies import Bodies
from producer.gateway.http.connection import HttpConnection
from producer.gateway.http.exchange import App, HttpLimits
from schemas.errors import ConfigurationError

log = logging.getLogger("hookline.gateway")

_BACKLOG: Final = 2_048
_WRITE_S: Final = 0.05
#: All connections are looked at so many times a second: a timer for each costs each request.
_MAX_LOOK_S: Final = 0.25


class GatewayServer:
    """Serves the app from `start` to `stop`."""

    def __init__(
        self,
        app: App,
        *,
        host: str,
        port: int,
        bodies: Bodies,
        limits: HttpLimits,
        max_connections: int = 20_000,
        share_port: bool = False,
    ) -> None:
        """More than `max_connections` are closed at once; each costs a few KB.

        `share_port`: others of this gateway may listen on it, too, and the kernel spreads the
        connections. Without it a second gateway on the port is told so.
        """
        self._loop = asyncio.get_running_loop()
        self.app = app
        self.bodies = bodies
        self.limits = limits
        self.draining = False
        self.dates = Dates()
        self.now_s = self._loop.time
        self.unix_s = time.time
        self._host = host
        self._port = port
        self._share_port = share_port
        self._max_connections = max_connections
        self._told_full_s = 0.0
        self._connections: set[HttpConnection] = set()
        self._settled = asyncio.Event()
        self._listening: asyncio.Server
        self._look_s = min(_MAX_LOOK_S, limits.head_s / 4, limits.body_s / 4)
        self._looking: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to answer; ConfigurationError if the address cannot be listened on."""
        try:
            self._listening = await self._loop.create_server(
                lambda: HttpConnection(self),
                self._host,
                self._port,
                backlog=_BACKLOG,
                reuse_port=self._share_port,
            )
        except OSError as error:
            raise ConfigurationError(
                f"gateway.listen: {self._host}:{self._port} cannot be listened on "
                f"({error.strerror or error}); choose another port or stop what uses it"
            ) from error
        self._look()

    async def stop(self, within_s: float) -> bool:
        """Take no more connections and let running requests end; False if some did not."""
        self.draining = True
        self._listening.close()
        for connection in list(self._connections):
            connection.end_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, within_s)):
                while self._busy():
                    self._settled.clear()
                    await self._settled.wait()
        # The last answers are on their way to their senders.
        await asyncio.sleep(_WRITE_S)
        if self._looking is not None:
            self._looking.cancel()
        return not self._busy()

    def opened(self, connection: HttpConnection) -> bool:
        """Count a connection in; False if there are too many."""
        if len(self._connections) >= self._max_connections:
            now_s = self._loop.time()
            if now_s - self._told_full_s > 10.0:
                self._told_full_s = now_s
                log.warning(
                    "connections are refused: as many as may be are open",
                    extra={"data": {"max_connections": self._max_connections}},
                )
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: HttpConnection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        self._settled.set()

    def settled(self) -> None:
        """A connection may have nothing under way any more."""
        self._settled.set()

    def _busy(self) -> bool:
        return any(not connection.idle for connection in self._connections)

    def _look(self) -> None:
        now_s = self._loop.time()
        late = [one for one in self._connections if one.deadline_s and one.deadline_s < now_s]
        for connection in late:
            connection.late()
        self._looking = self._loop.call_later(self._look_s, self._look)
