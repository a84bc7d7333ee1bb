"""What another system sends, never more of it than fits: head, body, and the body inflated."""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import httpcore

from producer.outgoing.answers import FailureKind, OutgoingFailure

#: Everything before the body, interim answers (1xx) too. Where so much came and it is not whole, no
#: more is read; what is read at once may hold some of the body already.
MAX_HEAD_BYTES: Final = 64 * 1024
#: A body in chunks of one byte takes six bytes for each.
_FRAMING: Final = 6
#: Each costs the parser some 50 µs, however little is in it.
MAX_PARTS: Final = 20_000
#: Read at once: what comes of it is parsed without a break for others on the event loop.
_READ_BYTES: Final = 16 * 1024
_BEGINNING: Final = b"HTTP/"
#: zlib's window bits: 16 more is gzip's frame (RFC 1952). We ask for gzip only.
_WINDOW_BITS: Final = MappingProxyType({"gzip": 31, "x-gzip": 31, "deflate": 15})


class BoundedStream(httpcore.AsyncNetworkStream):
    """A connection that gives at most so many bytes, and only of what begins like HTTP."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._came_bytes = 0
        self._max_bytes = MAX_HEAD_BYTES
        self._beginning = b""
        #: The other side has ended it; what is broken then is not its grammar.
        self.ended = False

    def expect_body(self, max_body_bytes: int) -> None:
        """The head is there: from here on the body counts, with what frames it."""
        self._max_bytes = self._came_bytes + max_body_bytes * _FRAMING + MAX_HEAD_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._came_bytes >= self._max_bytes:
            raise too_large(self._host)
        got = await self._stream.read(min(max_bytes, _READ_BYTES), timeout)
        self.ended = not got
        self._came_bytes += len(got)
        if len(self._beginning) < len(_BEGINNING):
            self._beginning = (self._beginning + got)[: len(_BEGINNING)]
            if not _BEGINNING.startswith(self._beginning):
                # Said at once: a server of another protocol may wait for us until the deadline.
                raise OutgoingFailure(
                    FailureKind.NOT_HTTP,
                    f"what answers at {self._host} does not speak HTTP: is the port right?",
                    self._host,
                )
        return got

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        raise NotImplementedError("TLS is begun before there is HTTP")

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Body:
    """Puts a body together, inflating it, up to `max_bytes` of either, in `MAX_PARTS` at most."""

    def __init__(self, headers: Mapping[str, str], max_bytes: int, host: str) -> None:
        self._host = host
        self._max_bytes = max_bytes
        self._came_bytes = 0
        self.parts = 0
        self._plain = bytearray()
        coding = headers.get("content-encoding", "").strip().lower()
        self._coding = "" if coding == "identity" else coding
        self._inflate: Any = None

    def take(self, part: bytes) -> None:
        """OutgoingFailure where it is too large or not what its Content-Encoding says."""
        if not part:
            return
        self.parts += 1
        self._came_bytes += len(part)
        if self._came_bytes > self._max_bytes or self.parts > MAX_PARTS:
            raise too_large(self._host)
        if not self._coding:
            self._plain += part
            return
        if self._inflate is None:
            bits = _WINDOW_BITS.get(self._coding)
            if bits is None:
                raise self._unreadable("is compressed in a way that it was not asked for")
            self._inflate = zlib.decompressobj(bits)
        elif self._inflate.eof:
            # Nor a second member: a million empty ones in a row are a bomb of another kind.
            raise self._unreadable("has something behind its compressed part")
        # One byte more shows that it is too large; the rest of a bomb is never made.
        room = self._max_bytes - len(self._plain) + 1
        try:
            self._plain += self._inflate.decompress(part, room)
        except zlib.error:
            raise self._unreadable("is not compressed as it claims") from None
        if len(self._plain) > self._max_bytes:
            raise too_large(self._host)
        if self._inflate.unused_data:
            raise self._unreadable("has something behind its compressed part")

    def whole(self) -> bytes:
        """All of it, once the last part was taken."""
        if self._inflate is not None and not self._inflate.eof:
            raise self._unreadable("ends before its compressed part does")
        return bytes(self._plain)

    def _unreadable(self, why: str) -> OutgoingFailure:
        return OutgoingFailure(
            FailureKind.NOT_HTTP, f"the answer of {self._host} {why}; try again", self._host
        )


def too_large(host: str) -> OutgoingFailure:
    """The failure of an answer that is over the bound."""
    return OutgoingFailure(
        FailureKind.TOO_LARGE,
        f"the answer of {host} is larger than any that we expect: is it the right address?",
        host,
    )
