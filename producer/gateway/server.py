"""Granian in our own event loop: it listens, and stops without dropping what it has taken.

One process and one Python thread serve requests; sockets and HTTP parsing are Granian's own.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import closing
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from producer.gateway.rsgi import GatewayApp
from schemas.errors import ConfigurationError

log = logging.getLogger("hookline.gateway")

_BACKLOG: Final = 1024
#: Connections served at a time; more wait in the backlog. Bounds sockets and read buffers.
_MAX_CONNECTIONS: Final = 4096
#: Holds the header block, which no provider needs more of; hyper answers 431 beyond it.
_MAX_BUFFER_BYTES: Final = 128 * 1024

# Granian's own lines go the way of all other loggers', and only when it has a failure to tell.
_LOGGERS: Final[dict[str, Any]] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


class GatewayServer:
    """Serves the application from `serve` until `stop`."""

    def __init__(self, app: GatewayApp, *, host: str, port: int, header_timeout_ms: int) -> None:
        """A request's header block must come within `header_timeout_ms`, or it is cut off."""
        self._app = app
        self._host = host
        self._port = port
        self._stopping = False
        self._server = Server(
            app,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_MAX_CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=header_timeout_ms, max_buffer_size=_MAX_BUFFER_BYTES
            ),
            log_level=LogLevels.error,
            log_dictconfig=_LOGGERS,
        )

    async def serve(self) -> None:
        """Answer until `stop`; ConfigurationError if the address cannot be listened on."""
        _check_free(self._host, self._port)
        await self._server.serve()

    async def stop(self, within_s: float) -> bool:
        """Take no more connections and let running requests end; False if some did not."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        self._app.draining = True
        self._server.stop()
        while self._app.in_flight:
            if asyncio.get_running_loop().time() > deadline_s:
                return False
            await asyncio.sleep(0.01)
        return True


def _check_free(host: str, port: int) -> None:
    # Granian binds with SO_REUSEPORT, so that a second gateway on the port would silently take
    # half of the connections.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"gateway.listen: {host}:{port} cannot be listened on ({error.strerror or error}); "
            "choose another port or stop what uses it"
        ) from error
