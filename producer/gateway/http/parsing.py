"""Reads one request after another from the bytes of a connection, within their bounds.

llhttp (by httptools) reads, strictly. What it leaves open is decided here, by RFC 9112: how large a
head and a body may be and what they may be made of, `Host`, `Expect`, trailers, `Upgrade`.
"""

from __future__ import annotations

import time
from typing import Any, Final

import httptools

from producer.gateway import answers
from producer.gateway.answers import Refusal
from producer.gateway.http.bodies import Bodies
from producer.gateway.http.exchange import Exchange, Server, split_target

#: No provider needs more.
_MAX_HEAD_BYTES: Final = 128 * 1024
_MAX_HEADERS: Final = 128
#: A declared body up to this size has its memory at once; of a larger one, what has come counts.
_RESERVED_BYTES: Final = 64 * 1024
#: A head up to this size is not counted as memory.
_FREE_HEAD_BYTES: Final = 8 * 1024
#: So many pieces, and they must hold so much on average: each costs as much as a small body.
_MANY_PIECES: Final = 8_192
_FAIR_PIECE_BYTES: Final = 16

now_ns = time.perf_counter_ns


class _Refused(Exception):
    """Ends the parser's work on a connection."""


class RequestParser:
    """What a connection and its parser know of the request that is being read."""

    __slots__ = (
        *("_body", "_chunks", "_ended", "_head", "_head_bytes", "_header_count", "_muted"),
        *("_parser", "_pieces", "_reading", "_reserved", "_server", "_silent_bytes", "_url"),
        "deadline_s",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser: Any = httptools.HttpRequestParser(self)
        #: The request that is being read.
        self._reading: Exchange | None = None
        #: Nothing more is read as a request.
        self._ended = False
        #: When what is waited for is too late (the server's clock); 0 while nothing is.
        self.deadline_s = 0.0
        self._url = b""
        self._body: bytes | bytearray = b""
        self._pieces = 0
        #: Of the memory for all bodies, what this body has.
        self._reserved = 0
        self._chunks = False
        #: The lines of a head so far; None outside of one.
        self._head: list[tuple[bytes, bytes]] | None = None
        #: 0 outside of a head.
        self._head_bytes = 0
        self._header_count = 0
        #: Behind a head and without a body: trailers.
        self._silent_bytes = 0
        #: The parser is shown a head that was read before.
        self._muted = False

    def answered(self, exchange: Exchange) -> None:
        """An answer is there."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read any further, and end the connection behind it."""
        raise NotImplementedError

    def _complete(self, exchange: Exchange) -> None:
        """A request is there as a whole."""
        raise NotImplementedError

    def _go_ahead(self) -> None:
        """Its sender waits to be told that it may send the body."""
        raise NotImplementedError

    @property
    def bodies(self) -> Bodies:
        """The memory that it takes part in."""
        return self._server.bodies

    def _parse(self, data: bytes) -> None:
        was_in_head, pieces = self._head_bytes > 0, self._pieces
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError:
            if not self._ended:
                self._refuse(answers.FAILED)
            return
        except httptools.HttpParserError:
            if not self._ended:
                self._refuse(answers.BAD_REQUEST)
            return
        if self._ended or self._reading is None:
            return
        if self._head_bytes:
            if was_in_head:
                self._count_head(len(data))
        elif not was_in_head and pieces == self._pieces:
            self._silent_bytes += len(data)
            if self._silent_bytes > _MAX_HEAD_BYTES:
                self._refuse(answers.BAD_REQUEST)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(answers.HEAD_TOO_LARGE)
        elif self._head_bytes > _FREE_HEAD_BYTES:
            assert self._reading is not None
            if self._server.bodies.take(size):
                self._reading.held_bytes += size
            else:
                self._refuse(answers.OVERLOADED)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Nobody has to follow an `Upgrade`, which Java's client sends with every request.

        The parser ends such a message behind its head. Another one is told how long the body is.
        """
        exchange = self._reading
        if exchange is None:
            return  # No body: it is on its way, and ends the connection.
        length = exchange.headers.get("content-length")
        framing = (
            b"transfer-encoding: chunked"
            if self._chunks
            else b"content-length: %b" % ((length or "0").encode())
        )
        self._parser = httptools.HttpRequestParser(self)
        self._muted = True
        self._parser.feed_data(
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + framing + b"\r\n\r\n"
        )
        self._muted = False
        if rest:
            self._parse(rest)

    def on_message_begin(self) -> None:
        if self._muted:
            return
        if self._ended:
            raise _Refused
        self._reading = Exchange(self, now_ns())
        self._url = b""
        self._body = b""
        self._pieces = self._reserved = self._silent_bytes = 0
        self._head = []
        self._head_bytes = 1
        self.deadline_s = self._server.now_s() + self._server.limits.head_s

    def on_url(self, url: bytes) -> None:
        if not self._muted:
            self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Ten times a request: what can be done once for all of them is.
        head = self._head
        if head is None:
            # A trailer: it came behind the body, and proves nothing.
            self._header_count += not self._muted
            count = self._header_count
        else:
            head.append((name, value))
            count = len(head)
        if count > _MAX_HEADERS:
            self._refuse(answers.HEAD_TOO_LARGE)
            raise _Refused

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        exchange, parser, server = self._reading, self._parser, self._server
        head = self._head
        assert exchange is not None
        assert head is not None
        self._head = None
        self._head_bytes, self._header_count = 0, len(head)
        exchange.method = parser.get_method().decode("ascii")
        exchange.path, exchange.query = split_target(self._url)
        version = parser.get_http_version()
        headers = exchange.headers
        unreadable = headers.fill(head)
        # Also where the value is none that counts.
        hosts = len(headers.get_all("host")) + unreadable.count("host")
        chunks = "transfer-encoding" in headers or "transfer-encoding" in unreadable
        length, self._chunks = headers.get("content-length"), chunks
        # A host too few or too many (3.2), another version, or chunks in one that has none (6.1).
        if hosts != 1 if version == "1.1" else version != "1.0" or chunks:
            self._refuse(answers.BAD_REQUEST)
            raise _Refused
        if length is None and not chunks:
            return
        declared = int(length[:18]) if length is not None and length.isdigit() else 0
        if declared > server.bodies.max_body_bytes:
            self._refuse(answers.TOO_LARGE)
            raise _Refused
        if declared <= _RESERVED_BYTES:
            if not server.bodies.take(declared):
                self._refuse(answers.OVERLOADED)
                raise _Refused
            exchange.held_bytes += declared
            self._reserved = declared
        self.deadline_s = server.now_s() + server.limits.body_s
        if "expect" in headers and version == "1.1":
            self._go_ahead()

    def on_body(self, part: bytes) -> None:
        exchange, bodies, body = self._reading, self._server.bodies, self._body
        assert exchange is not None
        size = len(body) + len(part)
        if size > bodies.max_body_bytes:
            self._refuse(answers.TOO_LARGE)
            raise _Refused
        more = size - self._reserved
        if more > 0:
            if not bodies.take(more):
                self._refuse(answers.OVERLOADED)
                raise _Refused
            exchange.held_bytes += more
            self._reserved = size
        self._pieces += 1
        if not body:
            self._body = part
            return
        if self._pieces > _MANY_PIECES and size < self._pieces * _FAIR_PIECE_BYTES:
            self._refuse(answers.BAD_REQUEST)
            raise _Refused
        # Never a list of pieces: each of them is an object of 33 bytes and more.
        if isinstance(body, bytes):
            self._body = bytearray(body)
        self._body += part

    def on_message_complete(self) -> None:
        exchange = self._reading
        assert exchange is not None
        upgrade = self._parser.should_upgrade()
        if upgrade and exchange.method != "CONNECT" and self._has_body(exchange):
            return  # Only its head is there.
        self._reading = None
        self.deadline_s = 0.0
        body = self._body
        exchange.body = body if isinstance(body, bytes) else bytes(body)
        self._body = b""
        exchange.close = upgrade or not self._parser.should_keep_alive() or self._server.draining
        if exchange.close:
            self._ended = True
        self._complete(exchange)

    def _has_body(self, exchange: Exchange) -> bool:
        return self._chunks or exchange.headers.get("content-length", "0") != "0"

    def _forget_reading(self) -> None:
        exchange = self._reading
        self._reading = self._head = None
        self._body = b""
        if exchange is not None and exchange.held_bytes:
            self._server.bodies.release(exchange.held_bytes)
