"""A real HTTP server on loopback that answers as a test says, down to the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

Answer = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


class Received(msgspec.Struct, frozen=True):
    """One request as it came; header names are lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


class HttpServer:
    """Answers each request with the next of `answers`, the last one for all further."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[Answer] = [status(200)]
        self.connections = 0
        self.port = 0

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # Cancelled at the end of the test: an orderly end, or asyncio would log it.
        with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rows = head.split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (row.partition(":") for row in rows if row)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Received(line, headers, body)
                self.received.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await answer(request, writer)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def http_server(*answers: Answer) -> AsyncIterator[HttpServer]:
    """A running server."""
    server = HttpServer()
    server.answers = list(answers) or server.answers
    running = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = running.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        running.close()


def status(code: int, body: bytes = b"ok", **headers: str) -> Answer:
    """A plain answer; `retry_after="3"` becomes Retry-After."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {code} X\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        writer.write(head.encode() + body)

    return answer


async def silent(_: Received, writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.sleep(30)


async def reset(_: Received, writer: asyncio.StreamWriter) -> None:
    """Drops the connection with a reset."""
    writer.transport.abort()


async def rubbish(_: Received, writer: asyncio.StreamWriter) -> None:
    """Does not speak HTTP."""
    writer.write(b"220 smtp.example ESMTP\r\n\r\n")
    writer.close()


def endless(code: int) -> Answer:
    """A body that never ends, as fast as it is read."""

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()

    return answer


async def drip(_: Received, writer: asyncio.StreamWriter) -> None:
    """200, and then a body that comes a byte at a time for ever."""
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)
