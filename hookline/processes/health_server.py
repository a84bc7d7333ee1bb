"""GET /livez, /readyz and /metrics for a process that serves no HTTP otherwise.

Bounded: a fixed number of connections at a time, each with a fixed time to be done.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from hookline.telemetry.providers import METRICS_CONTENT_TYPE
from schemas.errors import ConfigurationError

MAX_CONNECTIONS: Final = 16
CONNECTION_S: Final = 5.0

#: Whether all is well, and if not, why; it must answer at once and from any thread.
Check = Callable[[], tuple[bool, str]]

_log = logging.getLogger("hookline.health")


class HealthServer:
    """Serves from `start` to `close`, on threads of its own; also a context manager."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        live: Check,
        ready: Check,
        metrics: Callable[[], bytes],
        connection_s: float = CONNECTION_S,
        setting: str = "consumer.listen",
    ) -> None:
        """Binds the port, 0 for any free one; ConfigurationError if that is not possible.

        `setting` is the one that says where to listen.
        """
        try:
            self._server = _Server(host, port, live, ready, metrics, connection_s)
        except OSError as error:
            raise ConfigurationError(
                f"{setting}: {host}:{port} cannot be listened on "
                f"({error.strerror or error}); choose another port or stop what uses it"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="health-server",
            daemon=True,
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> HealthServer:
        """Begin to answer; gives itself back."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening; whoever is being answered is cut off."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> HealthServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # The standard 5 makes a prober wait for a second SYN behind a burst of connections.
    request_queue_size = 4 * MAX_CONNECTIONS

    def __init__(
        self,
        host: str,
        port: int,
        live: Check,
        ready: Check,
        metrics: Callable[[], bytes],
        connection_s: float,
    ) -> None:
        self.checks = {"/livez": live, "/readyz": ready}
        self.metrics = metrics
        self._connection_s = connection_s
        # Open connections and when each must be done, oldest first.
        self._until_s: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which looks the host's name up and may wait for DNS.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            # The oldest goes: a prober must get in, whoever else holds connections open.
            while len(self._until_s) >= MAX_CONNECTIONS:
                self._cut(next(iter(self._until_s)))
            self._until_s[request] = time.monotonic() + self._connection_s
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._until_s.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        # Called between requests, every poll interval at the latest.
        now_s = time.monotonic()
        with self._lock:
            for request in [r for r, until_s in self._until_s.items() if until_s <= now_s]:
                self._cut(request)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            for request in list(self._until_s):
                self._cut(request)

    def _cut(self, request: socket.socket) -> None:
        del self._until_s[request]
        # Its thread's read or write ends at once, and that thread closes the socket; an error
        # means that the other side was faster.
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("A health connection broke off", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "hookline"
    sys_version = ""
    error_content_type = "application/json"
    error_message_format = '{"status":"failing","reason":"HTTP %(code)d"}'

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif (check := self.server.checks.get(path)) is not None:
            self._check(check)
        else:
            self._json(HTTPStatus.NOT_FOUND, False, "only /livez, /readyz and /metrics are here")

    do_HEAD = do_GET

    def _check(self, check: Check) -> None:
        try:
            ok, reason = check()
        except Exception:
            _log.exception("A health check itself failed")
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, False, "the check itself failed")
            return
        self._json(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, ok, reason)

    def _metrics(self) -> None:
        try:
            page = self.server.metrics()
        except Exception:
            _log.exception("The metrics page cannot be made")
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, False, "the metrics cannot be read")
            return
        self._answer(HTTPStatus.OK, METRICS_CONTENT_TYPE, page)

    def _json(self, status: HTTPStatus, ok: bool, reason: str) -> None:
        body = json.dumps({"status": "ok" if ok else "failing", "reason": reason})
        self._answer(status, "application/json", body.encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        # Probes come every few seconds and say nothing.
        pass
