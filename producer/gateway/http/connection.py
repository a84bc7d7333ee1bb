"""One HTTP/1.1 connection: requests in, answers out in the same order, everything bounded.

llhttp (by httptools) reads the bytes, strictly. What it leaves open is decided here, by RFC 9112:
time, pipelining, and how a connection ends; of a single request, `http_parsing`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from producer.gateway import answers
from producer.gateway.answers import Refusal
from producer.gateway.http.answer import CONTINUE, encode
from producer.gateway.http.exchange import Exchange, Server
from producer.gateway.http.parsing import RequestParser, now_ns

#: Requests of one connection that wait for their answers; it is not read from beyond that.
_MAX_PIPELINED: Final = 32
#: Fed to the parser at a time, so that it stops soon after such a bound is reached.
_SLICE_BYTES: Final = 8 * 1024
#: After a refusal in the middle of a request: so long is the rest taken and thrown away. To close
#: at once would reset the connection, and the sender would not see the answer.
_LINGER_S: Final = 1.0

log = logging.getLogger("hookline.gateway")


class HttpConnection(RequestParser, asyncio.Protocol):
    """Used by its event loop and the parser only."""

    __slots__ = (
        *("_eof", "_feeding", "_lost", "_paused", "_transport", "_unfed", "_waiting"),
        "_write_paused",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._transport: asyncio.Transport
        #: Requests whose answers are not sent, in order.
        self._waiting: deque[Exchange] = deque()
        #: What was read and is not parsed yet; it is not read from meanwhile.
        self._unfed = b""
        self._feeding = False
        self._eof = False
        self._lost = False
        self._paused = False
        self._write_paused = False

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
        if self._unfed:
            # One more read than was asked for.
            self._unfed += data
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        # A sender may close its half and still read: what it has sent is answered.
        self._ended = self._eof = True
        if self._reading is not None:
            self._forget_reading()
        if self._waiting:
            self._waiting[-1].close = True
            if not self._write_paused:
                self.deadline_s = 0.0
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
        self._write_paused = True
        self._pause()
        self.deadline_s = self._server.now_s() + self._server.limits.body_s

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._ended:
            self.deadline_s = 0.0 if self._waiting else self._server.now_s() + _LINGER_S
        else:
            self._go_on()

    def _feed(self, data: bytes) -> None:
        """Parse, until as many requests wait as may."""
        self._feeding = True
        at = 0
        while at < len(data) and not self._ended:
            if self._write_paused or len(self._waiting) >= _MAX_PIPELINED:
                self._unfed = data[at:]
                self._pause()
                if not self._write_paused:
                    self.deadline_s = 0.0
                break
            part = data if len(data) <= _SLICE_BYTES else data[at : at + _SLICE_BYTES]
            at += len(part)
            self._parse(part)
        self._feeding = False

    def _go_on(self) -> None:
        """Read on, if nothing is in the way."""
        if self._feeding or self._ended or self._write_paused:
            return
        if len(self._waiting) >= _MAX_PIPELINED:
            return
        if self._unfed:
            data, self._unfed = self._unfed, b""
            self._feed(data)
            if self._unfed or self._ended:
                return
        now_s, limits = self._server.now_s(), self._server.limits
        if self._paused:
            self._resume()
            if self._reading is not None:
                wait_s = limits.head_s if self._head_bytes else limits.body_s
                self.deadline_s = now_s + wait_s
        if self._reading is None:
            self.deadline_s = 0.0 if self._waiting else now_s + limits.idle_s

    # What the parser calls.

    def _complete(self, exchange: Exchange) -> None:
        self._waiting.append(exchange)
        self._server.app.begin(exchange)

    def _go_ahead(self) -> None:
        if not self._waiting:
            self._transport.write(CONTINUE)

    # What the app and the server call.

    def answered(self, exchange: Exchange) -> None:
        """An answer is there: send it and those behind it that waited for it."""
        if exchange.held_bytes:
            self._server.bodies.release(exchange.held_bytes)
            exchange.held_bytes = 0
        waiting = self._waiting
        while waiting and (answer := waiting[0].answer) is not None:
            first = waiting[0]
            if self._lost:
                waiting.popleft()
                continue
            server = self._server
            close = first.close or (server.draining and len(waiting) == 1)
            date = server.dates.line(server.unix_s())
            bodiless = first.method == "HEAD"
            try:
                data = encode(answer, date, close=close, bodiless=bodiless)
            # A fault of ours. Without this the next answer would be taken for this one.
            except (UnicodeEncodeError, KeyError) as error:
                log.error(
                    "an answer cannot be sent", extra={"data": {"error": type(error).__name__}}
                )
                self._transport.abort()
                return
            waiting.popleft()
            self._transport.write(data)
            if close:
                self._end()
                break
        if self._server.draining:
            self._server.settled()
        self._go_on()

    def late(self) -> None:
        """The deadline has passed."""
        self.deadline_s = 0.0
        if self._ended or self._write_paused:
            self._transport.abort()
        elif self._reading is not None and not self._head_bytes:
            self._refuse(answers.TOO_SLOW)
        elif self._waiting:
            # The head of the next one does not come; those before it are answered.
            self._forget_reading()
            self._end_after_answers()
        else:
            # Nothing was begun, or not even its head is there: nothing to answer to.
            self._transport.abort()

    def end_if_idle(self) -> None:
        """The server stops: whoever has nothing under way is let go."""
        if self.idle and not self._lost:
            self._transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        exchange = self._reading or Exchange(self, now_ns())
        self._reading = self._head = None
        self._body = b""
        self.deadline_s = 0.0
        self._ended = True
        self._unfed = b""
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

    def _end(self) -> None:
        """Close behind the last answer, when the sender has seen it."""
        self._ended = True
        self._waiting.clear()
        self._unfed = b""
        if self._lost:
            return
        server = self._server
        slow = self._transport.get_write_buffer_size() > 0
        self.deadline_s = server.now_s() + (server.limits.body_s if slow else _LINGER_S)
        if self._eof:
            self._transport.close()
            return
        self._resume()
        self._transport.write_eof()

    def _pause(self) -> None:
        if not self._paused and not self._lost:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._lost:
            self._paused = False
            self._transport.resume_reading()
