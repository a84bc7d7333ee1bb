"""One vendor's HTTPS server on loopback, with a certificate for the vendor's own names.

A module beside this one says what is answered; here is how it gets on the wire, or does not.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.outgoing.certificates import Authority
from tests.vendors.delivery import Deliveries
from tests.vendors.misbehaviour import Misbehaviour, scripted

_HUGE_BYTES: Final = 1_000_000_000
_SKEW_S: Final = 1_200
_HANG_S: Final = 120.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came. `headers` are lower case; `query` has the first of each name."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body; None if it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def form(self) -> dict[str, str]:
        """The body as a form; the first of each name."""
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered: `json`, or `text` as HTML."""

    status: int = 200
    json: Any = None
    text: str = ""
    headers: Mapping[str, str] = {}


class Vendor:
    """A server for `hosts` (names, `*.` for all below); subclasses say what it answers."""

    #: The entry of the catalogue.
    system: str
    hosts: tuple[str, ...]
    #: Names whose texts stay what they are when every text has markup: without them it would fail
    #: earlier, at an id that is none.
    kept: frozenset[str] = frozenset()

    def __init__(self, authority: Authority, deliveries: Deliveries) -> None:
        self.deliveries = deliveries
        self.asked: list[Asked] = []
        self._misbehaves: list[tuple[Misbehaviour, str]] = []
        self._behaves = threading.Event()
        self._good = authority.server(*self.hosts)
        self._bad = authority.server("somebody-else.example")
        self._good.sni_callback = self._certificate
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """End it, and whoever hangs on it."""
        self.behave()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, asked: Asked) -> Answer:
        """What the vendor answers."""
        raise NotImplementedError

    def present(self) -> list[str]:
        """The ids of webhooks that are registered now."""
        raise NotImplementedError

    def misbehave(self, how: Misbehaviour, on: str = "") -> None:
        """From now on, where `METHOD /path` holds `on`; until `behave`."""
        self._behaves.clear()
        self._misbehaves.append((how, on))

    @contextlib.contextmanager
    def misbehaving(self, how: Misbehaviour, on: str = "") -> Iterator[None]:
        """For a while."""
        self.misbehave(how, on)
        try:
            yield
        finally:
            self.behave()

    def behave(self) -> None:
        """As it should again; what hangs ends."""
        self._misbehaves.clear()
        self._behaves.set()

    def count(self, what: str) -> int:
        """How many requests there were of which `METHOD /path` holds `what`."""
        return sum(what in f"{one.method} {one.path}" for one in list(self.asked))

    def _certificate(self, sock: Any, name: str | None, context: ssl.SSLContext) -> None:
        if any(how is Misbehaviour.WRONG_CERTIFICATE for how, _ in self._misbehaves):
            sock.context = self._bad

    def wrap(self, raw: socket.socket) -> ssl.SSLSocket:
        """TLS, whose handshake the request's own thread makes."""
        return self._good.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)

    def carry_out(self, asked: Asked, wire: _Wire) -> None:
        """Answer it, in one way or the other."""
        self.asked.append(asked)
        what = f"{asked.method} {asked.path}"
        ways = {how for how, on in self._misbehaves if on in what}
        if Misbehaviour.SLOW in ways:
            self._behaves.wait(_HANG_S)
        if Misbehaviour.HANG in ways:
            self._behaves.wait(_HANG_S)
            wire.reset()
        elif Misbehaviour.HUGE in ways:
            wire.send(Answer(headers={"content-length": str(_HUGE_BYTES)}))
            wire.pour(_HUGE_BYTES)
        elif Misbehaviour.ENDLESS in ways:
            wire.send(Answer(headers={"content-length": ""}))
            wire.pour(1 << 60)
        elif Misbehaviour.HTML in ways:
            wire.send(Answer(text="<!doctype html><title>Sign in</title><h1>Sign in</h1>"))
        elif Misbehaviour.FAILING in ways:
            wire.send(Answer(status=500, text="<h1>Something went wrong</h1>"))
        elif Misbehaviour.LIMITED in ways:
            wire.send(self.limited())
        elif Misbehaviour.ECHO in ways:
            said = {"message": f"not so: {dict(asked.headers)} {asked.body!r}"}
            wire.send(Answer(status=400, json=said, headers={"x-said": said["message"][:4_000]}))
        elif Misbehaviour.REDIRECT in ways:
            inside = {"location": "https://169.254.169.254/latest/meta-data/"}
            wire.send(Answer(status=302, headers=inside))
        elif Misbehaviour.DROP in ways:
            wire.begin_and_reset()
        else:
            answer = self.answer(asked)
            if Misbehaviour.DROP_AFTER in ways:
                wire.begin_and_reset()
                return
            if Misbehaviour.SCRIPTED in ways:
                told = scripted(answer.json, self.kept)
                answer = msgspec.structs.replace(answer, json=told)
            wire.send(answer, _SKEW_S if Misbehaviour.SKEWED in ways else 0)

    def limited(self) -> Answer:
        """Its answer to too many requests."""
        return Answer(status=429, json={"error": "Too many"}, headers={"retry-after": "30"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        super().__init__(("127.0.0.1", 0), _Wire)

    def get_request(self) -> tuple[socket.socket, Any]:
        raw, address = super().get_request()
        return self.vendor.wrap(raw), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is none of the tests' errors."""


class _Wire(BaseHTTPRequestHandler):
    """One request and its answer; the connection ends behind it."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.settimeout(_HANG_S)
            cast(ssl.SSLSocket, self.connection).do_handshake()
            super().handle()

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            host=headers.get("host", "").partition(":")[0],
            path=parts.path,
            query={name: values[0] for name, values in parse_qs(parts.query).items()},
            headers=headers,
            body=self.rfile.read(int(headers.get("content-length") or 0)),
        )
        cast(_Server, self.server).vendor.carry_out(asked, self)

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _any

    def send(self, answer: Answer, behind_s: int = 0) -> None:
        """All of it. A content-length of its own is believed; an empty one is left out."""
        body = answer.text.encode() if answer.json is None else json.dumps(answer.json).encode()
        kind = "text/html; charset=utf-8" if answer.json is None else "application/json"
        headers = {
            "content-type": kind,
            "content-length": str(len(body)),
            "date": formatdate(time.time() - behind_s, usegmt=True),
            "connection": "close",
            **answer.headers,
        }
        self.send_response_only(answer.status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def pour(self, count: int) -> None:
        """So many bytes, or until the client has had enough."""
        piece = b" " * 65_536
        while count > 0:
            self.wfile.write(piece[:count])
            count -= len(piece)

    def begin_and_reset(self) -> None:
        """Half an answer, then RST."""
        self.send_response_only(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b'{"id": 1, ')
        self.reset()

    def reset(self) -> None:
        """End the connection by RST."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raw = socket.socket(fileno=self.connection.detach())
        raw.close()
        raise ConnectionResetError

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked holds credentials."""
