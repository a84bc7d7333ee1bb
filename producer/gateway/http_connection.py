"""One HTTP/1.1 connection: requests in, answers out in the same order, everything bounded.

llhttp (by httptools) reads the bytes, strictly. What it leaves open is decided here, by RFC 9112:
limits of head, body and time, `Expect`, `Host`, pipelining, and how a connection ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import httptools
import msgspec

from producer.gateway import answers
from producer.gateway.answers import Refusal
from producer.gateway.bodies import Bodies
from producer.gateway.http_answer import CONTINUE, Dates, encode
from producer.gateway.http_exchange import App, Exchange, split_target

#: No provider needs more.
_MAX_HEAD_BYTES: Final = 128 * 1024
_MAX_HEADERS: Final = 128
#: Requests of one connection that wait for their answers; it is not read from beyond that.
_MAX_PIPELINED: Final = 32
#: A declared body up to this size has its memory at once; of a larger one, what has come counts.
_RESERVED_BYTES: Final = 64 * 1024
#: A head up to this size is not counted as memory.
_FREE_HEAD_BYTES: Final = 8 * 1024
#: So many pieces, and they must hold so much on average: each costs as much as a small body.
_MANY_PIECES: Final = 8_192
_FAIR_PIECE_BYTES: Final = 16
#: After a refusal in the middle of a request: so long is the rest taken and thrown away. To close
#: at once would reset the connection, and the sender would not see the answer.
_LINGER_S: Final = 1.0

_now_ns = time.perf_counter_ns


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long what may take, in seconds."""

    head_s: float
    body_s: float
    idle_s: float


class Server(Protocol):
    """What connections share."""

    app: App
    bodies: Bodies
    limits: HttpLimits
    draining: bool
    now_s: Callable[[], float]
    unix_s: Callable[[], float]
    dates: Dates

    def opened(self, connection: HttpConnection) -> bool: ...
    def closed(self, connection: HttpConnection) -> None: ...
    def settled(self) -> None: ...


class _Refused(Exception):
    """Ends the parser's work on a connection."""


