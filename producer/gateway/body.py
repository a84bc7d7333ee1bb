"""Reads a request's body: within its size, within its time, and within the memory for all bodies.

One timer watches all readers; a timer for each costs a tenth of the whole request.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from producer.gateway import answers
from producer.gateway.answers import Refusal

#: A declared body up to this size is read in one go; a larger one must arrive to count.
_WHOLE_BYTES: Final = 64 * 1024
_CHECKS_A_TIMEOUT: Final = 8


class BodyReader:
    """Bounds the bodies of all requests that are not answered yet."""

    def __init__(
        self, *, max_body_bytes: int, max_reading_bytes: int, read_timeout_s: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_body_bytes = max_body_bytes
        self._max_reading_bytes = max_reading_bytes
        self._timeout_s = read_timeout_s
        self._readers: dict[asyncio.Task[Any], float] = {}
        self._watching = False
        self.held_bytes = 0

    async def read(self, protocol: Any, headers: Any) -> bytes | Refusal:
        """The body, or why not. Give its size to `release` when the request is answered."""
        declared = _declared_bytes(headers)
        if declared is not None and declared > self._max_body_bytes:
            return answers.TOO_LARGE
        if self.held_bytes + (declared or 0) > self._max_reading_bytes:
            return answers.OVERLOADED
        task = asyncio.current_task()
        assert task is not None
        self._readers[task] = self._loop.time() + self._timeout_s
        if not self._watching:
            self._watching = True
            self._loop.call_later(self._timeout_s / _CHECKS_A_TIMEOUT, self._watch)
        try:
            if declared is None or declared > _WHOLE_BYTES:
                return await self._stream(protocol)
            # The server hands over no more than was declared.
            self.held_bytes += declared
            try:
                whole: bytes = await protocol()
            except BaseException:
                self.held_bytes -= declared
                raise
            self.held_bytes += len(whole) - declared
            return whole
        except asyncio.CancelledError:
            if task in self._readers:
                raise
            task.uncancel()
            return answers.TOO_SLOW
        finally:
            self._readers.pop(task, None)

    def release(self, size_bytes: int) -> None:
        """A body is no longer needed."""
        self.held_bytes -= size_bytes

    async def _stream(self, protocol: Any) -> bytes | Refusal:
        parts: list[bytes] = []
        size_bytes = 0
        try:
            async for part in protocol:
                size_bytes += len(part)
                self.held_bytes += len(part)
                if size_bytes > self._max_body_bytes:
                    refusal = answers.TOO_LARGE
                elif self.held_bytes > self._max_reading_bytes:
                    refusal = answers.OVERLOADED
                else:
                    parts.append(part)
                    continue
                self.held_bytes -= size_bytes
                return refusal
        except BaseException:
            self.held_bytes -= size_bytes
            raise
        return b"".join(parts)

    def _watch(self) -> None:
        now_s = self._loop.time()
        # Oldest first, since all have the same time-out.
        late = []
        for task, until_s in self._readers.items():
            if until_s > now_s:
                break
            late.append(task)
        for task in late:
            # Out of the table before it is cancelled: so `read` knows why.
            del self._readers[task]
            task.cancel()
        if self._readers:
            self._loop.call_later(self._timeout_s / _CHECKS_A_TIMEOUT, self._watch)
        else:
            self._watching = False


def _declared_bytes(headers: Any) -> int | None:
    """Content-Length, or None when the body comes in chunks (or not at all)."""
    if headers.get("transfer-encoding") is not None:
        return None
    declared = headers.get("content-length")
    # The server has refused what is not a number; isascii keeps other scripts' digits out.
    if declared is None or not (declared.isascii() and declared.isdigit()):
        return None
    return int(declared[:18])
