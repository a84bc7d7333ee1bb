"""One replica: a real dispatcher and committer; its threads are steps that the world schedules.

The poll thread's part follows `consumer.engine.poll_thread`: callbacks one after the other, claims
tried until they succeed, fenced partitions claimed anew after two seconds.
"""

from __future__ import annotations

import random
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from consumer.core.disposition import Outcome
from consumer.engine.apply_runs import RecordRun, as_failure
from consumer.engine.commands import Assigned, Command, ExternalDone, Polled, Released
from consumer.engine.dispatcher import Dispatcher
from consumer.engine.engine_metrics import EngineMetrics
from consumer.engine.external import ExternalHandlers
from consumer.engine.failures import Failures
from consumer.engine.group_commit import Batch, BatchResult, GroupCommitter
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Claim, Partition
from schemas.errors import StoreUnavailable
from tests.simulation.database import GROUP, Crash, FaultyStore, SharedStore
from tests.simulation.plan import Message

if TYPE_CHECKING:
    from tests.simulation.world import World

_RECLAIM_AFTER_S: Final = 2.0
_CLAIM_RETRY_S: Final = 1.0
_TRACING: Final = ConsumerTracing(GROUP, enabled=False)

Call = tuple[Literal["assign", "revoke", "lost"], list[Partition], Callable[[], None]]


