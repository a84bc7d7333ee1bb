"""Many events' effects, ids and progress in one transaction: the heart of exactly once.

Everything that makes an effect happen once is in `GroupCommitter._carry_out`, as numbered steps.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from consumer.core.disposition import Outcome
from consumer.core.watermark import Watermark
from consumer.engine.apply_runs import Effects, RecordRun, RunResult
from consumer.engine.record import monotonic_ns, parked_event
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Claim, ParkedEvent, ParkedKey, Partition, Store
from schemas.errors import StatementFailed

_CAREFUL_BATCHES = 16


class Load(msgspec.Struct, frozen=True):
    """Read the first parked events of a key, whose lane is held by `run` meanwhile."""

    run: RecordRun
    limit: int
    #: See `GroupCommit.parked`.
    max_bytes: int = 4 * 1024 * 1024


class Postponement(msgspec.Struct, frozen=True):
    """A parked key was tried in vain."""

    partition: Partition
    key: bytes
    attempts: int
    retry_at_ms: int


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction is to hold. The watermarks are copies, for this batch to change."""

    claims: Sequence[Claim]
    watermarks: Mapping[Partition, Watermark]
    #: Runs whose handlers take the transaction, or that need none.
    runs: Sequence[RecordRun] = ()
    #: External events to look up before their handler runs.
    checks: Sequence[RecordRun] = ()
    #: External events whose handler has succeeded.
    marks: Sequence[RecordRun] = ()
    loads: Sequence[Load] = ()
    postponements: Sequence[Postponement] = ()
    #: Ask for what operators have changed.
    scan: bool = False
    #: Ask for all that is parked: the answer to the last scan may be lost.
    scan_all: bool = False
    #: When a key that is parked by this batch is due (Unix ms), and in how many seconds.
    park_retry_at_ms: int = 0
    park_delay_s: float = 0.0


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was committed. After an `error` nothing was, and all of it is to be tried again."""

    batch: Batch
    runs: list[RunResult] = []
    #: External events whose handler is to run, and those that need none.
    new: list[RecordRun] = []
    settled: list[tuple[RecordRun, Outcome]] = []
    loaded: list[tuple[RecordRun, list[ParkedEvent]]] = []
    touched: list[ParkedKey] = []
    #: Whether anything was parked, or comes from there.
    parking: bool = False
    #: The offsets of the log that are done, sorted, and what that makes of the positions.
    offsets: dict[Partition, list[int]] = {}
    positions: dict[Partition, int] = {}
    #: Partitions that another has claimed, and who.
    fenced: Mapping[Partition, str] = {}
    began_ns: int = 0
    commit_began_ns: int = 0
    ended_ns: int = 0
    error: Exception | None = None


class GroupCommitter:
    """Carries out batches on the one thread that may touch the store's transactions.

    `wall_s` is the time in Unix seconds.
    """

    def __init__(self, store: Store, tracing: ConsumerTracing, wall_s: Callable[[], float]) -> None:
        self._store = store
        self._tracing = tracing
        self._wall_s = wall_s
        self._careful_batches = 0
        # async handlers that take a transaction run one at a time, on this thread's own loop:
        # a transaction is one connection, so there is nothing to interleave.
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Close the thread's event loop."""
        self._loop.close()

    def carry_out(self, batch: Batch) -> BatchResult:
        """Apply a batch in one transaction; never raises for what a handler or the store does."""
        began_ns = monotonic_ns()
        careful = self._careful_batches > 0
        self._careful_batches = max(0, self._careful_batches - 1)
        try:
            try:
                return self._carry_out(batch, began_ns, careful)
            except StatementFailed:
                # The store does not know whose statement it was. Waiting for each one tells; and
                # for a while, as a handler that fails so may well do it again.
                self._careful_batches = _CAREFUL_BATCHES
                return self._carry_out(batch, began_ns, True)
        # The thread's top for this batch: whatever broke it, nothing was committed, and the
        # dispatcher tries it again by its policy.
        except Exception as error:
            return BatchResult(batch=batch, error=error, began_ns=began_ns, ended_ns=monotonic_ns())

    def _carry_out(self, batch: Batch, began_ns: int, careful: bool) -> BatchResult:
        now_s = self._wall_s()
        # 1. Begin.
        with self._store.commit(careful=careful) as commit:
            # 2. Which partitions are still ours? Step 8 makes sure.
            owned = commit.owned(batch.claims)
            fenced = {c.partition: "" for c in batch.claims if c.partition not in owned}
            for partition in fenced:
                fenced[partition] = commit.owner(partition)
            # 3. Which ids were done before, and what is applied to the resources?
            ids, resources = _to_look_up(batch)
            effects = Effects(
                commit,
                seen=commit.seen(ids) if ids else set(),
                applied=commit.applied(resources) if resources else {},
                tracing=self._tracing,
                loop=self._loop,
            )
            # 4. The effects, each call in a savepoint.
            results = effects.apply([run for run in batch.runs if run.partition in owned])
            # 5. External effects that have happened are done from here on. (A crash before the
            #    commit: the handler runs again, with the same Idempotency-Key.)
            settled = [
                (run, effects.mark(run.items[0])) for run in batch.marks if run.partition in owned
            ]
            new: list[RecordRun] = []
            for run in batch.checks:
                if run.partition in owned:
                    outcome = effects.check(run.items[0])
                    if outcome is None:
                        new.append(run)
                    else:
                        settled.append((run, outcome))
            # 6. The ids and versions of all that was done, what is parked, what was given up on.
            if effects.done_ids:
                commit.remember(effects.done_ids, int(now_s))
            if effects.applied:
                commit.note_applied(effects.applied, int(now_s))
            if effects.letters:
                commit.bury(effects.letters)
            if effects.parks:
                events = [parked_event(record, int(now_s * 1000)) for record in effects.parks]
                commit.park(events, batch.park_retry_at_ms)
            if effects.unparks:
                commit.unpark(effects.unparks)
            for postponement in batch.postponements:
                if postponement.partition in owned:
                    commit.postpone(*msgspec.structs.astuple(postponement))
            # 7. What is parked and due, and what an operator has changed.
            loaded = [
                (
                    load.run,
                    commit.parked(load.run.partition, load.run.key, load.limit, load.max_bytes),
                )
                for load in batch.loads
                if load.run.partition in owned
            ]
            scan = batch.scan and owned
            touched = commit.touched(owned, every=batch.scan_all) if scan else []
            # 8. Progress, where the epoch is still ours: Fenced if it is not.
            offsets = _done_offsets(results, settled)
            positions = {p: batch.watermarks[p].complete_all(done) for p, done in offsets.items()}
            for partition in _written(batch, effects, touched) & owned:
                positions.setdefault(partition, _position(batch, partition))
            gaps = {
                partition: last
                for partition, watermark in batch.watermarks.items()
                if (last := watermark.last_done) is not None
            }
            if positions:
                commit.advance(batch.claims, positions, gaps, int(now_s))
            commit_began_ns = monotonic_ns()
            # 9. Commit, at the end of the block.
        return BatchResult(
            batch=batch,
            runs=results,
            new=new,
            settled=settled,
            loaded=loaded,
            touched=touched,
            parking=bool(effects.parks or effects.unparks),
            offsets=offsets,
            positions=positions,
            fenced=fenced,
            began_ns=began_ns,
            commit_began_ns=commit_began_ns,
            ended_ns=monotonic_ns(),
        )


