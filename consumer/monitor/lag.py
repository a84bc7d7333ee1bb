"""How far consumer groups are behind: sampled from Kafka, in events and in seconds.

Seconds are read off the partition's own past: when did it end where the group is now? That holds
for a group that stands still, too, of which no event's own time is known.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from consumer.monitor.contract import Gauge, Questions

log = logging.getLogger("hookline.monitor")

#: Names of the gauges; labels group, topic, partition.
LAG_EVENTS: Final = "lag_events"
LAG_SECONDS: Final = "lag_seconds"
EVERY_S: Final = 10.0
#: For a day, and then the lag in seconds is only known to be as long.
_HISTORY: Final = int(86_400 / EVERY_S)
_TIMEOUT_S: Final = 10.0


class EndHistory:
    """Where a partition ended, and when."""

    def __init__(self, length: int = _HISTORY) -> None:
        self._ends: deque[int] = deque(maxlen=length)
        self._times: deque[float] = deque(maxlen=length)

    def note(self, end: int, at_s: float) -> None:
        """A sample; an end below the last one is of a topic made anew."""
        if self._ends and end < self._ends[-1]:
            self._ends.clear()
            self._times.clear()
        # Only the last of several samples with one end: until then there was nothing to read.
        if self._ends and self._ends[-1] == end:
            self._times[-1] = at_s
            return
        self._ends.append(end)
        self._times.append(at_s)

    def behind_s(self, position: int, now_s: float) -> float:
        """Since when what lies at a position has been there: at least so long, in seconds."""
        if not self._ends or position >= self._ends[-1]:
            return 0.0
        place = bisect_right(self._ends, position)
        return max(0.0, now_s - self._times[max(0, place - 1)])


class LagSampler:
    """A chore's `run`: asks Kafka, and writes gauges."""

    def __init__(
        self,
        properties: dict[str, Any],
        groups: Sequence[str],
        topic: str,
        environment: str,
        store: Questions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`properties`: librdkafka's, of an admin client."""
        self._properties = {**properties, "client.id": "hookline-monitor-lag"}
        self._groups = tuple(groups)
        self._topic = topic
        self._environment = environment
        self._store = store
        self._clock = clock
        self._admin: AdminClient | None = None
        self._consumers: dict[str, Consumer] = {}
        self._histories: dict[int, EndHistory] = {}

    def run(self) -> bool:
        """Sample once; raises what Kafka or the store says, and nothing is written then."""
        if self._admin is None:
            self._admin = AdminClient(self._properties)
        ends = self._ends(self._admin)
        now_s = self._clock()
        for partition, end in ends.items():
            self._histories.setdefault(partition, EndHistory()).note(end, now_s)
        gauges: list[Gauge] = []
        for group in self._groups:
            for partition, position in self._positions(group, sorted(ends)).items():
                behind = {
                    LAG_EVENTS: float(max(0, ends[partition] - position)),
                    LAG_SECONDS: self._histories[partition].behind_s(position, now_s),
                }
                gauges += [
                    Gauge(
                        environment=self._environment,
                        name=name,
                        at_us=int(now_s * 1_000_000),
                        value=value,
                        labels={
                            "group": group,
                            "topic": self._topic,
                            "partition": str(partition),
                        },
                    )
                    for name, value in behind.items()
                ]
        self._store.record(gauges)
        return False

    def _ends(self, admin: AdminClient) -> dict[int, int]:
        found = admin.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(self._topic, number): latest for number in found.partitions}
        futures = admin.list_offsets(asked, request_timeout=_TIMEOUT_S) if asked else {}
        return {
            place.partition: future.result(2 * _TIMEOUT_S).offset
            for place, future in futures.items()
        }

    def _positions(self, group: str, partitions: Sequence[int]) -> dict[int, int]:
        """What a group has committed. By a consumer that never joins it: confluent-kafka 2.16 ends
        the process (SIGSEGV) where `list_consumer_group_offsets` finds no coordinator, as on a
        cluster that no group has used yet."""
        consumer = self._consumers.get(group)
        if consumer is None:
            consumer = self._consumers[group] = Consumer(
                {**self._properties, "group.id": group, "enable.auto.commit": False}
            )
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        return {
            place.partition: place.offset
            for place in (consumer.committed(asked, timeout=_TIMEOUT_S) if asked else ())
            if place.offset >= 0 and place.error is None
        }
