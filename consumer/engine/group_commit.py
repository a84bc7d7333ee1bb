"""Many events' effects, ids and progress in one transaction: the heart of exactly once.

Everything that makes an effect happen once is in `GroupCommitter.carry_out`, as numbered steps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence

import msgspec

from consumer.core.disposition import Outcome
from consumer.core.lanes import Run
from consumer.core.watermark import Watermark
from consumer.engine.record import Record, monotonic_ns
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Claim, GroupCommit, Letter, Partition, Store
from schemas.errors import CodecError, HandlerError, PermanentError, TransactionEnded
from schemas.request_id import current_request_id

RecordRun = Run[Partition, Record]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction is to hold. The watermarks are copies, for this batch to change."""

    claims: Sequence[Claim]
    watermarks: Mapping[Partition, Watermark]
    #: Runs whose handlers take the transaction, or that need none.
    runs: Sequence[RecordRun]
    #: External events to look up before their handler runs.
    checks: Sequence[RecordRun]
    #: External events whose handler has succeeded.
    marks: Sequence[RecordRun]


class RunResult(msgspec.Struct, frozen=True):
    """How far a run came: an outcome for each done event, and what stopped the next one."""

    run: RecordRun
    outcomes: list[Outcome]
    error: Exception | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was committed. After an `error` nothing was, and all of it is to be tried again."""

    batch: Batch
    runs: list[RunResult] = []
    new: list[RecordRun] = []
    duplicates: list[RecordRun] = []
    positions: dict[Partition, int] = {}
    fenced: Collection[Partition] = ()
    began_ns: int = 0
    commit_began_ns: int = 0
    ended_ns: int = 0
    error: Exception | None = None


class GroupCommitter:
    """Carries out batches on the one thread that may touch the store's transactions."""

    def __init__(self, store: Store, tracing: ConsumerTracing) -> None:
        self._store = store
        self._tracing = tracing
        # async handlers that take a transaction run one at a time, on this thread's own loop:
        # a transaction is one connection, so there is nothing to interleave.
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Close the thread's event loop."""
        self._loop.close()

    def carry_out(self, batch: Batch) -> BatchResult:
        """Apply a batch in one transaction; never raises for what a handler or the store does."""
        began_ns = monotonic_ns()
        try:
            return self._carry_out(batch, began_ns)
        # The thread's top for this batch: whatever broke it, nothing was committed, and the
        # dispatcher tries it again by its policy.
        except Exception as error:
            return BatchResult(batch=batch, error=error, began_ns=began_ns, ended_ns=monotonic_ns())

    def _carry_out(self, batch: Batch, began_ns: int) -> BatchResult:
        results: list[RunResult] = []
        # 1. Begin.
        with self._store.commit() as commit:
            # 2. Fence: only partitions that are still ours, held until the commit.
            owned = commit.owned(batch.claims)
            # 3. Which ids were done before?
            seen = commit.seen(_dedupe_ids(batch))
            # 4. The effects, each event in a savepoint.
            done_ids: dict[bytes, None] = {}
            for run in batch.runs:
                if run.partition in owned:
                    results.append(self._apply_run(commit, run, seen, done_ids))
            new: list[RecordRun] = []
            duplicates: list[RecordRun] = []
            for run in batch.checks:
                if run.partition in owned:
                    known = run.items[0].dedupe_id in seen
                    (duplicates if known else new).append(run)
            # 5. External effects that have happened are done from here on. (A crash before the
            #    commit: the handler runs again, with the same Idempotency-Key.)
            marked = [run for run in batch.marks if run.partition in owned]
            for run in marked:
                if run.items[0].dedupe_id not in seen:
                    done_ids[run.items[0].dedupe_id] = None
            # 6. The ids of all that was done.
            now_s = int(time.time())
            commit.remember(done_ids, now_s)
            # 7. What was given up on.
            commit.bury(_letters(results))
            # 8. Progress, where the epoch is still ours.
            positions = _positions(batch, results, [*duplicates, *marked])
            gaps = {p for p in positions if batch.watermarks[p].ranges}
            commit.advance(batch.claims, positions, gaps, now_s)
            commit_began_ns = monotonic_ns()
            # 9. Commit, at the end of the block.
        return BatchResult(
            batch=batch,
            runs=results,
            new=new,
            duplicates=duplicates,
            positions=positions,
            fenced={claim.partition for claim in batch.claims} - owned,
            began_ns=began_ns,
            commit_began_ns=commit_began_ns,
            ended_ns=monotonic_ns(),
        )

    def _apply_run(
        self, commit: GroupCommit, run: RecordRun, seen: set[bytes], done_ids: dict[bytes, None]
    ) -> RunResult:
        outcomes: list[Outcome] = []
        for record in run.items:
            if record.problem is not None and record.letter is None:
                return RunResult(run, outcomes, record.problem)
            if record.dedupe_id in seen or record.dedupe_id in done_ids:
                outcomes.append(Outcome.DUPLICATE)
                continue
            if record.letter is not None:
                outcomes.append(Outcome.DEAD_LETTERED)
            elif record.handler is None:
                outcomes.append(Outcome.UNHANDLED)
                continue
            else:
                error = self._apply(commit, record)
                if error is not None:
                    # The later events of the lane wait: order.
                    return RunResult(run, outcomes, error)
                outcomes.append(Outcome.APPLIED)
            if record.dedupe_id:
                done_ids[record.dedupe_id] = None
        return RunResult(run, outcomes)

    def _apply(self, commit: GroupCommit, record: Record) -> Exception | None:
        handler, event = record.handler, record.event
        assert handler is not None
        assert event is not None
        token = current_request_id.set(event.request_id)
        record.started_ns = monotonic_ns()
        commit.savepoint()
        try:
            with self._tracing.process(record):
                if handler.is_async:
                    self._loop.run_until_complete(handler.function(event, commit.handle))
                else:
                    handler.function(event, commit.handle)
        # A handler may raise anything, CancelledError and SystemExit too; its effect is taken
        # back and the policy decides.
        except BaseException as error:
            commit.take_back()
            return as_failure(error)
        else:
            commit.keep()
            return None
        finally:
            record.handled_ns = monotonic_ns()
            current_request_id.reset(token)


