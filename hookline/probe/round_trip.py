"""One request with a stopwatch on each part of its way, over a connection of its own."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from producer.providers.provider import Outgoing

_TIMING: Final = re.compile(r"([a-z]+);dur=(\d+(?:\.\d+)?)")
#: An answer of ours is a few lines.
_MAX_ANSWER_BYTES: Final = 65_536


class RoundTrip(msgspec.Struct, frozen=True, kw_only=True):
    """What a sender sees. `status` is 0 where there was no answer, and `error` says why."""

    status: int = 0
    error: str = ""
    request_id: str = ""
    #: From looking the name up to the answer's last byte.
    total_ms: float = 0.0
    dns_ms: float = 0.0
    connect_ms: float = 0.0
    #: 0 without TLS.
    tls_ms: float = 0.0
    #: From the first byte sent to the answer's headers.
    answer_ms: float = 0.0
    #: The server's own figures, from its Server-Timing.
    server_ms: Mapping[str, float] = {}

    @property
    def network_ms(self) -> float:
        """What of the answer's time is not the server's: the way there and back, and a proxy."""
        return max(0.0, self.answer_ms - self.server_ms.get("total", self.answer_ms))


def post(url: str, sent: Outgoing, timeout_s: float) -> RoundTrip:
    """Send it once, never over a connection that is open already; never raises for the network."""
    marks: dict[str, int] = {}

    def mark(name: str, _: Any) -> None:
        marks[name] = time.perf_counter_ns()

    address = url + (f"?{sent.query}" if sent.query else "")
    # Before the clock starts: what a client costs to make is not the way to the gateway.
    client = httpx.Client(timeout=timeout_s, verify=_tls())
    began_ns = time.perf_counter_ns()
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        resolved_ns = time.perf_counter_ns()
        with (
            client,
            client.stream(
                "POST",
                address,
                content=sent.body,
                headers={"user-agent": "hookline-probe", **sent.headers},
                extensions={"trace": mark},
            ) as answer,
        ):
            size = 0
            for chunk in answer.iter_raw():
                size += len(chunk)
                if size > _MAX_ANSWER_BYTES:
                    break
            ended_ns = time.perf_counter_ns()
            timing = answer.headers.get("server-timing", "")
            return RoundTrip(
                status=answer.status_code,
                request_id=answer.headers.get("x-request-id", ""),
                total_ms=(ended_ns - began_ns) / 1e6,
                dns_ms=(resolved_ns - began_ns) / 1e6,
                connect_ms=_between(marks, "connection.connect_tcp"),
                tls_ms=_between(marks, "connection.start_tls"),
                answer_ms=_between(
                    marks, "http11.send_request_headers", "http11.receive_response_headers"
                ),
                server_ms={name: float(ms) for name, ms in _TIMING.findall(timing)},
            )
    # OSError: the name; HTTPError: everything behind it. Their texts may quote the URL.
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return RoundTrip(
            error=type(error).__name__, total_ms=(time.perf_counter_ns() - began_ns) / 1e6
        )


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _between(marks: Mapping[str, int], first: str, last: str | None = None) -> float:
    began, ended = marks.get(f"{first}.started"), marks.get(f"{last or first}.complete")
    return (ended - began) / 1e6 if began is not None and ended is not None else 0.0
