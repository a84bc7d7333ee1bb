"""A TCP link to a server that can lose an answer, or hold a request back until later."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class FlakyLink:
    """Forwards connections to `port`; what is said is looked at for a marker."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._marker = b""
        self._hold = False
        self._held: list[tuple[socket.socket, bytes]] = []
        self._answered = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_the_answer_to(self, marker: bytes) -> None:
        """The next request that holds `marker` reaches the server; its answer is dropped."""
        self._marker, self._hold = marker, False

    def hold_back(self, marker: bytes) -> None:
        """The next request that holds `marker` waits for `let_go`; its connection is cut."""
        self._marker, self._hold = marker, True

    def let_go(self) -> None:
        """Send what was held back, and wait for the server's answer to it."""
        for server, data in self._held:
            server.sendall(data)
        assert self._answered.wait(10)

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        lose = threading.Event()
        threading.Thread(target=self._answer, args=(server, client, lose), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(1 << 20):
                if self._marker and self._marker in data:
                    self._marker = b""
                    if self._hold:
                        self._held.append((server, data))
                        lose.set()
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    lose.set()
                server.sendall(data)
        if not lose.is_set():
            server.close()

    def _answer(self, server: socket.socket, client: socket.socket, lose: threading.Event) -> None:
        with suppress(OSError):
            while True:
                data = server.recv(1 << 20)
                if not data or lose.is_set():
                    self._answered.set()
                    break
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
