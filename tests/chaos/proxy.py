"""A TCP proxy before a broker: it can lose the broker's answers, or hold each for a while."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any

from tests.parts.process import free_port


class Proxy:
    """Runs on a thread of its own, between `with` and its end."""

    def __init__(self) -> None:
        self.port = free_port()
        self.upstream = 0
        #: What the broker sends is swallowed.
        self.mute = False
        #: So long is each piece of what the broker sends held.
        self.delay_s = 0.0
        self.swallowed_bytes = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> None:
        """Break all connections off."""
        self._call(self._cut())

    async def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _listen(self) -> None:
        await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, up_writer)
        self._open.update(pair)
        for task in (
            self._loop.create_task(self._pump(reader, up_writer, pair, False)),
            self._loop.create_task(self._pump(up_reader, writer, pair, True)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, ...],
        answers: bool,
    ) -> None:
        held: deque[bytes] = deque()
        try:
            while data := await reader.read(65_536):
                if answers and self.mute:
                    self.swallowed_bytes += len(data)
                    continue
                # Never before what came earlier, also when the delay has just ended.
                if held or (answers and self.delay_s):
                    held.append(data)
                    self._loop.call_later(self.delay_s, _write_next, writer, held)
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            for one in pair:
                self._open.discard(one)
                one.transport.abort()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


def _write_next(writer: asyncio.StreamWriter, held: deque[bytes]) -> None:
    data = held.popleft()
    if not writer.transport.is_closing():
        writer.write(data)