class _Counted(EngineMetrics):
    """Counts for the report, and makes no instruments."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def committed(self, outcomes: Counter[Outcome], records: object, duration_s: float) -> None:
        for outcome, count in outcomes.items():
            self._counts[f"outcome {outcome}"] += count

    def retried(self, outcome: Outcome) -> None:
        self._counts[f"failed {outcome}"] += 1

    def fenced(self) -> None:
        self._counts["fenced"] += 1


class Replica:
    """It lives until `die`; a restart is a new one."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.alive = True
        #: Cut off from the group, without knowing it.
        self.cut = False
        #: Where to fetch from next, as an index of the log.
        self.assigned: dict[Partition, int] = {}
        self.running: set[RecordRun] = set()
        self._world = world
        self._draw = random.Random(f"{name} {world.plan.seed}")
        self._origin_s = self._draw.uniform(0, 1000)
        self._skew_s = self._draw.choice((0.0, 0.0, self._draw.uniform(-2, 2)))
        self._calls: deque[Call] = deque()
        self._revoking: tuple[list[Partition], threading.Event, float, Callable[[], None]] | None
        self._revoking = None
        self._reclaim: dict[Partition, float] = {}
        self._inbox: SimpleQueue[Command] = SimpleQueue()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._committing = False
        self._wake_ticket = 0
        self.store = FaultyStore(SharedStore(world.database))
        self.committer = GroupCommitter(cast(Any, self.store), _TRACING, self._wall_s)
        plan = world.plan
        metrics = _Counted(world.counts)
        self.dispatcher = Dispatcher(
            handlers=world.script.handlers,
            limits=plan.limits,
            parking=plan.parking,
            backoff=plan.backoff,
            failures=Failures(
                group=GROUP,
                backoff=plan.backoff,
                policy=plan.policy,
                give_up_after_s=plan.parking.give_up_after_s,
                metrics=metrics,
                draw=self._draw.random,
                clock=self._clock,
                wall_s=self._wall_s,
            ),
            tracing=_TRACING,
            batches=self._batches,
            external=cast(ExternalHandlers, self),
            inbox=self._inbox,
            metrics=metrics,
            owner=name,
            clock=self._clock,
            wall_s=self._wall_s,
            draw=self._draw.random,
        )
        self._later(0.0, self._poll_turn)

    def __str__(self) -> str:
        return self.name

    def assign(self, partition: Partition) -> None:
        """The group gives it a partition: its poll thread will claim it."""
        self._calls.append(("assign", [partition], lambda: None))

    def revoke(self, partition: Partition, then: Callable[[], None]) -> None:
        """The group takes a partition back and waits for it to be handed over."""
        self._calls.append(("revoke", [partition], then))

    def lose(self, partitions: list[Partition], then: Callable[[], None]) -> None:
        """It learns that partitions are not its own any more."""
        self._calls.append(("lost", partitions, then))

    def die(self, how: str) -> None:
        """The process ends here and now."""
        if self.alive:
            self.alive = False
            self.committer.close()
            self._world.died(self, how)

    @property
    def quiet(self) -> bool:
        """Whether it has nothing in hand."""
        return not (self.running or self._committing or self._calls or self._revoking)

    def _clock(self) -> float:
        return self._origin_s + self._world.now

    def _wall_s(self) -> float:
        return self._world.wall_s() + self._skew_s

    def _later(self, delay_s: float, step: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            if self.alive:
                step(*arguments)

        self._world.at(delay_s, run)

    def _delay_s(self) -> float:
        """How long a thread takes to get on; now and then long."""
        draw = self._draw.random()
        return draw * 0.01 if draw < 0.9 else self._draw.choice((0.02, 0.2, 1.5, 4.0)) * draw

    # The dispatcher's thread.

    def _put(self, command: Command) -> None:
        self._inbox.put(command)
        self._later(self._delay_s(), self._dispatch)

    def _dispatch(self) -> None:
        command = self._inbox.get_nowait()
        self._world.say(self, command)
        self.dispatcher.obey(command)
        self._world.judge.bounds(self)
        self._hand_out()

    def _hand_out(self) -> None:
        self.dispatcher.hand_out()
        if not self._batches.empty() and not self._committing:
            self._committing = True
            self._later(self._delay_s(), self._commit)
        patience_s = self.dispatcher.patience_s()
        self._wake_ticket += 1
        if patience_s is not None:
            # Not the 5 ms that it may ask for while a batch is out: a machine is slow at times.
            slow_s = 0.1 if self._committing or self.dispatcher.full else 0.02
            self._later(max(patience_s, slow_s), self._wake, self._wake_ticket)

    def _wake(self, ticket: int) -> None:
        if ticket == self._wake_ticket:
            self.dispatcher.wake()
            self._hand_out()

    # The committer's thread.

    def _commit(self) -> None:
        batch = self._batches.get_nowait()
        assert batch is not None
        world = self._world
        self.store.trial = world.draw_trial(self, batch.claims)
        world.judge.before(self, batch)
        try:
            result = self.committer.carry_out(batch)
        except Crash:
            world.judge.after(self, batch, None)
            self.die(f"crash: {self.store.trial.fault}")
            return
        world.judge.after(self, batch, result)
        world.after_trial(self)
        self._later(self._delay_s(), self._committed, result)

    def _committed(self, result: BatchResult) -> None:
        # A death before this: all is in the store, and nobody in this process knows.
        self._committing = False
        self._put(result)

    # The external handlers' threads.

    def start(self, run: RecordRun) -> None:
        """What the dispatcher asks of ExternalHandlers."""
        self.running.add(run)
        self._world.judge.started(self, run)
        draw = self._draw.random()
        self._later(draw if draw < 0.8 else 12 * (draw - 0.8), self._external_ended, run)

    def cancel(self, partition: Partition) -> None:
        """What the dispatcher asks of ExternalHandlers; these are threads, which go on."""

    def _external_ended(self, run: RecordRun) -> None:
        if run not in self.running:
            return
        event = run.items[0].event
        assert event is not None
        entry = self._world.script.entries[event.event_id]
        failure = self._world.script.failure(entry)
        if failure is None:
            self._world.judge.called(self, entry, event.idempotency_key)
            if self._world.crashes() and self._draw.random() < 0.03:
                # It has acted, and is not marked done.
                self.die("crash: after an external effect")
                return
        self.running.discard(run)
        self._put(ExternalDone(run, None if failure is None else as_failure(failure)))

    # The poll thread.

    def _poll_turn(self) -> None:
        self._later(self._turn(), self._poll_turn)

    def _turn(self) -> float:
        """One turn; how long until the next."""
        if self._revoking is not None:
            gone, event, deadline_s, then = self._revoking
            if not event.is_set():
                if self._world.now < deadline_s:
                    return 0.05
                self._world.counts["drain cut short"] += 1
                self._put(Released(gone))
            else:
                self._world.counts["drained"] += 1
            self._revoking = None
            self._gone(gone)
            then()
        elif self._calls:
            return self._callback(*self._calls.popleft())
        else:
            return self._poll()
        return self._delay_s()

    def _callback(self, what: str, partitions: list[Partition], then: Callable[[], None]) -> float:
        if what == "assign":
            claims = self._claim(partitions)
            if claims is None:
                self._calls.appendleft(("assign", partitions, then))
                return _CLAIM_RETRY_S
            self._take_claims(claims)
        elif what == "revoke":
            event = threading.Event()
            self._put(Released(partitions, event))
            deadline_s = self._world.now + self._world.plan.limits.drain_deadline_s
            self._revoking = (partitions, event, deadline_s, then)
        else:
            gone = [p for p in self.assigned if self._world.owners.get(p) is not self]
            self._put(Released(gone))
            self._gone(gone)
            then()
        return self._delay_s()

    def _poll(self) -> float:
        ownership = self.dispatcher.ownership
        ownership.take_committable()
        for partition in sorted(ownership.take_fenced()):
            self._reclaim[partition] = self._world.now + _RECLAIM_AFTER_S
        due = [p for p, at in self._reclaim.items() if at <= self._world.now and p in self.assigned]
        for partition in due:
            del self._reclaim[partition]
        if due:
            claims = self._claim(due)
            if claims is None:
                self._reclaim.update(dict.fromkeys(due, self._world.now))
                return _CLAIM_RETRY_S
            self._take_claims(claims)
            self._world.counts["claimed anew after a fence"] += 1
        if self.dispatcher.full:
            self._world.counts["full"] += 1
            return 0.2
        messages = self._fetch()
        if not messages:
            return 1.0
        if not self.dispatcher.intake.acquire(blocking=False):
            self._world.counts["intake full"] += 1
            return 0.05
        for message in messages:
            self.assigned[message.entry.partition] += 1
        self._put(Polled(list(messages), 0, self._wall_s() * 1000))
        return self._delay_s() + 0.05

    def _fetch(self) -> list[Message]:
        room = self._draw.randint(1, self._world.plan.chunk)
        messages: list[Message] = []
        partitions = list(self.assigned)
        self._draw.shuffle(partitions)
        for partition in partitions:
            at = self.assigned[partition]
            found = self._world.plan.log[partition][at : at + room]
            messages += found
            room -= len(found)
        return messages

    def _claim(self, partitions: list[Partition]) -> list[Claim] | None:
        try:
            self._world.claim_may_fail()
            claims = self.store.claim(partitions, self.name)
        except StoreUnavailable:
            return None
        self._world.judge.claimed(self, claims)
        return cast("list[Claim]", claims)

    def _take_claims(self, claims: list[Claim]) -> None:
        self._put(Assigned(claims))
        for claim in claims:
            log = self._world.plan.log[claim.partition]
            start = claim.next_offset or 0
            self.assigned[claim.partition] = bisect_left(log, start, key=lambda m: m.at)
            self._world.counts["claims"] += 1

    def _gone(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            self.assigned.pop(partition, None)
            self._reclaim.pop(partition, None)
