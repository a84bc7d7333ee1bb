"""The partitions that are ours: their claims, watermarks, and what is told of them to Kafka.

All but the three `take_…` methods are for the dispatcher's thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from consumer.core.watermark import Watermark
from consumer.engine.engine_metrics import EngineMetrics
from consumer.stores.contract import Claim, Partition

log = logging.getLogger("hookline.consumer")


class Ownership:
    """What one replica owns; `name` is what logs call us."""

    def __init__(self, name: str, metrics: EngineMetrics) -> None:
        self._name = name
        self._metrics = metrics
        self._claims: dict[Partition, Claim] = {}
        self._watermarks: dict[Partition, Watermark] = {}
        #: Partitions to give up, with what is set once nothing of them runs any more.
        self.draining: dict[Partition, threading.Event] = {}
        self._telling = threading.Lock()
        self._committable: dict[Partition, int] = {}
        self._fenced: set[Partition] = set()

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._claims

    def __len__(self) -> int:
        return len(self._claims)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._claims)

    def assign(self, claim: Claim) -> None:
        """A partition is ours from now on."""
        self._claims[claim.partition] = claim

    def forget(self, partition: Partition) -> None:
        """A partition is no longer ours."""
        self._claims.pop(partition, None)
        self._watermarks.pop(partition, None)
        self.draining.pop(partition, None)

    def deliver(self, partition: Partition, offset: int) -> bool | None:
        """Note an offset of the log: True if it is new, None if the log has begun anew below.

        False also for a partition that is not ours, or that takes in nothing more.
        """
        if partition not in self._claims or partition in self.draining:
            return False
        watermark = self._watermarks.get(partition)
        fresh: bool | None = True
        if watermark is None or offset < watermark.position:
            if watermark is not None:
                log.warning(
                    "the log is shorter than our progress: was the topic made anew? "
                    "going on from where the log is",
                    extra={"data": {"partition": str(partition), "offset": offset}},
                )
                fresh = None
            else:
                self._say_what_is_missing(partition, offset)
            watermark = self._watermarks[partition] = Watermark(offset)
        return fresh if watermark.deliver(offset) else False

    def _say_what_is_missing(self, partition: Partition, first: int) -> None:
        expected = self._claims[partition].next_offset
        # A transaction's marker takes an offset, too: one or two are nothing.
        if expected is not None and first - expected > 2:
            log.error(
                "events are gone from the log that were not handled yet: was the consumer away "
                "for longer than the topic keeps them (retention.ms)?",
                extra={
                    "data": {
                        "partition": str(partition),
                        "from_offset": expected,
                        "missing": first - expected,
                    }
                },
            )

    def position(self, partition: Partition) -> int | None:
        """Below which all is done, if that is known; from any thread."""
        watermark = self._watermarks.get(partition)
        if watermark is not None:
            return watermark.position
        claim = self._claims.get(partition)
        return claim.next_offset if claim is not None else None

    def complete(
        self, claims: Collection[Claim], offsets: Mapping[Partition, Sequence[int]]
    ) -> None:
        """Offsets (sorted) are done and committed, under these claims."""
        for partition, done in offsets.items():
            claim = self._claims.get(partition)
            watermark = self._watermarks.get(partition)
            # Claimed anew meanwhile, or the log has begun anew: they are of another life.
            if claim in claims and watermark is not None and done[-1] < watermark.high:
                watermark.complete_all(done)

    def claims(self, partitions: Iterable[Partition]) -> list[Claim]:
        """The claims of those that are ours."""
        return [self._claims[p] for p in partitions if p in self._claims]

    def watermarks(self, partitions: Iterable[Partition]) -> dict[Partition, Watermark]:
        """Copies, for a batch to learn where it would bring them."""
        return {p: self._watermarks[p].copy() for p in partitions if p in self._watermarks}

    def advanced(self, positions: Mapping[Partition, int]) -> None:
        """The store has progressed: Kafka's offsets are to follow."""
        with self._telling:
            for partition, position in positions.items():
                if partition in self._claims:
                    self._committable[partition] = position

    def lost(self, claims: Iterable[Claim], partition: Partition, owner: str) -> bool:
        """Another has claimed a partition since `claims` were ours; False if we did ourselves."""
        claim = self._claims.get(partition)
        if claim is None or claim not in claims:
            return False
        self._metrics.fenced()
        log.warning(
            "another owner has claimed the partition: what we had in hand is dropped",
            extra={
                "data": {
                    "partition": str(partition),
                    "our_epoch": claim.epoch,
                    "us": self._name,
                    "them": owner,
                }
            },
        )
        with self._telling:
            self._fenced.add(partition)
        return True

    def take_committable(self) -> dict[Partition, int]:
        """The positions to commit to Kafka since the last call."""
        with self._telling:
            positions, self._committable = self._committable, {}
        return positions

    def take_fenced(self) -> set[Partition]:
        """Partitions that turned out to be another's since the last call."""
        with self._telling:
            fenced, self._fenced = self._fenced, set()
        return fenced
