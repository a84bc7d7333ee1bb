"""The connections of a gateway: followed on Kafka, seeded from the file, kept in a snapshot.

Order of trust at the start: the topic; if Kafka is evidently away, or silent for a while, the
snapshot; never the file alone, since it does not know what was revoked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec

from credentials.secret import Secret
from producer.connections.clients import TopicAccess
from producer.connections.follower import Follower
from producer.connections.knocking import nobody_listens
from producer.connections.ledger import Ledger, Standing
from producer.connections.seeder import Seeder
from producer.connections.serving import Serving
from producer.connections.snapshot import Snapshot
from producer.gateway.connections import ConnectionTable
from schemas.connection import Connection
from schemas.connection_record import RecordKey

log = logging.getLogger("hookline.connections")

_TURN_S: Final = 0.5
_NAMED: Final = 20
_SNAPSHOT_EVERY_S: Final = 60.0
_SNAPSHOT_AGAIN_S: Final = 1.0
_SLOW_TIMES: Final = 10
#: How long secrets that are still being fetched for the first time keep a gateway unready.
_SECRETS_PATIENCE_S: Final = 10.0


class RegistryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a registry is made from. `listed`: the file's connections, of this environment."""

    environment: str
    access: TopicAccess
    snapshot: Snapshot | None = None
    listed: Sequence[Connection] = ()
    written_by: str = "hookline.yaml"
    patience_s: float = 2.0


