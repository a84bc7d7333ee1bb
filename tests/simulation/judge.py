"""The promises, checked after every transaction and call, and at the end.

It believes neither the dispatcher nor what a commit answers: it reads what is in the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from consumer.core.staleness import Applied, is_stale, newest
from consumer.engine.apply_runs import RecordRun
from consumer.engine.group_commit import Batch, BatchResult
from consumer.stores.contract import Claim, Partition
from consumer.stores.operations import StoredLetter
from schemas.codec import DEAD_LETTER
from schemas.dead_letter import DeadLetter
from tests.simulation.database import Fault
from tests.simulation.plan import EXTERNAL_KINDS, TOPIC, VERSIONED, Entry, Kind, Message

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.world import World

_LOOK_EVERY_S = 0.5


class Promise(StrEnum):
    """What must hold; docs/testing.md says it in full."""

    NOTHING_LOST = "every event ends exactly once: an effect, a dead letter, stale, or unhandled"
    NOT_TWICE = "no effect happens twice"
    IN_ORDER = "the effects of a key are in the order of the log"
    PROGRESS = "progress never goes back and never passes what is neither done nor parked"
    FENCED = "a zombie adds nothing"
    BOUNDED = "what is buffered and parked stays within its bounds"
    COMES_TO_REST = "once all is healed, all is done and nothing stays parked"
    EXTERNAL = "an external call is made with its one key, and never begins once marked done"
    NOT_STALE = "nothing older is applied after something newer"


class Violation(AssertionError):
    """A promise is broken."""

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"{promise.name}: {promise.value}: {what}")
        self.promise = promise


class Judge:
    """Watches one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._run = world.database.connection.execute
        self._entries = {entry.number: entry for entry in world.plan.entries}
        self._poison = {
            (message.entry.partition, message.at): message.entry
            for log in world.plan.log.values()
            for message in log
            if message.entry.kind is Kind.POISON
        }
        #: Resources whose versions external handlers note, too: at a time that we cannot see.
        self._mixed = {e.lane for e in self._entries.values() if e.kind is Kind.FETCHING}
        #: The true epoch of each partition.
        self.epochs: Counter[Partition] = Counter()
        self.effects: Counter[int] = Counter()
        self._last_effect = 0
        self._last_index: dict[tuple[Partition, bytes], int] = {}
        self._newest: dict[tuple[Partition, bytes], Applied] = {}
        self._progress: dict[Partition, int] = {}
        #: What an owner has been told: after an answer that was lost it may go back to that.
        self._told: dict[Partition, int] = {}
        #: Entries that have ever been given up on: after a redrive they may come late.
        self._ever_dead: set[int] = set()
        self._discarded: Counter[int] = Counter()
        self._redriven = 0
        self._before: dict[Partition, object] = {}
        #: When to look again whether all is at rest.
        self.look_s = 0.0

    # What happens to the epochs, and what operators do.

    def claimed(self, who: Replica, claims: Sequence[Claim]) -> None:
        """A claim has committed."""
        for claim in claims:
            self.epochs[claim.partition] += 1
            if claim.epoch != self.epochs[claim.partition]:
                raise Violation(Promise.FENCED, f"{who} got epoch {claim.epoch} a second time")
            self._told[claim.partition] = claim.next_offset or 0

    def claim_in_transaction(self, partition: Partition) -> None:
        """Another has claimed while a transaction is open."""
        self.epochs[partition] += 1

    def redriven(self, letters: Sequence[StoredLetter], *, mended: bool) -> None:
        """An operator is about to redrive."""
        self._redriven += len(letters)
        for letter in letters:
            self._entry_of(letter.letter, letter.dedupe_id).mended |= mended

    def discarded(self, letters: Sequence[StoredLetter]) -> None:
        """An operator is about to discard."""
        for letter in letters:
            self._discarded[self._entry_of(letter.letter, letter.dedupe_id).number] += 1

    def _entry_of(self, letter: DeadLetter, dedupe_id: bytes) -> Entry:
        place = Partition(letter.topic, letter.partition), letter.offset
        if poison := self._poison.get(place):
            return poison
        return next(e for e in self._entries.values() if e.dedupe_id == dedupe_id)

    # Transactions.

    def before(self, who: Replica, batch: Batch) -> None:
        """A batch is about to be carried out."""
        trial = who.store.trial
        self._before = {
            claim.partition: self._snapshot(claim.partition)
            for claim in batch.claims
            if claim.epoch != self.epochs[claim.partition] or trial.fault is not None
        }

    def after(self, who: Replica, batch: Batch, result: BatchResult | None) -> None:
        """It has been, or the process ended in it (no result)."""
        counts = self._world.counts
        counts["transactions"] += 1
        for claim in batch.claims:
            if claim.epoch == self.epochs[claim.partition]:
                continue
            counts["batches of a zombie"] += 1
            now = self._snapshot(claim.partition)
            if who.store.committed and now != self._before[claim.partition]:
                raise Violation(
                    Promise.FENCED,
                    f"{who} wrote {now} to {claim.partition} where {self._before[claim.partition]} "
                    f"was, with epoch {claim.epoch}; it is {self.epochs[claim.partition]}",
                )
        if not who.store.committed:
            return
        for letter in who.store.trial.letters:
            self._ever_dead.add(self._entry_of(letter.letter, letter.dedupe_id).number)
            counts["dead letters"] += 1
        rows = self._run(
            "SELECT n, entry, kind FROM effects WHERE n > ? ORDER BY n", (self._last_effect,)
        ).fetchall()
        for n, number, kind in rows:
            self._last_effect = n
            entry = self._entries[number]
            self._world.say(who, f"effect of {entry}, {kind}")
            self._effect(entry)
            if entry.kind in VERSIONED:
                self._version(entry, kind)
            if self.effects[number] > 1:
                raise Violation(Promise.NOT_TWICE, f"{entry}, by {who}")
        self._look_at_progress(who)
        if result is not None and result.error is None:
            self._told.update(result.positions)
        for run in result.new if result is not None else ():
            dedupe_id = run.items[0].dedupe_id
            if self._run("SELECT 1 FROM hookline_seen WHERE id = ?", (dedupe_id,)).fetchone():
                raise Violation(Promise.EXTERNAL, f"{run.items[0].event} is done already")

    def _snapshot(self, partition: Partition) -> object:
        """All rows of a partition."""
        where = "WHERE topic = ? AND partition = ?"
        numbers = [n for (n,) in self._run("SELECT entry FROM effects")]
        return (
            [n for n in numbers if self._entries[n].partition == partition],
            self._run(f"SELECT next_offset FROM hookline_progress {where}", partition).fetchall(),
            self._run(f"SELECT key, offset FROM hookline_parked {where}", partition).fetchall(),
            self._run(f"SELECT * FROM hookline_parked_keys {where}", partition).fetchall(),
            [x.offset for x in self._letters() if x.partition == partition.number],
        )

    def _letters(self) -> list[DeadLetter]:
        rows = self._run("SELECT letter FROM hookline_dead_letters ORDER BY number")
        return [DEAD_LETTER.decode(letter) for (letter,) in rows]

    def _effect(self, entry: Entry) -> None:
        self.effects[entry.number] += 1
        self._world.counts["effects"] += 1
        last = self._last_index.get(entry.lane, -1)
        if self.effects[entry.number] == 1 and entry.number not in self._ever_dead:
            if entry.index < last:
                raise Violation(
                    Promise.IN_ORDER, f"{entry}, number {entry.index} of its key, after {last}"
                )
            self._last_index[entry.lane] = entry.index

    def _version(self, entry: Entry, kind: str) -> None:
        assert entry.event is not None
        applied = self._newest.get(entry.lane)
        version = Applied(entry.event.resource_version, None, entry.kind is Kind.DELETE)
        if entry.key is None:
            return
        if entry.lane in self._mixed:
            older = (
                version.version is not None
                and applied is not None
                and applied.version is not None
                and version.version < applied.version
            )
        else:
            older = is_stale(version, applied)
            if kind == "refetched" and not older:
                raise Violation(Promise.NOT_STALE, f"{entry} {version} refetched at {applied}")
        if kind == "applied":
            if older:
                raise Violation(Promise.NOT_STALE, f"{entry} {version} applied after {applied}")
            self._newest[entry.lane] = newest(version, applied)

    def _look_at_progress(self, who: Replica) -> None:
        rows = self._run("SELECT partition, epoch, next_offset FROM hookline_progress").fetchall()
        for number, epoch, position in rows:
            partition = Partition(TOPIC, number)
            if epoch != self.epochs[partition]:
                raise Violation(Promise.FENCED, f"the epoch of {partition} became {epoch}")
            if position is None:
                continue
            before = self._progress.get(partition, 0)
            if position < before:
                self._world.counts["progress taken back after a lost answer"] += 1
            if position < self._told.get(partition, 0):
                raise Violation(
                    Promise.PROGRESS, f"{who} took {partition} from {before} back to {position}"
                )
            self._progress[partition] = position
            if position <= before:
                continue
            log = self._world.plan.log[partition]
            if not log or position > log[-1].at + 1:
                raise Violation(Promise.PROGRESS, f"{partition} at {position}, past its end")
            for message in log:
                if before <= message.at < position and not self._finished(message):
                    raise Violation(
                        Promise.PROGRESS,
                        f"{who} took {partition} to {position}, and at {message.at} is "
                        f"{message.entry}",
                    )

    def _finished(self, message: Message) -> bool:
        entry = message.entry
        if self.effects[entry.number] or entry.number in self._ever_dead:
            return True
        if entry.kind is Kind.UNHANDLED:
            return True
        if entry.kind in (Kind.SKIP, Kind.DELETE):
            done = "SELECT 1 FROM hookline_seen WHERE id = ?"
            if self._run(done, (entry.dedupe_id,)).fetchone():
                return True
        offsets = [m.at for m in self._world.plan.log[entry.partition] if m.entry is entry]
        parked = self._run(
            "SELECT offset FROM hookline_parked WHERE topic = ? AND partition = ? AND key = ?",
            (*entry.partition, entry.key or b""),
        )
        return any(offset in offsets for (offset,) in parked)

    # External calls, and memory.

    def started(self, who: Replica, run: RecordRun) -> None:
        """An external handler begins."""
        self._world.counts["external calls"] += 1
        for other in who.running:
            if other is not run and other.lane is run.lane:
                raise Violation(Promise.IN_ORDER, f"{who} runs two events of {run.key!r} at once")

    def called(self, who: Replica, entry: Entry, key: str) -> None:
        """An external effect has happened."""
        self._world.say(who, f"external effect of {entry}")
        if key != entry.dedupe_id.hex():
            raise Violation(Promise.EXTERNAL, f"{entry} was called with key {key}")
        self._world.counts["external effects again"] += self.effects[entry.number] > 0
        self._effect(entry)

    def bounds(self, who: Replica) -> None:
        """A command was taken in."""
        plan = self._world.plan
        gauges = who.dispatcher.gauges({}, 0.0)
        # Two polls wait to be taken in beside the one that made it full; loads come from the store.
        polled = 3 * plan.chunk
        if gauges.buffered_events > plan.limits.max_buffered_events + polled + gauges.parked_events:
            raise Violation(Promise.BOUNDED, f"{who} buffers {gauges.buffered_events} events")
        # The room is looked at once for a run, and not again for the others of its batch; an event
        # that is parked a second time (after a restart) counts twice until its key is loaded; what
        # a commit parked whose answer was lost is not known until then.
        parking, batch = plan.parking, 2 * plan.limits.max_batch_events
        lost = self._world.counts[f"fault: {Fault.AMBIGUOUS}"] * batch
        # A key whose load was cut counts one more than was loaded, until it is known.
        lost += gauges.parked_keys
        owned = len(who.dispatcher.ownership)
        if gauges.parked_events > owned * (parking.max_events + batch) + self._redriven + lost:
            raise Violation(Promise.BOUNDED, f"{who} has {gauges.parked_events} parked events")
        if gauges.parked_keys > owned * (parking.max_keys + batch) + self._redriven + lost:
            raise Violation(Promise.BOUNDED, f"{who} has {gauges.parked_keys} parked keys")

    # The end.

    def at_rest(self) -> bool:
        """Whether nothing is left to do; looked at now and then."""
        world = self._world
        self.look_s = world.now + _LOOK_EVERY_S
        if None in world.owners.values() or not all(r.quiet and not r.cut for r in world.replicas):
            return False
        return not self._left()

    def _left(self) -> list[str]:
        """What is not done."""
        left = [
            f"{partition} is at {self._progress.get(partition, 0)} of {log[-1].at + 1}"
            for partition, log in self._world.plan.log.items()
            if log and self._progress.get(partition, 0) != log[-1].at + 1
        ]
        for row in self._run("SELECT * FROM hookline_parked_keys"):
            left.append(f"parked key {row}")
        for row in self._run("SELECT partition, key, offset FROM hookline_parked"):
            left.append(f"parked event {row}")
        for replica in self._world.replicas:
            gauges = replica.dispatcher.gauges({}, 0.0)
            if gauges.buffered_events or gauges.parked_events or gauges.lanes:
                left.append(f"{replica} holds {gauges}")
        return left

    def restless(self) -> Violation:
        """It went on for too long."""
        left = [*self._left(), f"{self._world.steps} steps"]
        return Violation(Promise.COMES_TO_REST, "; ".join(left))

    def end(self) -> None:
        """All has come to rest: nothing is lost."""
        letters: Counter[int] = Counter()
        for dedupe_id, letter in self._run("SELECT dedupe_id, letter FROM hookline_dead_letters"):
            letters[self._entry_of(DEAD_LETTER.decode(letter), dedupe_id).number] += 1
        for entry in self._entries.values():
            self._account(entry, letters[entry.number] + self._discarded[entry.number])

    def _account(self, entry: Entry, dead: int) -> None:
        effects = self.effects[entry.number]
        told = f"{entry}: {effects} effects, {dead} dead letters"
        if entry.kind is Kind.UNHANDLED:
            right = effects == dead == 0
        elif entry.kind is Kind.POISON:
            right = effects == 0 and dead == 1
        elif entry.kind in EXTERNAL_KINDS:
            right = dead <= 1 and (effects > 0 or dead == 1)
        else:
            right = effects + dead == 1 or (effects + dead == 0 and self._is_stale(entry))
        if not right:
            raise Violation(Promise.NOTHING_LOST, told)

    def _is_stale(self, entry: Entry) -> bool:
        if entry.kind not in (Kind.SKIP, Kind.DELETE) or entry.event is None:
            return False
        row: Any = self._run(
            "SELECT version FROM hookline_applied WHERE id = ?", (entry.event.resource_digest,)
        ).fetchone()
        version = entry.event.resource_version
        return row is not None and version is not None and row[0] >= version
