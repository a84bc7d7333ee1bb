"""One request, the place for its answer, and who answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

import httptools
import msgspec

from producer.gateway.answers import Answer, Refusal
from producer.gateway.http.answer import Dates
from producer.gateway.http.bodies import Bodies
from producer.gateway.http.headers import RequestHeaders


class Exchange:
    """One request, and the place for its answer."""

    __slots__ = (
        *("answer", "began_ns", "body", "close", "connection", "headers", "held_bytes"),
        *("method", "path", "query"),
    )

    def __init__(self, connection: Connection, began_ns: int) -> None:
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

    def hold(self, more_bytes: int) -> bool:
        """Count so much more memory in until it is answered; False if there is no room."""
        if not self.connection.bodies.take(more_bytes):
            return False
        self.held_bytes += more_bytes
        return True

    def done(self, answer: Answer) -> None:
        """Send the answer, once those to earlier requests are sent. Only the first counts."""
        if self.answer is not None:
            return
        self.answer = answer
        self.connection.answered(self)


class Connection(Protocol):
    """Where a request came from."""

    @property
    def bodies(self) -> Bodies: ...
    def answered(self, exchange: Exchange) -> None: ...


class App(Protocol):
    """What answers requests. Neither raises; each calls `exchange.done` once, now or later."""

    def begin(self, exchange: Exchange) -> None:
        """A request is there as a whole."""

    def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """A request is refused before it is there."""


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

    def opened(self, connection: Any) -> bool: ...
    def closed(self, connection: Any) -> None: ...
    def settled(self) -> None: ...


#: What was split before; few, and the same in nearly all requests.
_targets: Final[dict[bytes, tuple[str, str]]] = {}
_TARGETS_KEPT: Final = 2_048
_LONGEST_TARGET: Final = 128


def split_target(url: bytes) -> tuple[str, str]:
    """Path, decoded, and query, as it is, of a request's target."""
    known = _targets.get(url)
    if known is None:
        known = _split(url)
        # A sender may make up targets without end, and a query is seldom the same twice.
        if not known[1] and len(url) <= _LONGEST_TARGET:
            if len(_targets) >= _TARGETS_KEPT:
                _targets.clear()
            _targets[url] = known
    return known


def _split(url: bytes) -> tuple[str, str]:
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
