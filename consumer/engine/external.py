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
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from consumer.engine.apply_runs import RecordRun, as_failure, refuse_unawaited
from consumer.engine.record import Record, monotonic_ns
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Partition
from schemas.errors import HandlerError
from schemas.request_id import current_request_id

log = logging.getLogger("hookline.consumer")

#: `look` is called every second; no loop that works is behind by so much.
BLOCKED_S = 5.0

Done = Callable[[RecordRun, Exception | None], None]


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is to be had (not on Windows): it takes two thirds of the time a task."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


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
        self._loop = _new_event_loop()
        #: In the order in which they began.
        self._tasks: dict[RecordRun, asyncio.Task[None]] = {}
        self._overdue: set[RecordRun] = set()
        self._to_start: deque[RecordRun] = deque()
        self._waking = False
        self._running = 0
        self._counting = threading.Lock()
        self._asked_s = self._beat_s = time.monotonic()
        self._told_s = 0.0
        self._loop.call_soon(self._watch)
        self._thread = threading.Thread(
            target=self._run_loop, name="hookline-handlers", daemon=True
        )
        self._thread.start()

    def start(self, run: RecordRun) -> None:
        """Begin the handler of a run's one event."""
        record = run.items[0]
        assert record.handler is not None
        record.started_ns = 0
        if record.handler.is_async:
            # One wake-up of the loop for all that come together: each is a write to a pipe.
            self._to_start.append(run)
            if not self._waking:
                self._waking = True
                self._loop.call_soon_threadsafe(self._start_tasks)
        else:
            context = contextvars.copy_context()
            self._pool.submit(context.run, self._run_sync, run, record)

    def cancel(self, partition: Partition) -> None:
        """Cut off the async handlers of a partition that is no longer ours.

        One on a thread goes on; each still ends in `done`.
        """
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel, partition)

    def _cancel(self, partition: Partition) -> None:
        for run, task in self._tasks.items():
            # Not one that has not begun: its coroutine would end without a word.
            if run.partition == partition and run.items[0].started_ns:
                task.cancel()

    def _watch(self) -> None:
        """Cut off what takes too long. One timer for all: one for each costs 6 µs an event."""
        self._loop.call_later(min(1.0, self._timeout_s / 4), self._watch)
        before_ns = monotonic_ns() - int(self._timeout_s * 1e9)
        for run, task in self._tasks.items():
            started_ns = run.items[0].started_ns
            if not started_ns or started_ns > before_ns:
                break
            self._overdue.add(run)
            task.cancel()

    @property
    def idle(self) -> bool:
        """Whether no handler runs any more; a hint, read from another thread."""
        return self._running == 0 and not self._tasks

    def look(self) -> bool:
        """A chore: say so if a handler keeps the event loop from running. Nothing more to do."""
        now_s = time.monotonic()
        if self._beat_s >= self._asked_s:
            self._asked_s = now_s
            self._loop.call_soon_threadsafe(self._beat)
            return False
        # From when the loop was asked, not from the last look: that may be late itself.
        blocked_s = now_s - self._asked_s
        if blocked_s < BLOCKED_S or self._asked_s == self._told_s:
            return False
        self._told_s = self._asked_s
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

    def _run_loop(self) -> None:
        while True:
            try:
                self._loop.run_forever()
            # From a task that a handler has started, asyncio raises these here as well.
            except (SystemExit, KeyboardInterrupt) as error:
                log.error(
                    "a handler's task tried to end the process",
                    extra={"data": {"error": type(error).__name__}},
                )
            else:
                return

    def _beat(self) -> None:
        self._beat_s = time.monotonic()

    def close(self) -> None:
        """Stop; what still runs is abandoned (it was never marked done, so it runs again)."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _start_tasks(self) -> None:
        # Before it looks: what is added from here on wakes the loop again.
        self._waking = False
        while self._to_start:
            run = self._to_start.popleft()
            self._tasks[run] = self._loop.create_task(self._run_async(run, run.items[0]))

    async def _run_async(self, run: RecordRun, record: Record) -> None:
        handler, event = record.handler, record.event
        assert handler is not None
        assert event is not None
        error: Exception | None = None
        if run.lane.dropped:
            # Cut off before it began.
            del self._tasks[run]
            self._done(run, HandlerError("not called: its partition is no longer ours"))
            return
        current_request_id.set(event.request_id)
        record.started_ns = monotonic_ns()
        try:
            with self._tracing.process(record):
                await record.function(event)
        except BaseException as raised:
            error = as_failure(raised)
            if run in self._overdue:
                self._overdue.discard(run)
                error = TimeoutError(f"the handler was cut off after {self._timeout_s:g} s")
        # It may have ended well in spite of being cut off.
        if self._overdue:
            self._overdue.discard(run)
        record.handled_ns = monotonic_ns()
        # Before it is answered: the next call of the same key may come at once.
        del self._tasks[run]
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
                refuse_unawaited(record.function(event), handler)
        except BaseException as raised:
            error = as_failure(raised)
        record.handled_ns = monotonic_ns()
        self._done(run, error)
