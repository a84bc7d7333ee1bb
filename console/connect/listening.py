"""A flow's changes as server-sent events: a heartbeat when nothing happens, bounds on all."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from producer.connect.session import SessionRefused
from producer.connect.view import View, view_json
from schemas.errors import HooklineError

log = logging.getLogger("hookline.connect")

MAX_LISTENERS: Final = 150
#: A customer has a page or two, and the streams that a network drop has left behind.
MAX_OF_SESSION: Final = 6
#: The component comes again by itself.
MAX_AGE_S: Final = 900.0
HEARTBEAT_S: Final = 15.0


class Listeners:
    """The open streams of one process. Used on one event loop."""

    def __init__(
        self,
        *,
        max_listeners: int = MAX_LISTENERS,
        max_of_session: int = MAX_OF_SESSION,
        max_age_s: float = MAX_AGE_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._max_listeners = max_listeners
        self._max_of_session = max_of_session
        self._max_age_s = max_age_s
        self._heartbeat_s = heartbeat_s
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    def full(self, session_id: str) -> bool:
        """Whether another stream is one too many, of this session or in all."""
        return len(self) >= self._max_listeners or self._open[session_id] >= self._max_of_session

    async def stream(self, session_id: str, changes: AsyncIterator[View]) -> AsyncIterator[bytes]:
        """The bytes of one: `state` with each view, until the flow or this stream's time ends.

        Empty where it is one too many by now: many may have been let in before one of them began.
        """
        if self.full(session_id):
            return
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._max_age_s
        self._open[session_id] += 1
        # Not wait_for(anext()): that would cancel the iterator at each heartbeat.
        following: asyncio.Future[View] | None = None
        try:
            while (left_s := until_s - loop.time()) > 0:
                if following is None:
                    following = asyncio.ensure_future(_next(changes))
                await asyncio.wait({following}, timeout=min(left_s, self._heartbeat_s))
                if not following.done():
                    yield b": still here\n\n"
                    continue
                view, following = following.result(), None
                yield b"event: state\ndata: " + view_json(view) + b"\n\n"
        except FlowEnded:
            return
        except SessionRefused:
            # The component asks again, and is told.
            return
        except HooklineError as error:
            log.warning("a stream of changes ended", extra={"data": {"error": str(error)}})
        finally:
            self._open[session_id] -= 1
            if self._open[session_id] <= 0:
                del self._open[session_id]
            if following is not None:
                following.cancel()
                with suppress(asyncio.CancelledError, FlowEnded, HooklineError):
                    await following
            close = getattr(changes, "aclose", None)
            if close is not None:
                await close()


class FlowEnded(Exception):
    """The end of an iterator: StopAsyncIteration may not leave a task."""


async def _next(changes: AsyncIterator[View]) -> View:
    try:
        return await anext(changes)
    except StopAsyncIteration:
        raise FlowEnded from None
