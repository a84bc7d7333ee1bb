"""Tail sampling in the monitor's process, wired from the settings."""

from __future__ import annotations

import time

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from consumer.monitor.contract import Questions
from consumer.monitor.tail_sampling import TailCounts, TailSampler
from hookline.processes.process import Process
from hookline.settings.loading import Settings
from hookline.telemetry.tail_export import TailExport
from schemas import metrics as names


def tail_sampler(settings: Settings, process: Process, store: Questions) -> TailSampler | None:
    """A follower whose `run` is a chore of each second; None where no trace is wanted or sent."""
    tail, spans = settings.telemetry.tail, process.telemetry.spans
    if not tail.enabled or spans is None:
        return None
    sampler = TailSampler(
        TailExport(spans),
        store,
        topic=settings.topics.events,
        slow_ns=tail.slow_ms * 1_000_000,
        max_per_s=tail.max_traces_per_s,
        monotonic_s=time.monotonic,
    )
    _measure(sampler.counts)
    return sampler


def _measure(counts: TailCounts) -> None:
    meter = metrics.get_meter("hookline.monitor")

    def rows(_: CallbackOptions) -> list[Observation]:
        return [
            Observation(counts.rows, {"result": "made"}),
            Observation(counts.approximate, {"result": "approximate"}),
            Observation(counts.dropped, {"result": "dropped"}),
        ]

    def spans(_: CallbackOptions) -> list[Observation]:
        return [Observation(counts.spans)]

    meter.create_observable_counter(names.TAIL_ROWS, callbacks=[rows])
    meter.create_observable_counter(names.TAIL_SPANS, callbacks=[spans])
