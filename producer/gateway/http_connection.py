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
from urllib.parse import unquote_to_bytes

import httptools
import msgspec

from producer.gateway import answers
from producer.gateway.answers import Answer, Refusal
from producer.gateway.bodies import Bodies
from producer.gateway.http_answer import CONTINUE, Dates, encode
from producer.gateway.http_headers import RequestHeaders

#: No provider needs more.
_MAX_HEAD_BYTES: Final = 128 * 1024
_MAX_HEADERS: Final = 128
#: Requests of one connection that wait for their answers; it is not read from beyond that.
_MAX_PIPELINED: Final = 32
#: A declared body up to this size has its memory at once; of a larger one, what has come counts.
_RESERVED_BYTES: Final = 64 * 1024
#: After a refusal in the middle of a request: so long is the rest taken and thrown away. To close
#: at once would reset the connection, and the sender would not see the answer.
_LINGER_S: Final = 1.0

_now_ns = time.perf_counter_ns


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long what may take, in seconds."""

    head_s: float
    body_s: float
    idle_s: float


class Exchange:
    """One request, and the place for its answer."""

    __slots__ = (
        *("answer", "began_ns", "body", "close", "connection", "headers", "held_bytes"),
        *("method", "path", "query"),
    )

    def __init__(self, connection: HttpConnection, began_ns: int) -> None:
        self.connection = connection
        self.began_ns = began_ns
        self.headers = RequestHeaders()
        self.method = ""
        self.path = ""
        self.query = ""
        self.body = b""
        self.held_bytes = 0
        self.close = False
        self.answer: Answer | None = None

    def done(self, answer: Answer) -> None:
        """Send the answer, once those to earlier requests are sent."""
        self.answer = answer
        self.connection.answered(self)


class App(Protocol):
    """What answers requests. Neither raises; each calls `exchange.done` once, now or later."""

    def begin(self, exchange: Exchange) -> None:
        """A request is there as a whole."""

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """A request is refused before it is there."""


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
        *("_parser", "_transport", "_waiting", "_reading", "_url", "_parts", "_size", "_host"),
        *("_head_bytes", "_header_count", "_ended", "_eof", "_lost", "_paused", "_server"),
        "deadline_s",
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
        self._parts: list[bytes] = []
        self._size = 0
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
        self._pause()

    def resume_writing(self) -> None:
        self._resume()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._ended:
            raise _Refused
        self._reading = Exchange(self, _now_ns())
        self._url = b""
        self._parts = []
        self._size = self._host = self._header_count = 0
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
        exchange.path, exchange.query = _split(self._url)
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
            exchange.held_bytes = declared
        self.deadline_s = server.now_s() + server.limits.body_s
        if "expect" in headers and not self._waiting and version == "1.1":
            self._transport.write(CONTINUE)

    def on_body(self, part: bytes) -> None:
        exchange, bodies = self._reading, self._server.bodies
        assert exchange is not None
        self._size += len(part)
        if self._size > bodies.max_body_bytes:
            self._refuse(answers.TOO_LARGE)
            raise _Refused
        more = self._size - exchange.held_bytes
        if more > 0:
            if not bodies.take(more):
                self._refuse(answers.OVERLOADED)
                raise _Refused
            exchange.held_bytes += more
        self._parts.append(part)

    def on_message_complete(self) -> None:
        exchange = self._reading
        assert exchange is not None
        self._reading = None
        self.deadline_s = 0.0
        parts = self._parts
        if parts:
            exchange.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts = []
        exchange.close = not self._parser.should_keep_alive() or self._server.draining
        if exchange.close:
            self._ended = True
        self._waiting.append(exchange)
        if len(self._waiting) >= _MAX_PIPELINED:
            self._pause()
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
        self._parts = []
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
        self._parts = []
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
        if self._paused and not self._lost:
            self._paused = False
            self._transport.resume_reading()


def _split(url: bytes) -> tuple[str, str]:
    """Path, decoded, and query, as it is, of a request's target."""
    if not url.startswith(b"/"):
        # RFC 9112, 3.2.2: the absolute form is to be understood, too.
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return "", ""
        path, query = parsed.path or b"", parsed.query or b""
    else:
        path, _, query = url.partition(b"?")
    # An encoded slash is no slash: such a path stays as it is, and leads nowhere.
    if b"%" in path and b"%2f" not in path.lower():
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query.decode("latin-1")
