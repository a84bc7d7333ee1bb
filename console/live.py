"""Server-sent events: pages are told that there is something new, and fetch themselves again.

Bounded: so many listeners, each for so long; one look at the store for all of them together, and
none while nobody listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.concurrency import run_in_threadpool

from consumer.monitor.contract import EventFilter, Questions, RequestFilter

log = logging.getLogger("hookline.console")

MAX_LISTENERS: Final = 100
#: A listener comes again by itself, so that none is forgotten for ever.
MAX_AGE_S: Final = 900.0
LOOK_EVERY_S: Final = 2.0
#: So that proxies do not end a silent stream.
SAY_SOMETHING_S: Final = 15.0


class Live:
    """The listeners of one process. Used on one event loop."""

    def __init__(
        self,
        questions: Questions,
        environment: str,
        *,
        max_listeners: int = MAX_LISTENERS,
        look_every_s: float = LOOK_EVERY_S,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._questions = questions
        self._environment = environment
        self._max_listeners = max_listeners
        self._look_every_s = look_every_s
        self._max_age_s = max_age_s
        self._listeners = 0
        self._version = 0
        self._changed = asyncio.Condition()
        self._looker: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether another listener is one too many."""
        return self._listeners >= self._max_listeners

    @property
    def listeners(self) -> int:
        """How many there are."""
        return self._listeners

    async def stream(self) -> AsyncIterator[bytes]:
        """One listener's bytes: `changed` each time that something is new."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._max_age_s
        self._listeners += 1
        try:
            if self._looker is None or self._looker.done():
                self._looker = asyncio.create_task(self._look())
            seen = self._version
            yield b"retry: 5000\nevent: hello\ndata: \n\n"
            while (left_s := until_s - loop.time()) > 0:
                try:
                    async with asyncio.timeout(min(left_s, SAY_SOMETHING_S)):
                        async with self._changed:
                            await self._changed.wait_for(lambda: self._version > seen)  # noqa: B023
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                seen = self._version
                yield b"event: changed\ndata: %d\n\n" % seen
        finally:
            self._listeners -= 1

    async def _look(self) -> None:
        last: object = None
        failing = False
        while self._listeners:
            try:
                newest = await run_in_threadpool(self._newest)
                failing = False
            # The task's top: pages stay as they are, and the next look tries again.
            except Exception:
                if not failing:
                    log.exception("what is new cannot be seen; trying again")
                failing = True
            else:
                if last is not None and newest != last:
                    async with self._changed:
                        self._version += 1
                        self._changed.notify_all()
                last = newest
            await asyncio.sleep(self._look_every_s)

    def _newest(self) -> tuple[object, object]:
        events = self._questions.events(EventFilter(environment=self._environment), limit=1)
        requests = self._questions.requests(RequestFilter(environment=self._environment), limit=1)
        return events.rows, requests.rows
