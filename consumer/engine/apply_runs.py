"""The effects of one group commit: every event of its runs, each call in a savepoint.

Nothing here survives by itself: what is gathered (`done_ids`, `parks`, …) is written by the
group commit in the same transaction.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, Final

import msgspec

from consumer.core.disposition import Outcome
from consumer.core.lanes import Run
from consumer.core.staleness import Applied, Stale, is_stale, newest
from consumer.engine.record import BEHIND, Record, monotonic_ns, traceparent_of
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handler
from consumer.stores.contract import GroupCommit, Letter, Partition
from schemas.errors import HandlerError, PermanentError, StoreError, TransactionEnded
from schemas.request_id import current_request_id

RecordRun = Run[Partition, Record]

#: For how long one transaction goes on calling handlers; the store's lock is held meanwhile.
_EFFECTS_NS: Final = 200_000_000


class RunResult(msgspec.Struct):
    """How far a run came: an outcome for each done event, and what stopped the next one."""

    run: RecordRun
    outcomes: list[Outcome]
    error: Exception | None = None


class Effects:
    """Applies runs in one open transaction.

    Events for a batch handler are gathered over several runs and given the outcome `applied` in
    advance; when their call fails, that is taken back and each is handled by itself.
    """

    def __init__(
        self,
        commit: GroupCommit,
        *,
        seen: set[bytes],
        applied: Mapping[bytes, Applied],
        tracing: ConsumerTracing,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._commit = commit
        self._seen = seen
        self._before = applied
        self._tracing = tracing
        self._loop = loop
        self._now_ns = 0
        self._until_ns = monotonic_ns() + _EFFECTS_NS
        self._singly: set[str] = set()
        self._gathered: list[Record] = []
        self._gathered_ids: set[bytes] = set()
        #: The runs of what is gathered, and how many outcomes each had before.
        self._gathered_of: list[tuple[RunResult, int]] = []
        #: Ids that are done once this commits, in order.
        self.done_ids: dict[bytes, None] = {}
        #: What is applied to resources once this commits.
        self.applied: dict[bytes, Applied] = {}
        self.letters: list[Letter] = []
        self.parks: list[Record] = []
        self.unparks: list[tuple[Partition, bytes, int]] = []

    def apply(self, runs: Sequence[RecordRun]) -> list[RunResult]:
        """Apply runs in turn."""
        results = [RunResult(run, []) for run in runs]
        for result in results:
            if self._now_ns > self._until_ns:
                break
            self._apply_run(result)
        self._call_gathered()
        return results

    def _run_async(self, coroutine: Any) -> None:
        loop = self._loop
        try:
            loop.run_until_complete(coroutine)
        finally:
            # What the handler has left running would go on in another event's savepoint.
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def _apply_run(self, result: RunResult) -> None:
        items, outcomes = result.run.items, result.outcomes
        while result.error is None and len(outcomes) < len(items):
            if self._now_ns > self._until_ns and not self._gathered:
                # One slow key must not hold up all others: the rest comes in the next batch.
                return
            record = items[len(outcomes)]
            handler = record.handler
            if (
                handler is not None
                and handler.batch_size
                and not record.parked_at_ms
                and not record.park_reason
                and record.letter is None
                and handler.pattern not in self._singly
            ):
                self._gather(result, record, handler)
            elif self._gathered_of and self._gathered_of[-1][0] is result:
                # Order: what is gathered of this run comes first, and may stop it.
                self._call_gathered()
            else:
                self._apply_record(result, record)

    def _gather(self, result: RunResult, record: Record, handler: Handler) -> None:
        dedupe_id, gathered = record.dedupe_id, self._gathered
        if dedupe_id in self._seen or dedupe_id in self.done_ids or dedupe_id in self._gathered_ids:
            result.outcomes.append(Outcome.DUPLICATE)
            return
        of = self._gathered_of
        mine = bool(of) and of[-1][0] is result
        if gathered and (
            gathered[0].handler is not handler
            or len(gathered) >= handler.batch_size
            # Whether it is stale depends on those before it.
            or (mine and record.resource_id)
        ):
            self._call_gathered()
            return
        if record.resource_id and handler.stale is Stale.SKIP and self.stale(record):
            self._done(record, Outcome.STALE)
            result.outcomes.append(Outcome.STALE)
            return
        if not mine:
            of.append((result, len(result.outcomes)))
        gathered.append(record)
        self._gathered_ids.add(dedupe_id)
        result.outcomes.append(Outcome.APPLIED)

    def _call_gathered(self) -> None:
        records, results = self._gathered, self._gathered_of
        if not records:
            return
        self._gathered, self._gathered_of = [], []
        self._gathered_ids.clear()
        handler = records[0].handler
        assert handler is not None
        error = self._call(handler.function, [r.event for r in records], handler, records)
        if error is None:
            for record in records:
                self.done_ids[record.dedupe_id] = None
                if record.resource_id:
                    self.note_applied(record)
            return
        for result, before in results:
            del result.outcomes[before:]
        if len(records) == 1:
            results[0][0].error = error
            return
        # One of them is at fault: lists of one find out which.
        self._singly.add(handler.pattern)
        for result, _ in results:
            self._apply_run(result)

    def _apply_record(self, result: RunResult, record: Record) -> None:
        if record.problem is not None and record.letter is None:
            result.error = record.problem
            return
        outcome = self._without_handler(record)
        if outcome is None:
            outcome = self._handle(result, record)
            if outcome is None:
                # The later events of the lane wait: order.
                return
        self._done(record, outcome)
        result.outcomes.append(outcome)
        if outcome is Outcome.PARKED:
            # Order: what is behind it in this run is parked behind it.
            for later in result.run.items[len(result.outcomes) :]:
                later.park_reason = later.park_reason or BEHIND

    def _handle(self, result: RunResult, record: Record) -> Outcome | None:
        handler, event = record.handler, record.event
        assert handler is not None
        assert event is not None
        record.refetch = handler.stale is Stale.REFETCH and self.stale(record)
        token = current_request_id.set(event.request_id)
        argument = [event] if handler.batch_size else event
        try:
            result.error = self._call(record.function, argument, handler, [record])
        finally:
            current_request_id.reset(token)
        if result.error is not None:
            return None
        return Outcome.REFETCHED if record.refetch else Outcome.APPLIED

    def mark(self, record: Record) -> Outcome:
        """An external handler has succeeded."""
        outcome = Outcome.REFETCHED if record.refetch else Outcome.APPLIED
        if record.dedupe_id in self._seen or record.dedupe_id in self.done_ids:
            # Another replica was faster while this one did not know that it was cut off.
            outcome = Outcome.DUPLICATE
        self._done(record, outcome)
        return outcome

    def check(self, record: Record) -> Outcome | None:
        """What becomes of an external event without its handler; None if that is to run."""
        outcome = self._without_handler(record)
        if outcome is not None:
            self._done(record, outcome)
        else:
            assert record.handler is not None
            record.refetch = record.handler.stale is Stale.REFETCH and self.stale(record)
        return outcome

    def stale(self, record: Record) -> bool:
        """Whether the event is older than what is applied; False where nobody wants to know."""
        if not record.resource_id:
            return False
        applied = self.applied.get(record.resource_id) or self._before.get(record.resource_id)
        return is_stale(record.version, applied)

    def _done(self, record: Record, outcome: Outcome) -> None:
        if record.parked_at_ms:
            self.unparks.append((record.partition, record.key, record.offset))
        if outcome is Outcome.PARKED:
            self.parks.append(record)
            return
        if outcome in (Outcome.DUPLICATE, Outcome.UNHANDLED):
            return
        if outcome is Outcome.DEAD_LETTERED:
            assert record.letter is not None
            event = record.event
            self.letters.append(
                Letter(
                    dedupe_id=record.dedupe_id,
                    letter=record.letter,
                    event_type=event.event_type if event else "",
                    resource_key=event.resource_key if event else "",
                    traceparent=traceparent_of(record),
                )
            )
        elif outcome is Outcome.APPLIED:
            self.note_applied(record)
        if record.dedupe_id:
            self.done_ids[record.dedupe_id] = None

    def note_applied(self, record: Record) -> None:
        """An event was applied: note its version, where its handler looks at versions."""
        if record.resource_id:
            known = self.applied.get(record.resource_id) or self._before.get(record.resource_id)
            self.applied[record.resource_id] = newest(record.version, known)

    def _without_handler(self, record: Record) -> Outcome | None:
        """What becomes of an event that no function is called for, else None."""
        if record.dedupe_id in self._seen or record.dedupe_id in self.done_ids:
            return Outcome.DUPLICATE
        if record.letter is not None:
            return Outcome.DEAD_LETTERED
        if record.park_reason:
            return Outcome.PARKED
        if record.handler is None:
            return Outcome.UNHANDLED
        if record.handler.stale is Stale.SKIP and self.stale(record):
            return Outcome.STALE
        return None

    def _call(
        self,
        function: Callable[..., Any],
        argument: Any,
        handler: Handler,
        records: Sequence[Record],
    ) -> Exception | None:
        commit = self._commit
        started_ns = monotonic_ns()
        handle = commit.handle.lend()
        commit.savepoint()
        try:
            with self._tracing.process_all(records):
                if handler.is_async:
                    self._run_async(function(argument, handle))
                else:
                    refuse_unawaited(function(argument, handle), handler)
        except StoreError:
            # The database itself: no event is at fault, the whole batch is tried again.
            raise
        # A handler may raise anything, CancelledError and SystemExit too; its effect is taken
        # back and the policy decides.
        except BaseException as error:
            commit.take_back()
            return as_failure(error)
        else:
            try:
                commit.keep()
            except TransactionEnded:
                raise
            except HandlerError as error:
                commit.take_back()
                return error
            return None
        finally:
            handle.end()
            handled_ns = self._now_ns = monotonic_ns()
            for record in records:
                record.started_ns, record.handled_ns = started_ns, handled_ns


def refuse_unawaited(returned: Any, handler: Handler) -> None:
    """HandlerError if a plain function gave back a coroutine or a generator: nothing has run."""
    if returned is None or not (
        inspect.isawaitable(returned) or inspect.isgenerator(returned)
        or inspect.isasyncgen(returned)
    ):  # fmt: skip
        return
    if isinstance(returned, Coroutine | Generator):
        returned.close()
    raise HandlerError(
        f"{handler.name} returned {type(returned).__name__} and has done nothing: write it, or "
        "what wraps it, as `async def`"
    )


def as_failure(error: BaseException) -> Exception:
    """What a handler raised, as an error that the disposition table knows."""
    if isinstance(error, TransactionEnded):
        return PermanentError(str(error))
    if isinstance(error, Exception):
        return error
    return HandlerError(f"the handler raised {type(error).__name__}")
