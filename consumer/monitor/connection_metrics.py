"""How long each connection has been silent, and its longest pause: metrics from the store.

The store knows the rhythm of each over two weeks, whatever processes were started anew meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from consumer.monitor.contract import ConnectionHealth, Questions
from schemas import metrics as names

#: With fewer pauses than this nothing is known of a connection's rhythm.
MIN_PAUSES: Final = 50


class ConnectionMetrics:
    """`run` asks the store; the metrics show what it last said."""

    EVERY_S: Final = 20.0

    def __init__(
        self,
        store: Questions,
        environment: str,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._store = store
        self._environment = environment
        self._clock_us = clock_us
        self._known: Sequence[ConnectionHealth] = ()
        meter = metrics.get_meter("hookline.monitor")
        meter.create_observable_gauge(names.CONNECTION_SILENT_SECONDS, callbacks=[self._silent])
        meter.create_observable_gauge(
            names.CONNECTION_LONGEST_PAUSE_SECONDS, callbacks=[self._longest]
        )

    def run(self) -> bool:
        """Ask anew; never more to do at once."""
        self._known = [
            one
            for one in self._store.health(self._environment, self._clock_us())
            if one.connection and one.last_received_us
        ]
        return False

    def _silent(self, _: CallbackOptions) -> Iterable[Observation]:
        now_us = self._clock_us()
        return [
            Observation(
                max(0.0, (now_us - one.last_received_us) / 1e6), {"connection": one.connection}
            )
            for one in self._known
        ]

    def _longest(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(one.longest_pause_ns / 1e9, {"connection": one.connection})
            for one in self._known
            if one.pauses >= MIN_PAUSES
        ]
