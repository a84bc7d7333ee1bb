"""What stands before a plain port: TLS, as whoever runs the gateway has it, or a network that can
be cut, as every customer has it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading


class Front:
    """On a port of loopback; what comes is handed on to `target`."""

    def __init__(self, target: int, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._target = target
        self._cut = False
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self.cut()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def cut(self) -> None:
        """Everything that is open ends, and nothing new gets through."""
        self._cut = True
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """It is there again."""
        self._cut = False

    def _accept(self) -> None:
        while True:
            try:
                came, _ = self._listening.accept()
            except OSError:
                return
            if self._cut:
                came.close()
                continue
            threading.Thread(target=self._serve, args=(came,), daemon=True).start()

    def _serve(self, came: socket.socket) -> None:
        with contextlib.suppress(OSError), came:
            came.settimeout(60)
            near = self._context.wrap_socket(came, server_side=True) if self._context else came
            with near, socket.create_connection(("127.0.0.1", self._target), timeout=60) as far:
                self._open |= {near, far}
                try:
                    threading.Thread(target=_pump, args=(near, far), daemon=True).start()
                    _pump(far, near)
                finally:
                    self._open -= {near, far}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
