"""Writes what each group commit did to the telemetry topic: best effort, and never in the way.

Rule: an event's effect never waits for its execution and is never undone by it. What cannot be
written is dropped and counted; a crash between commit and send loses that batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from consumer.engine.execution_columns import Committed, Origin, columns, weighed
from schemas.execution_batch import EXECUTIONS
from schemas.execution_sampling import ExecutionSampling
from schemas.topics import EXECUTIONS as TOPIC

log = logging.getLogger("hookline.consumer")

#: Of one message, which is then some 400 kB.
_MOST_EVENTS: Final = 2_000
_LARGEST_BYTES: Final = TOPIC.max_message_bytes - 64 * 1024


class Sender(Protocol):
    """What the log needs of Kafka; neither call blocks."""

    def send(self, value: bytes, events: int) -> None: ...
    def dropped(self, events: int, reason: str) -> None: ...


class ExecutionLog:
    """One for a consumer; `committed` and `write` are for the dispatcher's thread.

    `wall_ns` is Unix time, `clock_ns` monotonic.
    """

    def __init__(
        self,
        origin: Origin,
        sampling: ExecutionSampling,
        sender: Sender,
        wall_ns: Callable[[], int] = time.time_ns,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._origin = origin
        self._sampling = sampling
        self._sender = sender
        self._wall_ns = wall_ns
        self._clock_ns = clock_ns
        self._waiting: list[Committed] = []
        self._told = False

    def committed(self, committed: Committed) -> None:
        """Note a commit, to be written by the next `write`."""
        self._waiting.append(committed)

    def write(self) -> None:
        """Write what was noted; call it when the committer has its next batch."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for committed in waiting:
            try:
                self._write(committed)
            # The log's top. A number or a text that does not fit is no reason for a consumer to
            # stop: its events are done.
            except Exception as error:
                self._sender.dropped(len(committed.records), "unwritable")
                if not self._told:
                    self._told = True
                    log.exception("executions could not be written", exc_info=error)

    def _write(self, committed: Committed) -> None:
        committed_at_us = (self._wall_ns() - self._clock_ns() + committed.ended_ns) // 1000
        kept, weights = weighed(committed, self._sampling, committed_at_us)
        for first in range(0, len(weights), _MOST_EVENTS):
            part, of = _cut(kept, weights, first, first + _MOST_EVENTS)
            self._send(part, of, committed_at_us)

    def _send(self, part: Committed, weights: Sequence[int], committed_at_us: int) -> None:
        value = EXECUTIONS.encode(columns(self._origin, part, weights, committed_at_us))
        events = len(weights)
        if len(value) > _LARGEST_BYTES and events > 1:
            # Ids that are as long as an id may be: in halves, which are small enough in the end.
            for first, end in ((0, events // 2), (events // 2, events)):
                self._send(*_cut(part, weights, first, end), committed_at_us)
            return
        self._sender.send(value, events)


def _cut(
    committed: Committed, weights: Sequence[int], first: int, end: int
) -> tuple[Committed, Sequence[int]]:
    if first == 0 and end >= len(weights):
        return committed, weights
    part = Committed(
        committed.records[first:end],
        committed.outcomes[first:end],
        committed.began_ns,
        committed.ended_ns,
    )
    return part, weights[first:end]
