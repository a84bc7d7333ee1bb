"""An alert's life: pending, firing, resolved. Pure, and the same as in Prometheus.

A rule must be met for `for` before it fires, and not met for `keep_firing_for` before it is
resolved, so that what comes and goes is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from consumer.monitor.alerts.evaluation import Values
from consumer.monitor.alerts.rules import Rule
from consumer.monitor.alerts.series import Labels


class State(StrEnum):
    """Where an alert is in its life."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One rule met by one group of labels. Times are Unix ms, 0 where it has not come to that."""

    rule: str
    severity: str
    #: Of the group and of the rule; without `alertname` and `severity`.
    labels: Labels
    state: State
    value: float
    #: Since when it is met.
    since_ms: int
    fired_ms: int = 0
    #: Firing and not met any more, since when.
    well_since_ms: int = 0
    resolved_ms: int = 0
    #: What it says, with its labels and value in it.
    summary: str = ""
    description: str = ""
    runbook: str = ""

    @property
    def key(self) -> tuple[str, Labels]:
        """What tells it from others."""
        return self.rule, self.labels


def advance(
    rule: Rule,
    known: Mapping[Labels, Alert],
    met: Values,
    at_ms: int,
    *,
    informed: bool = True,
    runbook_url: str = "",
) -> dict[Labels, Alert]:
    """The rule's alerts after a look at `at_ms`: those met and those that were.

    `known` holds pending and firing ones; what is resolved now is in the answer once. Without
    enough samples to judge by (`informed`), such as after a start, nothing is resolved.
    """
    after: dict[Labels, Alert] = {}
    for group, value in met.items():
        labels = _labels(rule, group)
        before = known.get(labels)
        if before is None or before.state is State.RESOLVED:
            before = Alert(
                rule=rule.name,
                severity=rule.severity,
                labels=labels,
                state=State.PENDING,
                value=value,
                since_ms=at_ms,
            )
        after[labels] = _met(rule, before, value, at_ms, runbook_url)
    for labels, before in known.items():
        if labels in after or before.state is not State.FIRING:
            continue
        if not informed:
            after[labels] = before
            continue
        since_ms = before.well_since_ms or at_ms
        if at_ms - since_ms < 1000 * rule.keep_firing_for:
            after[labels] = msgspec.structs.replace(before, well_since_ms=since_ms)
        else:
            after[labels] = msgspec.structs.replace(
                before, state=State.RESOLVED, resolved_ms=at_ms, well_since_ms=since_ms
            )
    return after


def _met(rule: Rule, before: Alert, value: float, at_ms: int, runbook_url: str) -> Alert:
    fires = before.state is State.FIRING or at_ms - before.since_ms >= 1000 * rule.for_s
    summary, description = rule.texts(dict(before.labels), value)
    return msgspec.structs.replace(
        before,
        state=State.FIRING if fires else State.PENDING,
        value=value,
        fired_ms=before.fired_ms or (at_ms if fires else 0),
        well_since_ms=0,
        summary=summary,
        description=description,
        runbook=rule.runbook_link(runbook_url) or "",
    )


def _labels(rule: Rule, group: Labels) -> Labels:
    if not rule.labels:
        return group
    return tuple(sorted({**dict(group), **rule.labels}.items()))
