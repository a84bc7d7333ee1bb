"""The effects of one group commit: every event of its runs, each call in a savepoint.

Nothing here survives by itself: what is gathered (`done_ids`, `parks`, …) is written by the
group commit in the same transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from consumer.core.disposition import Outcome
from consumer.core.lanes import Run
from consumer.core.staleness import Applied, Stale, is_stale, newest
from consumer.engine.record import BEHIND, Record, monotonic_ns
from consumer.engine.tracing import ConsumerTracing
from consumer.handlers.registration import Handler
from consumer.stores.contract import GroupCommit, Letter, Partition
from schemas.errors import HandlerError, PermanentError, StoreError, TransactionEnded
from schemas.request_id import current_request_id

RecordRun = Run[Partition, Record]


class RunResult(msgspec.Struct):
    """How far a run came: an outcome for each done event, and what stopped the next one."""

    run: RecordRun
    outcomes: list[Outcome]
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more of it is to be done now."""
        return self.error is not None or len(self.outcomes) == len(self.run.items)

    @property
    def next(self) -> Record:
        """The first event that is not done."""
        return self.run.items[len(self.outcomes)]


class Effects:
    """Applies runs in one open transaction."""

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
        self._singly: set[str] = set()
        #: Ids that are done once this commits, in order.
        self.done_ids: dict[bytes, None] = {}
        #: What is applied to resources once this commits.
        self.applied: dict[bytes, Applied] = {}
        self.letters: list[Letter] = []
        self.parks: list[Record] = []
        self.unparks: list[tuple[Partition, bytes, int]] = []

    def apply(self, runs: Sequence[RecordRun]) -> list[RunResult]:
        """Apply runs in turn; batch handlers take events of several runs at once."""
        results = [RunResult(run, []) for run in runs]
        for at, result in enumerate(results):
            while not result.ended:
                record = result.next
                if record.problem is not None and record.letter is None:
                    result.error = record.problem
                    break
                outcome = self._without_handler(record)
                if outcome is not None:
                    self._done(record, outcome)
                    result.outcomes.append(outcome)
                    if outcome is Outcome.PARKED:
                        # Order: what is behind it in this run is parked behind it.
                        for later in result.run.items[len(result.outcomes) :]:
                            later.park_reason = later.park_reason or BEHIND
                elif record.handler is not None and record.handler.batch_size:
                    self._apply_batch(record.handler, results[at:])
                else:
                    self._apply_one(result, record)
        return results

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

    def _apply_one(self, result: RunResult, record: Record) -> None:
        handler, event = record.handler, record.event
        assert handler is not None
        assert event is not None
        record.refetch = handler.stale is Stale.REFETCH and self.stale(record)
        token = current_request_id.set(event.request_id)
        try:
            error = self._call(record.function, event, handler, [record])
        finally:
            current_request_id.reset(token)
        if error is not None:
            # The later events of the lane wait: order.
            result.error = error
            return
        outcome = Outcome.REFETCHED if record.refetch else Outcome.APPLIED
        self._done(record, outcome)
        result.outcomes.append(outcome)

    def _apply_batch(self, handler: Handler, results: Sequence[RunResult]) -> None:
        """One call for the events at the front of the first run, and of others behind it."""
        limit = 1 if handler.pattern in self._singly else handler.batch_size
        gathered: list[tuple[RunResult, list[Record]]] = []
        ids: set[bytes] = set()
        resources: set[bytes] = set()
        for result in results:
            if limit <= 0:
                break
            taken: list[Record] = []
            if not result.ended:
                for record in result.run.items[len(result.outcomes) :]:
                    # Whatever needs another look, or depends on what is in the list, ends it:
                    # it is looked at again once the list is done.
                    if (
                        len(taken) >= limit
                        or record.handler is not handler
                        or record.problem is not None
                        or record.dedupe_id in ids
                        or (record.resource_id and record.resource_id in resources)
                        or self._without_handler(record) is not None
                    ):
                        break
                    taken.append(record)
                    ids.add(record.dedupe_id)
                    if record.resource_id:
                        resources.add(record.resource_id)
            if taken:
                gathered.append((result, taken))
                limit -= len(taken)
        records = [record for _, taken in gathered for record in taken]
        error = self._call(handler.function, [r.event for r in records], handler, records)
        if error is None:
            for result, taken in gathered:
                for record in taken:
                    self._done(record, Outcome.APPLIED)
                    result.outcomes.append(Outcome.APPLIED)
        elif len(records) == 1:
            gathered[0][0].error = error
        else:
            # One of them is at fault: lists of one find out which.
            self._singly.add(handler.pattern)

    def _call(
        self,
        function: Callable[..., Any],
        argument: Any,
        handler: Handler,
        records: Sequence[Record],
    ) -> Exception | None:
        commit = self._commit
        started_ns = monotonic_ns()
        commit.savepoint()
        try:
            with self._tracing.process_all(records):
                if handler.is_async:
                    self._loop.run_until_complete(function(argument, commit.handle))
                else:
                    function(argument, commit.handle)
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
            handled_ns = monotonic_ns()
            for record in records:
                record.started_ns, record.handled_ns = started_ns, handled_ns


def as_failure(error: BaseException) -> Exception:
    """What a handler raised, as an error that the disposition table knows."""
    if isinstance(error, TransactionEnded):
        return PermanentError(str(error))
    if isinstance(error, Exception):
        return error
    return HandlerError(f"the handler raised {type(error).__name__}")
