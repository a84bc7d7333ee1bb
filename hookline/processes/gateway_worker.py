"""What makes one of several workers of a gateway out of the same settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

from hookline.processes.spool_files import spool_path
from hookline.processes.worker_line import Check, Health, WorkerEnd
from hookline.processes.worker_metrics import labelled
from hookline.settings.loading import Settings

#: Until then a worker that is not ready takes no connections, which the others get; after it, it
#: answers them 503 with Retry-After, as a gateway of one process does.
_LISTEN_ANYWAY_S: Final = 10.0
_LOOK_S: Final = 0.05
#: Beyond the graceful stop: closing what is open elsewhere, and telemetry.
STOP_MARGIN_S: Final = 15.0


class Worker:
    """One worker, from 1; `descriptor` is its end of the line to the supervisor."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.listening = False
        os.set_inheritable(descriptor, False)
        self._line = socket.socket(fileno=descriptor)

    def settings(self, settings: Settings) -> Settings:
        """The same, with files of its own."""
        spool, gateway = settings.spool, settings.gateway
        if spool.path is not None:
            path = spool_path(spool.path, self.number)
            spool = spool.model_copy(update={"path": path})
        if gateway.connections_snapshot is not None:
            snapshot = f"{gateway.connections_snapshot}.worker-{self.number}"
            gateway = gateway.model_copy(update={"connections_snapshot": snapshot})
        return settings.model_copy(update={"spool": spool, "gateway": gateway})

    def metrics(self, page: Callable[[], bytes]) -> Callable[[], bytes]:
        """The page, so that nobody takes one worker's numbers for another's."""
        return lambda: labelled(page(), self.number)

    def answer(
        self,
        *,
        live: Callable[[], Check],
        ready: Callable[[], Check],
        metrics: Callable[[], bytes],
        stop: asyncio.Event,
        shutdown_deadline_s: float,
    ) -> None:
        """Begin to answer the supervisor; when it is gone, `stop` is set."""
        WorkerEnd(
            self._line,
            health=lambda: Health(live(), ready(), self.listening),
            metrics=metrics,
            orphaned=stop.set,
            end_within_s=shutdown_deadline_s + STOP_MARGIN_S,
        ).start()

    async def until_ready(self, ready: Callable[[], Check], stop: asyncio.Event) -> None:
        """Wait until it may take connections."""
        await until_ready(ready, stop, _LISTEN_ANYWAY_S)


async def until_ready(ready: Callable[[], Check], stop: asyncio.Event, within_s: float) -> None:
    """Wait until it is, or is to stop, or the time is over."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while not ready()[0] and not stop.is_set() and loop.time() < until_s:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_S)