def _to_look_up(batch: Batch) -> tuple[set[bytes], set[bytes]]:
    records = [r for runs in (batch.runs, batch.checks, batch.marks) for x in runs for r in x.items]
    ids = {record.dedupe_id for record in records}
    ids.discard(b"")
    return ids, {record.resource_id for record in records if record.resource_id}


def _written(batch: Batch, effects: Effects, touched: list[ParkedKey]) -> set[Partition]:
    """Partitions of which something was written that is no event's end: to be fenced as well."""
    written = {postponement.partition for postponement in batch.postponements}
    written.update(key.partition for key in touched)
    written.update(partition for partition, _, _ in effects.unparks)
    return written


def _position(batch: Batch, partition: Partition) -> int:
    watermark = batch.watermarks.get(partition)
    if watermark is not None:
        return watermark.position
    claim = next(c for c in batch.claims if c.partition == partition)
    return claim.next_offset or 0


def _done_offsets(
    results: list[RunResult], settled: list[tuple[RecordRun, Outcome]]
) -> dict[Partition, list[int]]:
    """The offsets of the log that are done now, in order."""
    offsets: defaultdict[Partition, list[int]] = defaultdict(list)
    for result in results:
        run = result.run
        done = run.items[: len(result.outcomes)]
        offsets[run.lane.partition] += [r.offset for r in done if not r.parked_at_ms]
    for run, _ in settled:
        record = run.items[0]
        if not record.parked_at_ms:
            offsets[run.partition].append(record.offset)
    return {partition: sorted(done) for partition, done in offsets.items() if done}
