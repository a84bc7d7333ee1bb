"""What of the spool is measured, read when scraped."""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from producer.publish.spooling_sink import Circuit, SpoolingSink
from schemas import metrics as names


def measure(sink: SpoolingSink) -> None:
    """Once in a process."""
    meter = metrics.get_meter("hookline.spool")
    spool = sink.spool
    gauges: dict[str, Callable[[], float]] = {
        names.SPOOL_EVENTS: lambda: spool.events,
        names.SPOOL_BYTES: lambda: spool.bytes + spool.refused_bytes,
        names.SPOOL_OLDEST_SECONDS: lambda: (
            max(0.0, time.time() - spool.oldest_ms / 1000) if spool.events else 0.0
        ),
        names.SPOOL_REFUSED_EVENTS: lambda: spool.refused,
        names.SPOOL_CIRCUIT_OPEN: lambda: sink.circuit is not Circuit.CLOSED,
    }
    counters: dict[str, Callable[[], float]] = {
        names.SPOOLED: lambda: spool.spooled_total,
        names.SPOOL_DRAINED: lambda: sink.drained,
        names.SPOOL_POSSIBLE_DUPLICATES: lambda: sink.possible_duplicates,
        names.SPOOL_OVERTAKEN: lambda: sink.overtaken,
    }
    for name, value in gauges.items():
        meter.create_observable_gauge(name, callbacks=[_one(value)])
    for name, value in counters.items():
        meter.create_observable_counter(name, callbacks=[_one(value)])


def _one(value: Callable[[], float]) -> Callable[[object], list[Observation]]:
    return lambda _: [Observation(value())]
