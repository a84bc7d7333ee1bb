"""The consumer's metrics; counted per batch, so that an event costs next to nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from consumer.core.disposition import Outcome
from consumer.engine.record import Record
from schemas import metrics as names

_GAUGES = (
    names.LANES,
    names.BUFFERED_EVENTS,
    names.BUFFERED_BYTES,
    names.PARKED_KEYS,
    names.PARKED_EVENTS,
)


class EngineMetrics:
    """One per process; `gauges` gives lanes, buffered events and bytes, parked keys and events."""

    def __init__(self, gauges: Callable[[], tuple[int, ...]]) -> None:
        meter = metrics.get_meter("hookline.consumer")
        self._events = meter.create_counter(names.EVENTS)
        self._retries = meter.create_counter(names.HANDLER_RETRIES)
        self._fenced = meter.create_counter(names.FENCED)
        self._commit_s = meter.create_histogram(names.COMMIT_SECONDS)
        self._per_commit = meter.create_histogram(names.EVENTS_PER_COMMIT)
        self._end_to_end_s = meter.create_histogram(names.EVENT_END_TO_END_SECONDS)
        for at, name in enumerate(_GAUGES):
            meter.create_observable_gauge(name, callbacks=[_observe(gauges, at)])

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
    gauges: Callable[[], tuple[int, ...]], at: int
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(gauges()[at])]

    return observe