def as_failure(error: BaseException) -> Exception:
    """What a handler raised, as an error that the disposition table knows."""
    if isinstance(error, TransactionEnded):
        return PermanentError(str(error))
    if isinstance(error, Exception):
        return error
    return HandlerError(f"the handler raised {type(error).__name__}")


def classify(error: Exception) -> Outcome:
    """Whether an error of a handler can pass by itself."""
    if isinstance(error, CodecError):
        return Outcome.POISON
    return Outcome.PERMANENT if isinstance(error, PermanentError) else Outcome.TRANSIENT


def _dedupe_ids(batch: Batch) -> set[bytes]:
    ids = {record.dedupe_id for run in batch.runs for record in run.items}
    ids.update(run.items[0].dedupe_id for run in batch.checks)
    ids.update(run.items[0].dedupe_id for run in batch.marks)
    ids.discard(b"")
    return ids


def _letters(results: list[RunResult]) -> list[Letter]:
    return [
        Letter(
            dedupe_id=record.dedupe_id,
            letter=record.letter,
            event_type=record.event.event_type if record.event else "",
            resource_key=record.event.resource_key if record.event else "",
        )
        for result in results
        for record, outcome in zip(result.run.items, result.outcomes, strict=False)
        if outcome is Outcome.DEAD_LETTERED and record.letter is not None
    ]


def _positions(
    batch: Batch, results: list[RunResult], singles: list[RecordRun]
) -> dict[Partition, int]:
    offsets: dict[Partition, list[int]] = {}
    for result in results:
        done = result.run.items[: len(result.outcomes)]
        offsets.setdefault(result.run.partition, []).extend(r.offset for r in done)
    for run in singles:
        offsets.setdefault(run.partition, []).append(run.items[0].offset)
    return {
        partition: batch.watermarks[partition].complete_all(done)
        for partition, done in offsets.items()
    }
