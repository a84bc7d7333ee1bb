"""An HTTP/1.1 client on a bare socket: it sends what it is given, however wrong that is."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Closed(Exception):
    """The server closed the connection without an answer."""


class HttpSocket:
    """One connection."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> HttpSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send it; a server that has closed already may still have an answer to read."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def response(self) -> Response:
        """The next answer, or Closed."""
        try:
            first = self._file.readline()
        except ConnectionResetError:
            raise Closed from None
        if not first:
            raise Closed
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        return Response(int(first.split()[1]), headers, body)

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        with contextlib.suppress(ConnectionResetError):
            return self._file.read()
        return b""

    def closed_after_s(self) -> float:
        """How long until the server closes it without sending anything."""
        began_s = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert self._file.read(1) == b""
        return time.monotonic() - began_s


def head(
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str | bytes]],
    method: str = "POST",
) -> bytes:
    """The request line and the headers, with the empty line at the end."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"host: hookline.test"]
    for name, value in pairs:
        encoded = value if isinstance(value, bytes) else value.encode("latin-1")
        lines.append(name.encode() + b": " + encoded)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunked(body: bytes, size: int = 16_384) -> bytes:
    """The body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def exchange(port: int, data: bytes, timeout_s: float = 10.0) -> Response:
    """One request on a connection of its own."""
    with HttpSocket(port, timeout_s) as connection:
        connection.send(data)
        return connection.response()


def get(port: int, path: str) -> Response:
    """GET it."""
    return exchange(port, head(path, {}, "GET"))
