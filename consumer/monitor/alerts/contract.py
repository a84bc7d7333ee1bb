"""Where alerts are kept: what the monitor, `hookline alerts` and the console need of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from consumer.monitor.alerts.grouping import Group
from consumer.monitor.alerts.silences import Silence
from consumer.monitor.alerts.states import Alert
from consumer.monitor.alerts.turns import TurnStore


class AlertStore(TurnStore, Protocol):
    """Of one environment; from any process, each instance from one thread at a time.

    StoreUnavailable from each of these if it cannot be read or written now.
    """

    def alerts(self, resolved_since_ms: int | None = None) -> list[Alert]:
        """Pending and firing ones, and those resolved since then (None: no resolved one).

        By severity (page first), then the latest first.
        """

    def put(self, alerts: Sequence[Alert]) -> None:
        """Write these over what was known of the same rule, labels and beginning."""

    def drop(self, alerts: Sequence[Alert]) -> None:
        """Forget these: pending ones that came to nothing."""

    def expire(self, resolved_before_ms: int) -> int:
        """Forget what was resolved, and silences that ended, before then; how many."""

    def silences(self, at_ms: int) -> list[Silence]:
        """Those that count at `at_ms` or later, by number."""

    def silence(self, silence: Silence) -> Silence:
        """Keep a new one; with its number."""

    def end_silence(self, number: int, at_ms: int) -> bool:
        """End one now; False if there is none that counts."""

    def groups(self) -> list[Group]:
        """What was told, for a start."""

    def put_groups(self, groups: Sequence[Group]) -> None:
        """Write what was told; a group of which nothing is told is forgotten."""

    def close(self) -> None:
        """Release everything."""
