"""How far a follower's thread has read, for those on an event loop who wait for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from schemas.errors import NotAcknowledged

_LOOK_AGAIN_S: Final = 1.0


class Reached:
    """`moved` is called by the follower's thread, the rest on one event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Event()

    def moved(self, next_offset: int) -> None:
        """All below it is known; whoever waits looks again."""
        with self._lock:
            self._offset = max(self._offset, next_offset)
            loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake)

    async def past(self, offset: int, within_s: float) -> None:
        """Wait until the record at this offset is known; NotAcknowledged if that takes too long."""
        try:
            async with asyncio.timeout(within_s):
                while self._offset <= offset:
                    await self.turn()
        except TimeoutError:
            raise NotAcknowledged(
                "a record was written and could not be read back in time; it may be there"
            ) from None

    async def turn(self) -> None:
        """Wait until something more is known, a second at most."""
        self.bind()
        turn = self._turn
        try:
            # What came before this loop was known here has woken nobody.
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await turn.wait()
        except TimeoutError:
            return

    def bind(self) -> None:
        """From now on what is read wakes those who wait on this event loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
