"""The one thread that owns the Kafka consumer: polls, pauses, and hands partitions over.

It always polls, also while the consumer is full (with its partitions paused), so that a slow
handler never costs the membership of the group.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from consumer.engine.added_partitions import AddedPartitions
from consumer.engine.commands import Assigned, Polled, Released
from consumer.engine.dispatcher import Dispatcher
from consumer.engine.group_member import KafkaErrors, new_client, serve_by_first_accepted
from consumer.engine.metadata import Metadata
from consumer.engine.tracing import ConsumerTracing
from consumer.stores.contract import Claim, Partition, Store
from schemas.errors import StoreError

log = logging.getLogger("hookline.consumer")

_POLL_S: Final = 1.0
_MESSAGES_A_POLL: Final = 1000
_COMMIT_EVERY_S: Final = 1.0
_PAUSE_AFTER_S: Final = 0.5
_RECLAIM_AFTER_S: Final = 2.0
_CLAIM_RETRY_S: Final = 1.0


class PollThread:
    """Runs `run` on a thread of its own until `stop`."""

    def __init__(
        self,
        *,
        topic: str,
        protocols: Sequence[dict[str, Any]],
        store: Store,
        dispatcher: Dispatcher,
        tracing: ConsumerTracing,
        owner: str,
        drain_deadline_s: float,
    ) -> None:
        """`protocols`: librdkafka's properties, for each group protocol in order of preference."""
        self._topic = topic
        self._store = store
        self._dispatcher = dispatcher
        self._tracing = tracing
        self._owner = owner
        self._drain_deadline_s = drain_deadline_s
        self._stopping = threading.Event()
        self._paused = False
        self._positions: dict[Partition, int] = {}
        self._committed_s = 0.0
        self._reclaim: dict[Partition, float] = {}
        self._errors = KafkaErrors(topic, log)
        self.assigned: frozenset[Partition] = frozenset()
        #: How many events of each assigned partition are not done, as far as Kafka has told.
        self.lag: dict[Partition, int] = {}
        self._metadata = Metadata(protocols[0])
        self._added = AddedPartitions(topic, store, lambda count: self._metadata.ends(topic, count))
        self._waiting: set[Partition] = set()
        self._protocols = protocols
        # Made here, so that a wrong property is told at start and not by a thread.
        self._consumer = new_client(protocols[0])

    def stop(self) -> None:
        """Ask it to drain, commit and leave the group; it may be called from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """The thread."""
        serve_by_first_accepted(self._protocols, self._consumer, self._serve, log)

    def _serve(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._consumer.subscribe(
            [self._topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            # Leaving calls on_revoke, which drains and commits.
            self._consumer.close()

    def _turn(self) -> None:
        if self._has_room():
            self._poll()
        self._commit_positions()
        self._claim_again()

    def _has_room(self) -> bool:
        """Wait for room; past a moment of waiting, keep the membership alive meanwhile."""
        deadline_s = time.monotonic() + _PAUSE_AFTER_S
        while self._dispatcher.full:
            if self._paused:
                # Partitions are paused: this only serves callbacks.
                self._take(self._consumer.poll(0.1))
                return False
            if time.monotonic() >= deadline_s:
                # Pausing throws away what librdkafka has fetched ahead, so not at once.
                self._consumer.pause(self._consumer.assignment())
                self._paused = True
            elif self._stopping.wait(0.002):
                return False
        if self._paused:
            self._resume(self.assigned - self._waiting)
            self._paused = False
        return True

    def _poll(self) -> None:
        began_ns = time.time_ns()
        # consume(n, timeout) waits its whole timeout unless n messages come; poll does not.
        first = self._consumer.poll(_POLL_S)
        if first is None:
            return
        messages = self._take(first, *self._consumer.consume(_MESSAGES_A_POLL - 1, 0))
        if messages:
            self._tracing.polled(self._topic, messages, began_ns)

    def _take(self, *messages: Any) -> int:
        """Pass messages on; how many were no errors. Blocks while two batches wait."""
        good = []
        for message in messages:
            if message is None:
                continue
            if error := message.error():
                self._errors.note(error)
            else:
                good.append(message)
        if not good:
            return 0
        while not self._dispatcher.intake.acquire(timeout=1.0):
            if self._stopping.is_set():
                return 0
        self._dispatcher.inbox.put(Polled(good, time.monotonic_ns(), time.time() * 1000.0))
        return len(good)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gained = [Partition(p.topic, p.partition) for p in partitions]
        self._look_for_added(gained)
        claims = self._claim(gained)
        # The dispatcher learns of them before any message of theirs can be polled.
        self._dispatcher.inbox.put(Assigned(claims))
        consumer.incremental_assign([_start(claim) for claim in claims])
        if self._paused:
            consumer.pause([_start(claim) for claim in claims])
        else:
            self._pause_waiting(claims)
        self.assigned |= {claim.partition for claim in claims}
        log.info(
            "partitions assigned",
            extra={"data": {str(c.partition): [c.epoch, c.next_offset] for c in claims}},
        )

    def _look_for_added(self, gained: Sequence[Partition]) -> None:
        if not gained:
            return
        try:
            self._added.look(self._metadata.partitions(self._topic))
            self._waiting |= self._added.waiting(gained)
        except (KafkaException, StoreError) as error:
            log.warning(
                "cannot tell whether partitions were added; going on as if not",
                extra={"data": {"detail": str(error)}},
            )

    def _pause_waiting(self, claims: Sequence[Claim]) -> None:
        waiting = [_start(claim) for claim in claims if claim.partition in self._waiting]
        if waiting:
            self._consumer.pause(waiting)

    def _resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume([TopicPartition(p.topic, p.number) for p in partitions])

    def _release_waiting(self) -> None:
        """New partitions whose older ones are drained are read from now on."""
        if not self._waiting:
            return
        try:
            still = self._added.waiting(self._waiting)
        except StoreError:
            return
        released, self._waiting = self._waiting - still, still
        if released and not self._paused:
            self._resume(released & self.assigned)

    def _claim(self, partitions: Sequence[Partition]) -> list[Claim]:
        told = False
        while True:
            try:
                return self._store.claim(partitions, self._owner)
            except StoreError as error:
                # Without a claim nothing may run. Waiting here is right: should it take longer
                # than max.poll.interval.ms, another replica with a working store gets them.
                if not told:
                    log.error(
                        "cannot claim partitions in the store; trying again",
                        extra={"data": {"detail": str(error)}},
                    )
                    told = True
                if self._stopping.wait(_CLAIM_RETRY_S):
                    return []

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [Partition(p.topic, p.partition) for p in partitions]
        drained = threading.Event()
        self._dispatcher.inbox.put(Released(gone, drained))
        if not drained.wait(self._drain_deadline_s):
            log.warning(
                "handlers did not end within the drain deadline: their events run again elsewhere",
                extra={"data": {"partitions": [str(p) for p in gone]}},
            )
            self._dispatcher.inbox.put(Released(gone))
        self._positions.update(self._dispatcher.ownership.take_committable())
        self._commit({p: self._positions.pop(p) for p in gone if p in self._positions}, wait=True)
        self._gone(gone)
        consumer.incremental_unassign(partitions)
        log.info("partitions released", extra={"data": {"partitions": [str(p) for p in gone]}})

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else may have them already: nothing may be finished or committed.
        gone = [Partition(p.topic, p.partition) for p in partitions]
        self._dispatcher.inbox.put(Released(gone))
        self._gone(gone)
        consumer.incremental_unassign(partitions)
        log.warning("partitions lost", extra={"data": {"partitions": [str(p) for p in gone]}})

    def _gone(self, partitions: Sequence[Partition]) -> None:
        self.assigned -= set(partitions)
        self._waiting -= set(partitions)
        for partition in partitions:
            self._positions.pop(partition, None)
            self._reclaim.pop(partition, None)

    def _commit_positions(self) -> None:
        """Let Kafka's committed offsets follow the store, for lag tools and autoscaling."""
        now = time.monotonic()
        if now - self._committed_s < _COMMIT_EVERY_S:
            return
        self._committed_s = now
        self._measure_lag()
        self._release_waiting()
        self._positions.update(self._dispatcher.ownership.take_committable())
        mine = {p: offset for p, offset in self._positions.items() if p in self.assigned}
        self._positions.clear()
        self._commit(mine, wait=False)

    def _measure_lag(self) -> None:
        lag: dict[Partition, int] = {}
        for partition in self.assigned:
            position = self._dispatcher.ownership.position(partition)
            # From librdkafka's memory, as fetches have told it.
            offsets = self._consumer.get_watermark_offsets(
                TopicPartition(partition.topic, partition.number), cached=True
            )
            if offsets is not None and position is not None and offsets[1] >= 0:
                lag[partition] = max(0, offsets[1] - position)
        self.lag = lag

    def _commit(self, positions: dict[Partition, int], *, wait: bool) -> None:
        if not positions:
            return
        offsets = [TopicPartition(p.topic, p.number, at) for p, at in positions.items()]
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # The store is the authority; these offsets only inform, and the next commit repairs.
            log.info("offsets not committed", extra={"data": {"detail": error.args[0].str()}})

    def _claim_again(self) -> None:
        """Fenced though still assigned: a zombie claimed late. After a moment claim anew."""
        now = time.monotonic()
        for partition in self._dispatcher.ownership.take_fenced():
            self._reclaim[partition] = now + _RECLAIM_AFTER_S
        due = [p for p, at in self._reclaim.items() if at <= now and p in self.assigned]
        if not due:
            return
        for partition in due:
            del self._reclaim[partition]
        claims = self._claim(due)
        if not claims:
            return
        self._consumer.incremental_unassign([_start(claim) for claim in claims])
        self._dispatcher.inbox.put(Assigned(claims))
        self._consumer.incremental_assign([_start(claim) for claim in claims])
        if self._paused:
            self._consumer.pause([_start(claim) for claim in claims])
        else:
            self._pause_waiting(claims)


def _start(claim: Claim) -> TopicPartition:
    """Where to begin: the store is the authority; one that knows nothing begins at the start."""
    offset = OFFSET_BEGINNING if claim.next_offset is None else claim.next_offset
    return TopicPartition(claim.partition.topic, claim.partition.number, offset)
