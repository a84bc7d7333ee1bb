"""All rules over the series: which alerts there are. Pure but for what it remembers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from consumer.monitor.alerts.evaluation import Evaluator
from consumer.monitor.alerts.expressions import looks_back_s, selections
from consumer.monitor.alerts.rules import Rule
from consumer.monitor.alerts.series import Labels, SeriesStore
from consumer.monitor.alerts.states import Alert, State, advance

#: How long after a start an alert from before may go on without enough samples to judge by.
MAX_HOLD_S = 3_600
_MARGIN_S = 60


class Look(msgspec.Struct, frozen=True):
    """What one look has changed."""

    #: New ones, and those with another state or value.
    changed: tuple[Alert, ...]
    #: Pending ones that came to nothing.
    dropped: tuple[Alert, ...]


class Watch:
    """Looks again and again; times only go forward."""

    def __init__(
        self,
        rules: Sequence[Rule],
        series: SeriesStore,
        *,
        known: Iterable[Alert] = (),
        started_ms: int = 0,
        runbook_url: str = "",
    ) -> None:
        """`known`: the firing ones from before a start at `started_ms`."""
        self._rules = tuple(rules)
        self._series = series
        self._runbook_url = runbook_url
        self._known: dict[str, dict[Labels, Alert]] = {rule.name: {} for rule in rules}
        #: Firing alerts of rules that there are no more.
        self._orphans: list[Alert] = []
        restored = False
        for alert in known:
            if alert.state is not State.FIRING:
                continue
            restored = True
            if alert.rule in self._known:
                self._known[alert.rule][alert.labels] = alert
            else:
                self._orphans.append(alert)
        self._informed_ms = {
            rule.name: started_ms + 1000 * _hold_s(rule) if restored else 0 for rule in rules
        }

    @property
    def alerts(self) -> list[Alert]:
        """Pending and firing ones."""
        return [alert for known in self._known.values() for alert in known.values()]

    def look(self, at_ms: int) -> Look:
        """Evaluate every rule at a time."""
        changed = [
            msgspec.structs.replace(one, state=State.RESOLVED, resolved_ms=at_ms)
            for one in self._orphans
        ]
        self._orphans = []
        dropped: list[Alert] = []
        for rule in self._rules:
            before = self._known[rule.name]
            met = Evaluator(self._series, rule.by, at_ms).met(rule.when)
            if not met and not before:
                continue
            after = advance(
                rule,
                before,
                met,
                at_ms,
                informed=at_ms >= self._informed_ms[rule.name],
                runbook_url=self._runbook_url,
            )
            changed += [alert for labels, alert in after.items() if alert != before.get(labels)]
            dropped += [alert for labels, alert in before.items() if labels not in after]
            self._known[rule.name] = {
                labels: alert
                for labels, alert in after.items()
                if alert.state is not State.RESOLVED
            }
        return Look(tuple(changed), tuple(dropped))


def _hold_s(rule: Rule) -> int:
    longest_s = max((looks_back_s(one) for one in selections(rule.when)), default=0)
    return min(MAX_HOLD_S, longest_s) + _MARGIN_S
