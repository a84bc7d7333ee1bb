"""Names to addresses, by the system's resolver, without a thread that nobody bounds.

`getaddrinfo` cannot be interrupted: where a name server hangs, its thread outlives the request. So
there are at most so many threads, they are daemons (a hanging one does not keep the process from
ending), and a lookup that finds no place waits on the event loop, where a deadline reaches it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

#: All addresses of a name as text; OSError (socket.gaierror) where there are none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]


class SystemResolver:
    """`getaddrinfo`, at most `max_lookups` at once. Belongs to one event loop."""

    def __init__(self, max_lookups: int = 16) -> None:
        self._places = asyncio.Semaphore(max_lookups)

    async def __call__(self, host: str) -> Sequence[str]:
        """The addresses of `host` in the order to try them in; OSError or UnicodeError."""
        loop = asyncio.get_running_loop()
        await self._places.acquire()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(found: list[str], error: Exception | None) -> None:
            # Only now, not when the asker has gone: the place is the thread's.
            self._places.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found: list[str] = []
            error: Exception | None = None
            try:
                rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                found = list(dict.fromkeys(str(row[4][0]) for row in rows))
            except (OSError, UnicodeError) as caught:
                error = caught
            # The loop may have ended meanwhile: then nobody asks any more.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, found, error)

        try:
            threading.Thread(target=look_up, name="outgoing-dns", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self._places.release()
            raise OSError(str(error)) from error
        return await answer
