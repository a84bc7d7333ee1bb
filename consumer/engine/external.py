"""Handlers without a transaction: async ones on one event loop, others on a bounded pool.

Rule: a run is answered exactly once, through `done`, whatever its handler does.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from consumer.engine.apply_runs import RecordRun, as_failure
from consumer.engine.record import Record, monotonic_ns
from consumer.engine.tracing import ConsumerTracing
from schemas.request_id import current_request_id

log = logging.getLogger("hookline.consumer")

#: `look` is called every second; no loop that works is behind by so much.
BLOCKED_S = 5.0

Done = Callable[[RecordRun, Exception | None], None]


class ExternalHandlers:
    """Runs external handlers; how many at once is for the caller to bound."""

    def __init__(
        self, *, threads: int, timeout_s: float, tracing: ConsumerTracing, done: Done
    ) -> None:
        """`timeout_s`: an async handler that takes longer has failed, for now."""
        self._timeout_s = timeout_s
        self._tracing = tracing
        self._done = done
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hookline-handler")
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._counting = threading.Lock()
        self._beat_s = time.monotonic()
        self._told_s = 0.0
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="hookline-handlers", daemon=True
        )
        self._thread.start()

    def start(self, run: RecordRun) -> None:
        """Begin the handler of a run's one event."""
        record = run.items[0]
        assert record.handler is not None
        if record.handler.is_async:
            self._loop.call_soon_threadsafe(self._start_task, run, record)
        else:
            context = contextvars.copy_context()
            self._pool.submit(context.run, self._run_sync, run, record)

    @property
    def idle(self) -> bool:
        """Whether no handler runs any more; a hint, read from another thread."""
        return self._running == 0 and not self._tasks

    def look(self) -> bool:
        """A chore: say so if a handler keeps the event loop from running. Nothing more to do."""
        beat_s = self._beat_s
        self._loop.call_soon_threadsafe(self._beat)
        blocked_s = time.monotonic() - beat_s
        if blocked_s < BLOCKED_S or beat_s == self._told_s:
            return False
        self._told_s = beat_s
        frame = sys._current_frames().get(self._thread.ident or 0)
        where = traceback.extract_stack(frame)[-1] if frame else None
        log.warning(
            "a handler blocks the event loop: all other async handlers wait; make it `def`, so "
            "that it runs on a thread, or await what it does",
            extra={
                "data": {
                    "blocked_s": round(blocked_s, 1),
                    "at": f"{where.filename}:{where.lineno} in {where.name}" if where else "",
                }
            },
        )
        return False

    def _beat(self) -> None:
        self._beat_s = time.monotonic()

    def close(self) -> None:
        """Stop; what still runs is abandoned (it was never marked done, so it runs again)."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _start_task(self, run: RecordRun, record: Record) -> None:
        task = self._loop.create_task(self._run_async(run, record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_async(self, run: RecordRun, record: Record) -> None:
        handler, event = record.handler, record.event
        assert handler is not None
        assert event is not None
        error: Exception | None = None
        current_request_id.set(event.request_id)
        record.started_ns = monotonic_ns()
        try:
            with self._tracing.process(record):
                async with asyncio.timeout(self._timeout_s):
                    await record.function(event)
        except BaseException as raised:
            error = as_failure(raised)
        record.handled_ns = monotonic_ns()
        self._done(run, error)

    def _run_sync(self, run: RecordRun, record: Record) -> None:
        with self._counting:
            self._running += 1
        try:
            self._call(run, record)
        finally:
            with self._counting:
                self._running -= 1

    def _call(self, run: RecordRun, record: Record) -> None:
        handler, event = record.handler, record.event
        assert handler is not None
        assert event is not None
        error: Exception | None = None
        current_request_id.set(event.request_id)
        record.started_ns = monotonic_ns()
        try:
            with self._tracing.process(record):
                record.function(event)
        except BaseException as raised:
            error = as_failure(raised)
        record.handled_ns = monotonic_ns()
        self._done(run, error)