class HttpConnection(asyncio.Protocol):
    """Used by its event loop and the parser only."""

    __slots__ = (
        *("_parser", "_transport", "_waiting", "_reading", "_url", "_body", "_pieces", "_host"),
        *("_head_bytes", "_header_count", "_ended", "_eof", "_lost", "_paused", "_server"),
        *("_reserved", "deadline_s"),
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        #: Requests whose answers are not sent, in order.
        self._waiting: deque[Exchange] = deque()
        #: The request that is being read.
        self._reading: Exchange | None = None
        self._url = b""
        self._body: bytes | bytearray = b""
        self._pieces = 0
        #: Of the memory for all bodies, what this body has.
        self._reserved = 0
        self._host = 0
        self._head_bytes = 0
        self._header_count = 0
        #: Nothing more is read as a request.
        self._ended = False
        self._eof = False
        self._lost = False
        self._paused = False
        #: When what is waited for is too late (the server's clock); 0 while nothing is.
        self.deadline_s = 0.0

    @property
    def bodies(self) -> Bodies:
        """The memory that it takes part in."""
        return self._server.bodies

    @property
    def idle(self) -> bool:
        """Whether no request is read or waits for its answer."""
        return self._reading is None and not self._waiting

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.deadline_s = self._server.now_s() + self._server.limits.head_s
        if not self._server.opened(self):
            self._ended = True
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nobody has to follow an `Upgrade`: the request is answered as it is, and ends it.
            self._end_after_answers()
            return
        except httptools.HttpParserCallbackError:
            if not self._ended:
                self._refuse(answers.FAILED)
            return
        except httptools.HttpParserError:
            if not self._ended:
                self._refuse(answers.BAD_REQUEST)
            return
        if self._ended or self._reading is None or not self._head_bytes:
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(answers.HEAD_TOO_LARGE)
        elif self._head_bytes > _FREE_HEAD_BYTES:
            if self._server.bodies.take(len(data)):
                self._reading.held_bytes += len(data)
            else:
                self._refuse(answers.OVERLOADED)

    def eof_received(self) -> bool:
        # A sender may close its half and still read: what it has sent is answered.
        self._ended = self._eof = True
        if self._reading is not None:
            self._forget_reading()
        if self._waiting:
            self._waiting[-1].close = True
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._ended = True
        self.deadline_s = 0.0
        if self._reading is not None:
            # What it had sent was not taken; it will send again.
            self._forget_reading()
        self._server.closed(self)

    def pause_writing(self) -> None:
        # A sender that does not read its answers.
        self._pause()
        self.deadline_s = self._server.now_s() + self._server.limits.body_s

    def resume_writing(self) -> None:
        self._resume()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._ended:
            raise _Refused
        self._reading = Exchange(self, _now_ns())
        self._url = b""
        self._body = b""
        self._pieces = self._reserved = self._host = self._header_count = 0
        self._head_bytes = 1
        self.deadline_s = self._server.now_s() + self._server.limits.head_s

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > _MAX_HEADERS:
            self._refuse(answers.HEAD_TOO_LARGE)
            raise _Refused
        if not self._head_bytes:
            return  # A trailer: it came behind the body, and proves nothing.
        if len(name) == 4 and name.lower() == b"host":
            self._host += 1
        self._reading.headers.add(name, value)  # type: ignore[union-attr]

    def on_headers_complete(self) -> None:
        exchange, parser, server = self._reading, self._parser, self._server
        assert exchange is not None
        self._head_bytes = 0
        exchange.method = parser.get_method().decode("ascii")
        exchange.path, exchange.query = split_target(self._url)
        version = parser.get_http_version()
        headers = exchange.headers
        length, chunks = headers.get("content-length"), "transfer-encoding" in headers
        # A host too few or too many (3.2), another version, or chunks in one that has none (6.1).
        if self._host != 1 if version == "1.1" else version != "1.0" or chunks:
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
        if "expect" in headers and not self._waiting and version == "1.1":
            self._transport.write(CONTINUE)

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
        if not body:
            self._body = part
            return
        self._pieces += 1
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
        self._reading = None
        self.deadline_s = 0.0
        body = self._body
        exchange.body = body if isinstance(body, bytes) else bytes(body)
        self._body = b""
        exchange.close = not self._parser.should_keep_alive() or self._server.draining
        if exchange.close:
            self._ended = True
        self._waiting.append(exchange)
        if len(self._waiting) >= _MAX_PIPELINED:
            self._pause()
            self.deadline_s = 0.0
        self._server.app.begin(exchange)

    # What the app and the server call.

    def answered(self, exchange: Exchange) -> None:
        """An answer is there: send it and those behind it that waited for it."""
        if exchange.held_bytes:
            self._server.bodies.release(exchange.held_bytes)
            exchange.held_bytes = 0
        waiting = self._waiting
        while waiting and (answer := waiting[0].answer) is not None:
            first = waiting.popleft()
            if self._lost:
                continue
            server = self._server
            close = first.close or (server.draining and not waiting)
            date = server.dates.line(server.unix_s())
            bodiless = first.method == "HEAD"
            self._transport.write(encode(answer, date, close=close, bodiless=bodiless))
            if close:
                self._end()
                break
        if self._server.draining:
            self._server.settled()
        if not waiting and self._reading is None and not self._ended:
            self.deadline_s = self._server.now_s() + self._server.limits.idle_s
        if self._paused and len(waiting) < _MAX_PIPELINED:
            self._resume()

    def late(self) -> None:
        """The deadline has passed."""
        self.deadline_s = 0.0
        if self._reading is not None and not self._head_bytes and not self._ended:
            self._refuse(answers.TOO_SLOW)
        else:
            # Nothing was begun, or not even its head is there: nothing to answer to.
            self._transport.abort()

    def end_if_idle(self) -> None:
        """The server stops: whoever has nothing under way is let go."""
        if self.idle and not self._lost:
            self._transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read any further, and end the connection behind it."""
        exchange = self._reading or Exchange(self, _now_ns())
        self._reading = None
        self._body = b""
        self.deadline_s = 0.0
        self._ended = True
        if exchange.held_bytes:
            self._server.bodies.release(exchange.held_bytes)
            exchange.held_bytes = 0
        exchange.close = True
        self._waiting.append(exchange)
        self._server.app.refuse(exchange, refusal)

    def _end_after_answers(self) -> None:
        self._ended = True
        if self._waiting:
            self._waiting[-1].close = True
        else:
            self._end()

    def _forget_reading(self) -> None:
        exchange = self._reading
        assert exchange is not None
        self._reading = None
        self._body = b""
        if exchange.held_bytes:
            self._server.bodies.release(exchange.held_bytes)

    def _end(self) -> None:
        """Close behind the last answer, when the sender has seen it."""
        self._ended = True
        self._waiting.clear()
        if self._lost:
            return
        if self._eof:
            self._transport.close()
            return
        self._resume()
        self._transport.write_eof()
        self.deadline_s = self._server.now_s() + _LINGER_S

    def _pause(self) -> None:
        if not self._paused and not self._lost:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._paused or self._lost:
            return
        self._paused = False
        self._transport.resume_reading()
        if not self._ended:
            limits = self._server.limits
            wait_s = limits.head_s if self._head_bytes else limits.body_s
            if self._reading is None:
                wait_s = limits.idle_s
            self.deadline_s = 0.0 if self._waiting else self._server.now_s() + wait_s
