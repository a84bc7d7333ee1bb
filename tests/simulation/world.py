"""Time, the group's coordinator, operators and faults: what happens to the replicas of a plan.

First turmoil, then all is healed, and everything must come to its end.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from consumer.engine.commands import Assigned, ExternalDone, Polled, Released
from consumer.engine.group_commit import BatchResult
from consumer.stores.contract import Claim, Partition
from consumer.stores.operations import Filter
from schemas.errors import StoreUnavailable
from tests.simulation.database import Database, Fault, Trial, bump
from tests.simulation.judge import Judge, Violation
from tests.simulation.plan import Plan
from tests.simulation.replica import Replica
from tests.simulation.script import Script

_FAULTS: Final = [
    *[fault for fault in Fault if fault is not Fault.CLAIMED],
    *[Fault.AMBIGUOUS, Fault.CLAIMED, Fault.CLAIMED],
]
_MAX_STEPS: Final = 60_000
_HEAL_WITHIN_S: Final = 3_600.0


class World:
    """One schedule."""

    def __init__(self, plan: Plan, database: Database, script: Script, verbose: bool) -> None:
        database.empty()
        self.plan = plan
        self.database = database
        self.script = script
        script.entries = {e.event.event_id: e for e in plan.entries if e.event is not None}
        script.now = lambda: self.now
        self.counts: Counter[str] = Counter()
        self.trace: list[str] | None = [] if verbose else None
        self.now = 0.0
        self.steps = 0
        self.judge = Judge(self)
        #: Whom the group believes to own each partition; None while it is on its way.
        self.owners: dict[Partition, Replica | None] = dict.fromkeys(plan.log)
        self._draw = random.Random(f"world {plan.seed}")
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = 0
        self._born = 0
        self._healed = False
        self._redriven_at_rest = False
        self._operations = database.operations()
        self.replicas: list[Replica] = [self._start() for _ in range(plan.replicas)]
        for partition in plan.log:
            self._give(partition)
        self.at(self._draw.expovariate(1 / plan.turmoil_every_s), self._turmoil)
        self.at(plan.chaos_s, self._heal)

    def run(self) -> None:
        """Until the end; Violation if a promise is broken."""
        try:
            while self._heap:
                self.now, _, step = heapq.heappop(self._heap)
                self.steps += 1
                step()
                if self.steps > _MAX_STEPS or self.now > self.plan.chaos_s + _HEAL_WITHIN_S:
                    raise self.judge.restless()
                if self._healed and self.now >= self.judge.look_s and self._ended():
                    break
            self.judge.end()
        finally:
            for replica in self.replicas:
                if replica.alive:
                    replica.alive = False
                    replica.committer.close()

    def _ended(self) -> bool:
        return self.judge.at_rest() and not self._stir()

    def at(self, delay_s: float, step: Callable[[], None]) -> None:
        """Do something later."""
        self._ticket += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._ticket, step))

    def wall_s(self) -> float:
        """Unix time."""
        return self.plan.start_s + self.now

    def say(self, who: object, what: object) -> None:
        """A line of the trace."""
        if self.trace is not None:
            text = _told(what) if not isinstance(what, str) else what
            self.trace.append(f"{self.now:9.3f} s  {who}: {text}")

    # Faults.

    def crashes(self) -> bool:
        """Whether processes may still end by themselves."""
        return not self._healed

    def claim_may_fail(self) -> None:
        """StoreUnavailable now and then."""
        if not self._healed and self._draw.random() < self.plan.fault_rate:
            self.counts["fault: claim unavailable"] += 1
            raise StoreUnavailable("simulated: no claim")

    def draw_trial(self, replica: Replica, claims: Sequence[Claim]) -> Trial:
        """What goes wrong in the next transaction, if anything."""
        if self._healed or self._draw.random() >= self.plan.fault_rate:
            return Trial(None, 0)
        fault, at = self._draw.choice(_FAULTS), self._draw.randint(0, 14)
        if fault is Fault.CLAIMED:
            stolen = self._draw.choice(claims).partition
            others = [r for r in self.replicas if r is not replica and r.alive and not r.cut]
            if not others or self.owners[stolen] is not replica:
                return Trial(None, 0)
            self._thief = self._draw.choice(others)
            self._stolen = stolen
            return Trial(fault, at, lambda: self._steal(stolen))
        return Trial(fault, at)

    def after_trial(self, replica: Replica) -> None:
        """Carry through what was begun in the middle of a transaction."""
        trial = replica.store.trial
        if not trial.struck:
            return
        assert trial.fault or trial.calls
        if trial.fault is None:
            self.counts[f"fault: {Fault.STATEMENT_FAILED}"] += 1
            return
        self.counts[f"fault: {trial.fault}"] += 1
        if trial.fault is Fault.CLAIMED:
            if not replica.store.committed:
                # The claim was in the transaction only for want of a second connection.
                bump(self.database.connection, self._stolen)
            self.owners[self._stolen] = self._thief
            self._thief.assign(self._stolen)
            self.at(self._draw.uniform(0, 3), lambda: replica.lose([], lambda: None))

    def _steal(self, partition: Partition) -> None:
        self.say(self._thief, f"claims {partition} while that transaction is open")
        bump(self.database.connection, partition)
        self.judge.claim_in_transaction(partition)

    # The group.

    def _start(self) -> Replica:
        self._born += 1
        return Replica(self, f"r{self._born}")

    def died(self, replica: Replica, how: str) -> None:
        """A replica has ended; its partitions go elsewhere, and another one is started."""
        self.say(replica, f"ends: {how}")
        self.counts[how] += 1
        self.counts["crashes"] += 1
        self.replicas.remove(replica)
        self.at(self._draw.uniform(0, 8), lambda: self.replicas.append(self._start()))
        for partition in [p for p, owner in self.owners.items() if owner is replica]:
            self.owners[partition] = None
            self.at(self._draw.uniform(0, 6), lambda p=partition: self._give(p))

    def _give(self, partition: Partition) -> None:
        able = [replica for replica in self.replicas if not replica.cut]
        if not able:
            self.at(0.5, lambda: self._give(partition))
            return
        replica = self._draw.choice(able)
        self.say("group", f"{partition} to {replica}")
        self.owners[partition] = replica
        replica.assign(partition)

    def _turmoil(self) -> None:
        if self._healed:
            return
        self.at(self._draw.expovariate(1 / self.plan.turmoil_every_s), self._turmoil)
        step = self._draw.choice((
            self._move, self._move, self._move, self._cut_off, self._cut_off, self._lose,
            self._kill, self._operate, self._operate,
        ))  # fmt: skip
        step()

    def _owned(self) -> tuple[Partition, Replica] | None:
        owned = [(p, r) for p, r in self.owners.items() if r is not None and not r.cut]
        return self._draw.choice(owned) if owned else None

    def _move(self) -> None:
        """A graceful rebalance."""
        if (found := self._owned()) is None:
            return
        partition, replica = found
        self.say("group", f"revokes {partition} from {replica}")
        self.counts["rebalances"] += 1

        def handed_over() -> None:
            if self.owners[partition] is replica:
                self.owners[partition] = None
                self._give(partition)

        replica.revoke(partition, handed_over)

    def _lose(self) -> None:
        """A partition goes to another before its owner is told, a moment later."""
        if (found := self._owned()) is None:
            return
        partition, replica = found
        self.counts["losses"] += 1
        self.say("group", f"{replica} has lost {partition}")
        self.owners[partition] = None
        self._give(partition)
        replica.lose([], lambda: None)

    def _cut_off(self) -> None:
        """A replica becomes a zombie: it goes on with what others are given."""
        able = [replica for replica in self.replicas if not replica.cut]
        if len(able) < 2:
            return
        replica = self._draw.choice(able)
        replica.cut = True
        self.counts["zombies"] += 1
        self.say("group", f"{replica} is cut off")
        for partition in [p for p, owner in self.owners.items() if owner is replica]:
            self.owners[partition] = None
            self.at(self._draw.uniform(0, 2), lambda p=partition: self._give(p))
        self.at(self._draw.uniform(1, 12), lambda: self._rejoin(replica))

    def _rejoin(self, replica: Replica) -> None:
        def rejoined() -> None:
            replica.cut = False

        if replica.alive:
            replica.lose([], rejoined)

    def _kill(self) -> None:
        if self.replicas:
            self._draw.choice(self.replicas).die("crash: at any time")

    def _heal(self) -> None:
        self._healed = True
        self.say("world", "all is healed")
        for replica in self.replicas:
            if replica.cut:
                self._rejoin(replica)

    # Operators.

    def _operate(self) -> None:
        operations, draw = self._operations, self._draw
        now_ms = int(self.wall_s() * 1000)
        what = draw.random()
        if what < 0.5:
            keys = operations.parked_keys("", None, 10)
            if keys:
                key = draw.choice(keys)
                self.say("operator", f"retries key {key.key!r} of {key.partition}")
                operations.retry([(key.partition, key.key)], now_ms)
                self.counts["operator: retry"] += 1
            return
        letters = operations.letters(Filter(), 0, 10)
        if not letters:
            return
        chosen = draw.sample(letters, draw.randint(1, len(letters)))
        told = ", ".join(
            f"{x.letter.topic}[{x.letter.partition}]@{x.letter.offset}" for x in chosen
        )
        if what < 0.9:
            self.say("operator", f"redrives {told}")
            self.judge.redriven(chosen, mended=draw.random() < 0.7)
            operations.redrive([letter.number for letter in chosen], now_ms)
            self.counts["operator: redriven"] += len(chosen)
        else:
            self.say("operator", f"discards {told}")
            self.judge.discarded(chosen)
            operations.discard([letter.number for letter in chosen])
            self.counts["operator: discarded"] += len(chosen)

    def _stir(self) -> bool:
        """All is at rest: once, redrive what is dead; whether there is something to wait for."""
        letters = [] if self._redriven_at_rest else self._operations.letters(Filter(), 0, 10)
        self._redriven_at_rest = True
        if not letters or self._draw.random() < 0.5:
            return False
        # Before, as well: of two letters of one event a redrive would make one.
        self.judge.end()
        self.say("operator", f"redrives {len(letters)} at rest")
        self.judge.redriven(letters, mended=True)
        self._operations.redrive([x.number for x in letters], int(self.wall_s() * 1000))
        self.counts["operator: redriven"] += len(letters)
        return True


def _told(command: object) -> str:
    if isinstance(command, Polled):
        return "polled " + ", ".join(
            f"{m.entry} @{m.at}"  # type: ignore[attr-defined]
            for m in command.messages
        )
    if isinstance(command, Assigned):
        told = []
        for c in command.claims:
            parked = [(k.key.decode(), k.events) for k in c.parked]
            told.append(f"{c.partition} epoch {c.epoch} from {c.next_offset}, parked {parked}")
        return "assigned " + "; ".join(told)
    if isinstance(command, BatchResult):
        if command.error is not None:
            return f"its batch failed: {type(command.error).__name__}: {command.error}"
        told = [
            f"{r.run.key.decode() or 'null'}: "
            + " ".join(f"@{i.offset} {o}" for i, o in zip(r.run.items, r.outcomes, strict=False))
            + (
                f" then {type(r.error).__name__} @{r.run.items[len(r.outcomes)].offset}"
                if r.error
                else ""
            )
            for r in command.runs
        ]
        told += [f"{r.key.decode()}: @{r.items[0].offset} settled {o}" for r, o in command.settled]
        told += [f"{r.key.decode()}: @{r.items[0].offset} to call" for r in command.new]
        told += [f"loaded {r.key.decode()}: {[e.offset for e in es]}" for r, es in command.loaded]
        told += [f"touched {k.key.decode()}: {k.events}" for k in command.touched]
        told += [f"{p} to {at}" for p, at in command.positions.items()]
        told += [f"fenced from {p} by {who}" for p, who in command.fenced.items()]
        return "its batch is committed: " + "; ".join(told)
    if isinstance(command, ExternalDone):
        return f"external call @{command.run.items[0].offset} ended: {command.error!r}"
    if isinstance(command, Released):
        told = [str(partition) for partition in command.partitions]
        return f"released {told}, {'drain first' if command.drained else 'at once'}"
    return str(command)


__all__ = ["Violation", "World"]
