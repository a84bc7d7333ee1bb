"""The monitor's own metrics; counted per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from schemas import metrics as names
from schemas.execution import Execution, Reception


class MonitorMetrics:
    """One per process; `lag` is called when somebody asks for the metrics."""

    def __init__(self, lag: Callable[[], Mapping[int, int]]) -> None:
        meter = metrics.get_meter("hookline.monitor")
        self._rows = meter.create_counter(names.MONITOR_ROWS)
        self._skipped = meter.create_counter(names.MONITOR_SKIPPED)
        self._append_s = meter.create_histogram(names.MONITOR_APPEND_SECONDS)
        self._store_failed = meter.create_counter(names.MONITOR_STORE_FAILED)
        self._fenced = meter.create_counter(names.MONITOR_FENCED)
        self._follower_failed = meter.create_counter(names.MONITOR_FOLLOWER_FAILED)

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(n, {"partition": str(p)}) for p, n in lag().items()]

        meter.create_observable_gauge(names.MONITOR_LAG_MESSAGES, callbacks=[observe])

    def appended(self, rows: Sequence[Execution | Reception], duration_s: float) -> None:
        """A batch is in the store."""
        events = sum(isinstance(row, Execution) for row in rows)
        self._rows.add(events, {"kind": "event"})
        self._rows.add(len(rows) - events, {"kind": "request"})
        self._append_s.record(duration_s)

    def skipped(self, reason: str) -> None:
        """A message could not be read."""
        self._skipped.add(1, {"reason": reason})

    def store_failed(self) -> None:
        """The store did not do what was asked."""
        self._store_failed.add(1)

    def fenced(self) -> None:
        """Another monitor had counted the same messages."""
        self._fenced.add(1)

    def follower_failed(self, name: str) -> None:
        """A follower raised."""
        self._follower_failed.add(1, {"follower": name})