class ConnectionRegistry:
    """Keeps a table in step with the topic, on threads of its own, from `start` to `close`."""

    def __init__(
        self,
        plan: RegistryPlan,
        table: ConnectionTable,
        resolve: Callable[[str], Secret],
        forget: Callable[[str], None] = lambda connection_id: None,
        known: Callable[[str], None] = lambda connection_id: None,
    ) -> None:
        """`forget` is told of a connection that was removed, so that its metrics can go; `known`
        of one that is about to be served, which may be one that was removed before.
        """
        self._plan = plan
        self._table = table
        self._forget = forget
        self._known = known
        self.serving = Serving(environment=plan.environment, table=table, resolve=resolve)
        self._follower = Follower(plan.access, self)
        # Around what the ledger says and the table shows: the two must not come apart.
        self._lock = threading.RLock()
        self._ledger = Ledger(plan.environment, access=False)
        self._reading = self._ledger
        self._said: set[str] = set()
        self._began_s = time.monotonic()
        self._caught_up_s: float | None = None
        self._from_snapshot = ""
        self._snapshot_problem = ""
        self._knocking: Future[None] | None = None
        self._nobody_listens = False
        self._made_anew = False
        # Seeding: done when what was written has been read back.
        self._seeder = Seeder(
            plan.access, plan.listed, plan.written_by, lambda: self._ledger, self._lock
        )
        self._seeding: Future[None] | None = None
        # How far behind, as the partition's leader last said.
        self._confirmed_s: float | None = None
        self._changed = False
        self._written_s = self._write_at_s = 0.0
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="hookline-registry", daemon=True)
        # What waits for Kafka waits here.
        self._chores = ThreadPoolExecutor(2, "hookline-registry-kafka")

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()
        self._wake.set()
        self._keeper.start()

    def close(self, within_s: float = 2.0) -> None:
        """End."""
        self._stopping.set()
        self._wake.set()
        self._chores.shutdown(wait=False, cancel_futures=True)
        self.serving.close()
        self._follower.stop(within_s)
        self._keeper.join(within_s)

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        if not self._follower.alive or not (self._keeper.is_alive() or self._stopping.is_set()):
            return False, "the connections are followed no more: a thread has ended"
        return True, ""

    def ready(self) -> tuple[bool, str]:
        """Whether it is known which connections there are, and if not, why."""
        if self._caught_up_s is None:
            if self._from_snapshot:
                return True, ""
            reason = self._follower.problem or "the connections topic is being read"
            return False, f"connections are not known: {reason}" + (
                f"; {self._snapshot_problem}" if self._snapshot_problem else ""
            )
        if not self._table.complete:
            return False, self._seeder.problem or "the file's connections are being written"
        waited_s = time.monotonic() - self._caught_up_s
        if waited_s < _SECRETS_PATIENCE_S and (left := self.serving.untried()):
            return False, f"the secrets of {left} connections are being fetched"
        return True, ""

    def states(self) -> dict[str, int]:
        """How many connections are in each state; `unserved` ones are active without a secret."""
        counts = {state.value: 0 for state in Standing} | {"unserved": 0}
        with self._lock:
            for name in self._ledger.ids():
                counts[str(self._ledger.standing(name))] += 1
        counts["unserved"] = len(self.serving.unserved())
        counts["active"] -= min(counts["active"], counts["unserved"])
        return counts

    def lag_records(self) -> int:
        """How many records there are that this gateway has not read."""
        newest = self._follower.newest
        return 0 if newest is None else max(0, newest.offset - self._reading.next_offset)

    def age_s(self) -> float:
        """Since when Kafka has not confirmed that nothing is missed; from the start if never."""
        return time.monotonic() - (self._confirmed_s or self._began_s)

    # What the follower tells, on its thread.

    def began(self, anew: bool = False) -> None:
        """See `follower.Listener`."""
        self._made_anew |= anew
        self._reading = Ledger(self._plan.environment, access=False)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            name = self._reading.apply(key, value, offset)
            if name is not None and self._reading is self._ledger:
                self._show(name)
                self._changed = True
                self._wake.set()
            self._settle()
        self._say_foreign()

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            # Compaction may have taken the last records away.
            self._reading.next_offset = max(self._reading.next_offset, offset)
            if self._reading is not self._ledger:
                self._adopt()
            self._settle()
        self._wake.set()

    def _adopt(self) -> None:
        """What was read from the beginning takes the place of what was known before."""
        before, after = self._ledger, self._reading
        served = self._caught_up_s is not None or self._from_snapshot
        lost = [key for key in before.all_keys() if key not in after.all_keys()]
        if served and lost and (self._made_anew or not after.ids()):
            self._go_on(before, after, lost)
            return
        self._ledger = after
        for name in {*before.ids(), *after.ids()}:
            self._show(name)
        self._changed = True
        if self._caught_up_s is None:
            self._caught_up_s = self._confirmed_s = time.monotonic()
            log.info(
                "connections are known",
                extra={"data": {"connections": len(after.ids()), "offset": after.next_offset}},
            )
        self._from_snapshot = ""

    def _go_on(self, before: Ledger, after: Ledger, lost: list[RecordKey]) -> None:
        """The topic has forgotten: to believe it would accept again what was revoked."""
        for key, value in after.values():
            name = before.apply(key, value, 0)
            if name is not None:
                self._show(name)
        # What is written from here on is added to what was known.
        before.next_offset = after.next_offset
        self._reading = before
        self._changed = True
        names = [key.encode().decode() for key in lost]
        log.error(
            "the connections topic has lost records, as if made anew: this gateway goes on with "
            "what it knew until it ends. See that the topic is there (`hookline topics apply`), "
            "restart a gateway to seed it from the file, then apply and revoke again what is lost",
            extra={"data": {"count": len(names), "lost": sorted(names)[:_NAMED]}},
        )

    def _show(self, name: str) -> None:
        """Bring the table to what the ledger says of one connection, at once."""
        ledger = self._ledger
        standing = ledger.standing(name)
        connection = ledger.servable(name)
        if connection is not None:
            self._known(name)
            self.serving.serve(connection)
        elif standing is Standing.UNREADABLE:
            self.serving.hold(name, ledger.problem(name))
        else:
            self.serving.drop(name)
            if standing is None:
                self._forget(name)

    # What the keeper does, on its thread: nothing that waits for Kafka or a backend.

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(_TURN_S)
            self._wake.clear()
            try:
                self._turn(time.monotonic())
            # The thread's top: the table stays as it is, and the next turn tries again.
            except Exception:
                log.exception("the registry of connections has met a fault; going on")

    def _turn(self, now_s: float) -> None:
        self.serving.retry_due()
        if self._caught_up_s is None:
            # Kafka that is there and slow is waited for: it knows more than the snapshot.
            patience_s = self._plan.patience_s * (1 if self._follower.problem else _SLOW_TIMES)
            if self._nobody_listens or now_s - self._began_s >= patience_s:
                self._use_snapshot()
            elif self._idle(self._knocking):
                self._knocking = self._chores.submit(self._knock)
            return
        if self._seeder.due(now_s) and self._idle(self._seeding):
            self._seeding = self._chores.submit(self._seed)
        newest = self._follower.newest
        if newest is not None and self._reading.next_offset >= newest.offset:
            self._confirmed_s = max(newest.at_s, self._confirmed_s or 0.0)
        current = (self._confirmed_s or 0.0) > self._written_s + _SNAPSHOT_EVERY_S
        if (self._changed or current) and now_s >= self._write_at_s:
            self._write_snapshot(now_s)

    def _idle(self, task: Future[None] | None) -> bool:
        return (task is None or task.done()) and not self._stopping.is_set()

    def _write_snapshot(self, now_s: float) -> None:
        # Crash window: what was revoked between the table's change and here is accepted again
        # after a kill within these milliseconds and a restart while Kafka is away.
        self._changed = False
        self._written_s = now_s
        if self._plan.snapshot is None:
            return
        with self._lock:
            records = self._ledger.values()
        try:
            self._plan.snapshot.write(self._plan.environment, records, time.time())
        except OSError as error:
            # What changed is not in it: a minute later it could be a revocation that is missing.
            self._changed = True
            self._write_at_s = now_s + _SNAPSHOT_AGAIN_S
            self._say(
                f"the snapshot of the connections cannot be written ({error.strerror}): a restart "
                "while Kafka is away would serve nothing; mend gateway.connections_snapshot"
            )

    def _use_snapshot(self) -> None:
        if self._from_snapshot:
            return
        found: tuple[Ledger, float] | str = "no snapshot is kept (gateway.connections_snapshot)"
        if self._plan.snapshot is not None:
            found = self._plan.snapshot.read(self._plan.environment, time.time())
        if isinstance(found, str):
            self._snapshot_problem = found
            self._say(f"no connection is served: Kafka is away, and {found}")
            return
        ledger, age_s = found
        with self._lock:
            if self._caught_up_s is not None:
                return
            self._ledger = ledger
            for name in ledger.ids():
                self._show(name)
        self._from_snapshot = f"{age_s:.0f} s old"
        log.warning(
            "Kafka is away: serving the connections of the snapshot; what was changed or revoked "
            "since then is not known",
            extra={"data": {"age_s": round(age_s), "connections": len(ledger.ids())}},
        )

    # What waits for Kafka, on the chores' threads.

    def _knock(self) -> None:
        if nobody_listens(self._plan.access.bootstrap_servers):
            self._nobody_listens = True
            self._wake.set()

    def _settle(self) -> None:
        """From here on, what is not found is certainly not there. Under the lock."""
        if self._caught_up_s is not None and self._seeder.reaches is not None:
            self._table.complete |= self._ledger.next_offset >= self._seeder.reaches

    def _seed(self) -> None:
        if not self._seeder.seed():
            self._say(self._seeder.problem)
            return
        with self._lock:
            self._settle()
        self._wake.set()

    def _say_foreign(self) -> None:
        for what in self._reading.foreign:
            if what not in self._said:
                self._said.add(what)
                log.warning(
                    "records on the connections topic are ignored: they are not of this "
                    "environment",
                    extra={"data": {"of": what, "environment": self._plan.environment,
                                    "topic": self._plan.access.topic}},
                )  # fmt: skip

    def _say(self, text: str) -> None:
        """Say it once."""
        if text not in self._said:
            self._said.add(text)
            log.error(text)
