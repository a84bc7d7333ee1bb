"""The consumer's metrics; counted per batch, so that an event costs next to nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from consumer.core.disposition import Outcome
from consumer.engine.record import Record
from schemas import metrics as names


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What is read when somebody asks for the metrics."""

    lanes: int
    buffered_events: int
    buffered_bytes: int
    parked_keys: int
    parked_events: int
    #: How long the oldest event that is not done has been in Kafka, or parked; 0: there is none.
    oldest_unfinished_s: float
    #: The same of what is not parked.
    lag_s: float
    #: Events of each assigned partition that are not done.
    lag: Mapping[str, int]


_READ: Final[Mapping[str, Callable[[Gauges], float]]] = {
    names.LANES: lambda gauges: gauges.lanes,
    names.BUFFERED_EVENTS: lambda gauges: gauges.buffered_events,
    names.BUFFERED_BYTES: lambda gauges: gauges.buffered_bytes,
    names.PARKED_KEYS: lambda gauges: gauges.parked_keys,
    names.PARKED_EVENTS: lambda gauges: gauges.parked_events,
    names.OLDEST_UNFINISHED_SECONDS: lambda gauges: gauges.oldest_unfinished_s,
    names.LAG_SECONDS: lambda gauges: gauges.lag_s,
}


#: What an event can be when it is counted as committed; the others are failures of a call.
_FINAL: Final = frozenset(
    {
        Outcome.APPLIED,
        Outcome.DUPLICATE,
        Outcome.STALE,
        Outcome.REFETCHED,
        Outcome.UNHANDLED,
        Outcome.PARKED,
        Outcome.DEAD_LETTERED,
    }
)


class EngineMetrics:
    """One per process; `gauges` is called when somebody asks for the metrics."""

    def __init__(self, gauges: Callable[[], Gauges]) -> None:
        meter = metrics.get_meter("hookline.consumer")
        self._events = meter.create_counter(names.EVENTS)
        self._retries = meter.create_counter(names.HANDLER_RETRIES)
        self._fenced = meter.create_counter(names.FENCED)
        self._commit_s = meter.create_histogram(names.COMMIT_SECONDS)
        self._per_commit = meter.create_histogram(names.EVENTS_PER_COMMIT)
        self._end_to_end_s = meter.create_histogram(names.EVENT_END_TO_END_SECONDS)
        # From 0 on: of a counter that is there only since its first event, that one is no growth.
        for outcome in Outcome:
            counter = self._events if outcome in _FINAL else self._retries
            counter.add(0, {"outcome": outcome.value})
        for name, read in _READ.items():
            meter.create_observable_gauge(name, callbacks=[_observe(gauges, read)])

        def lag(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(n, {"partition": p}) for p, n in gauges().lag.items()]

        meter.create_observable_gauge(names.LAG_EVENTS, callbacks=[lag])

    def committed(
        self, outcomes: Counter[Outcome], records: Sequence[Record], duration_s: float
    ) -> None:
        """A group commit succeeded with these outcomes."""
        for outcome, count in outcomes.items():
            self._events.add(count, {"outcome": outcome.value})
        self._commit_s.record(duration_s)
        self._per_commit.record(outcomes.total())
        # One reading a batch, of its oldest event: the tail is what alerts look at, and a
        # record for each event would cost more than its commit.
        received = [r.event.received_at_us for r in records if r.event is not None]
        if received:
            self._end_to_end_s.record(max(0.0, time.time() - min(received) / 1e6))

    def retried(self, outcome: Outcome) -> None:
        """A handler failed and its event will be tried again."""
        self._retries.add(1, {"outcome": outcome.value})

    def fenced(self) -> None:
        """Another owner has one of our partitions."""
        self._fenced.add(1)


def _observe(
    gauges: Callable[[], Gauges], read: Callable[[Gauges], float]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(read(gauges()))]

    return observe
