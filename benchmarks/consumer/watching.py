"""Watches one consumer from its first effect to its last expected one, and takes its figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from benchmarks.consumer import progress
from benchmarks.consumer.candidates import Job
from benchmarks.options import NotBelievable
from benchmarks.process_usage import others_cpu_us, peak_rss_bytes
from tests.parts.process import Process

_TIMEOUT_S: Final = 300.0
#: After the last expected effect: time for one too many to show.
_GRACE_S: Final = 1.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one candidate did in one round, from its first effect to its last."""

    events_per_s: float
    cpu_us: float
    server_us: float
    rss_mb: float
    others_cores: float


def watch(
    process: Process, job: Job, name: str, server_cpu_us: Callable[[], int], copies: float
) -> Measured:
    """Until it has all effects; NotBelievable if they do not come.

    `copies`: events for one of those that the candidate counts.
    """
    deadline = time.monotonic() + _TIMEOUT_S
    used_us, others_us, began = 0, 0, 0.0
    while True:
        notes = progress.read(job.progress)
        if notes and not began:
            began = time.monotonic()
            used_us, others_us = server_cpu_us(), others_cpu_us()
        if notes and notes[1].events >= job.expected:
            break
        if not process.running or time.monotonic() > deadline:
            done = notes[1].events if notes else 0
            raise NotBelievable(
                f"{name}: {done:,} of {job.expected:,} effects, and then "
                f"{'no more' if process.running else 'it ended'}\n{process.tail()}"
            )
        time.sleep(0.02)
    watched_s = max(time.monotonic() - began, 1e-3)
    used_us = server_cpu_us() - used_us
    others_us = others_cpu_us() - others_us
    first, last = notes
    rss = peak_rss_bytes(process.pid)
    time.sleep(_GRACE_S)
    count = (last.events - first.events) * copies
    seconds = (last.at_ns - first.at_ns) / 1e9
    if count <= 0:
        raise NotBelievable(f"{name}: all effects came at once; take more events")
    return Measured(
        events_per_s=count / seconds,
        cpu_us=(last.cpu_ns - first.cpu_ns) / 1000 / count,
        server_us=used_us / count,
        rss_mb=rss / 1e6,
        others_cores=max(0.0, others_us / 1e6 / watched_s),
    )
