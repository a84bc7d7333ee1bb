"""Handlers without a transaction: async ones on one event loop, others on a bounded pool.

Rule: a run is answered exactly once, through `done`, whatever its handler does.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from consumer.engine.apply_runs import RecordRun, as_failure
from consumer.engine.record import Record, monotonic_ns
from consumer.engine.tracing import ConsumerTracing
from schemas.request_id import current_request_id

Done = Callable[[RecordRun, Exception | None], None]


class ExternalHandlers:
    """Runs external handlers; how many at once is for the caller to bound."""

    def __init__(self, *, threads: int, tracing: ConsumerTracing, done: Done) -> None:
        self._tracing = tracing
        self._done = done
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hookline-handler")
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._counting = threading.Lock()
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
