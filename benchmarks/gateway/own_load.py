"""A load generator for machines without wrk: raw sockets on asyncio, one request in flight each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle


class Seen:
    """What all connections saw together."""

    def __init__(self) -> None:
        self.latencies_us: list[int] = []
        self.duration_us = 0
        self.refused = 0
        self.broken = 0


class _Connection(asyncio.Protocol):
    def __init__(self, source: Iterator[bytes], seen: Seen) -> None:
        self._source = source
        self._seen = seen
        self._transport: asyncio.Transport
        self._received = b""
        self._sent_ns = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length or 0):
            return
        self._received = b""
        if self.stopped:
            return
        self._seen.latencies_us.append((time.perf_counter_ns() - self._sent_ns) // 1000)
        self._seen.refused += not head.startswith(b"HTTP/1.1 200")
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._seen.broken += not self.stopped

    def end(self) -> None:
        """Send nothing more; an answer that is still to come is not counted."""
        self.stopped = True
        self._transport.close()

    def _send(self) -> None:
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(next(self._source))


async def run(requests: list[bytes], port: int, connections: int, seconds: int) -> Seen:
    """Load the server on this port of loopback for so long."""
    loop = asyncio.get_running_loop()
    seen = Seen()
    source = cycle(requests)
    began_ns = time.perf_counter_ns()
    made = [
        (await loop.create_connection(lambda: _Connection(source, seen), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    seen.duration_us = (time.perf_counter_ns() - began_ns) // 1000
    for connection in made:
        connection.end()
    await asyncio.sleep(0)
    return seen
