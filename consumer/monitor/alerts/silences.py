"""Silences: what nobody is to be told for a while. The alert itself goes on, and is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from consumer.monitor.alerts.states import Alert

MAX_SILENCE_S: Final = 31 * 86_400


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """From `from_ms` to before `until_ms` (Unix ms), for alerts with all these labels.

    `alertname` and `severity` are labels here, too; a value may end in `*`.
    """

    number: int = 0
    matchers: Mapping[str, str]
    from_ms: int
    until_ms: int
    #: Who, and why.
    by: str = ""
    comment: str = ""

    def covers(self, alert: Alert, at_ms: int) -> bool:
        """Whether this alert is silenced at a time."""
        if not self.from_ms <= at_ms < self.until_ms:
            return False
        have = {**dict(alert.labels), "alertname": alert.rule, "severity": alert.severity}
        return all(_fits(want, have.get(name, "")) for name, want in self.matchers.items())


def silenced(alert: Alert, silences: Iterable[Silence], at_ms: int) -> bool:
    """Whether any silence covers an alert."""
    return any(silence.covers(alert, at_ms) for silence in silences)


def _fits(want: str, have: str) -> bool:
    return have.startswith(want[:-1]) if want.endswith("*") else have == want
