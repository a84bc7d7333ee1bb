"""Real local servers that behave, or misbehave, and what connects in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure
from producer.outgoing.client import OutgoingClient

Handler = Callable[["Conversation"], Awaitable[None]]

_connects: list[tuple[Any, ...]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _connects is not None:
        _connects.append(arguments[1])


# An audit hook cannot be taken away again, so there is one, which is asleep but in `connecting`.
sys.addaudithook(_watch)


@contextlib.contextmanager
def connecting() -> Iterator[list[tuple[Any, ...]]]:
    """All that anything in this process connects to meanwhile, to whatever address."""
    global _connects
    _connects = found = []
    try:
        yield found
    finally:
        _connects = None


class Conversation:
    """One connection at a server: its request's head and content, and the way back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = ""
        self.content = b""

    async def read_request(self) -> None:
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if length := self.header("content-length"):
            self.content = await self.reader.readexactly(int(length))

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} x", f"content-length: {len(body)}", *lines])
        await self.send(head.encode("latin-1") + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """End it by RST and not by FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """What came to it. `names` are the server names of TLS handshakes (SNI)."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.conversations: list[Conversation] = []
        self.names: list[str | None] = []


@contextlib.asynccontextmanager
async def serving(
    handler: Handler,
    *,
    tls: ssl.SSLContext | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
    read: bool = True,
) -> AsyncIterator[Server]:
    """A server at `address`; `read`: the handler gets its request read."""
    server = Server()
    if tls is not None:
        tls.sni_callback = lambda _, name, __: server.names.append(name)
    tasks: set[asyncio.Task[Any]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        server.open += 1
        server.most_open = max(server.most_open, server.open)
        conversation = Conversation(reader, writer)
        try:
            if read:
                await conversation.read_request()
            server.conversations.append(conversation)
            await handler(conversation)
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            server.open -= 1
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(converse, address, port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Listener:
    """A port on every local address, IPv4 and IPv6; counts who connects."""

    def __init__(self) -> None:
        self._four = socket.create_server(("0.0.0.0", 0), backlog=512)
        self.port = self._four.getsockname()[1]
        self._six = socket.create_server(("::", self.port), family=socket.AF_INET6, backlog=512)
        for one in (self._four, self._six):
            one.setblocking(False)

    def came(self) -> int:
        """How many connections have come since the last time: the kernel took them, whether or
        not anybody accepted."""
        count = 0
        for one in (self._four, self._six):
            with contextlib.suppress(BlockingIOError):
                while True:
                    one.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        self._four.close()
        self._six.close()


class Names:
    """A resolver of the tests: what each name is answered, the first time, the second time …"""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self._names = {name.replace("_", "-"): answers for name, answers in names.items()}
        self.asked: list[str] = []

    @classmethod
    def of(cls, names: dict[str, tuple[tuple[str, ...], ...]]) -> Names:
        made = cls()
        made._names.update(names)
        return made

    async def __call__(self, host: str) -> Sequence[str]:
        before = self.asked.count(host)
        self.asked.append(host)
        if host not in self._names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self._names[host]
        return answers[min(before, len(answers) - 1)]


async def failing(client: OutgoingClient, url: str, **options: Any) -> OutgoingFailure:
    """The failure of a request that must have one."""
    try:
        answer = await client.request(options.pop("method", "GET"), url, **options)
    except OutgoingFailure as failure:
        return failure
    raise AssertionError(f"{url!r} was answered {answer.status}")


async def kind_of(client: OutgoingClient, url: str, **options: Any) -> FailureKind:
    return (await failing(client, url, **options)).kind


__all__ = [
    "Conversation",
    "Listener",
    "Names",
    "OutgoingAnswer",
    "Server",
    "connecting",
    "failing",
    "kind_of",
    "serving",
]
