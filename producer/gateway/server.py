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

_WRITE_S: Final = 0.05
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
    """Serves the application from `start` to `stop`; `serving` ends early if Granian fails."""

    def __init__(self, app: GatewayApp, *, host: str, port: int, header_timeout_ms: int) -> None:
        """A request's header block must come within `header_timeout_ms`, or it is cut off."""
        self.serving: asyncio.Task[None]
        self._app = app
        self._host = host
        self._port = port
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

    def start(self) -> None:
        """Begin to answer; ConfigurationError if the address cannot be listened on."""
        _check_free(self._host, self._port)
        self.serving = asyncio.get_running_loop().create_task(self._server.serve())

    async def stop(self, within_s: float) -> bool:
        """Take no more connections and let running requests end; False if some did not."""
        self._server.stop()  # type: ignore[no-untyped-call]
        drained = await self._app.drained(within_s)
        # The last answers were given to Granian's own thread, which must still write them.
        await asyncio.sleep(_WRITE_S)
        await self.serving
        return drained


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
