"""When somebody is told, and of what together. Pure: the clock is an argument.

Alerts of one rule are one message: after a short wait for company, again when that changes but not
too often, and as a reminder. Who was told that it fires is told that it is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from consumer.monitor.alerts.series import Labels
from consumer.monitor.alerts.silences import Silence, silenced
from consumer.monitor.alerts.states import Alert, State


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before the first message, the next one, and a reminder."""

    wait_s: float = 10.0
    interval_s: float = 300.0
    repeat_s: float = 14_400.0


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What was told of one rule's alerts."""

    name: str
    #: The labels of those that were told as firing, and not yet as over.
    told: tuple[Labels, ...] = ()
    #: 0: never, or all that was told is over.
    sent_ms: int = 0
    #: Since when there is something new to tell; 0: there is not.
    changed_ms: int = 0


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One message: all that fire of a rule, and those that are over since the last."""

    group: str
    environment: str
    severity: str
    at_ms: int
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...]

    @property
    def status(self) -> str:
        """`firing` while anything is."""
        return "firing" if self.firing else "resolved"


class Grouping:
    """Keeps what was told of each group; `groups` is what a restart needs to know."""

    def __init__(self, environment: str, patience: Patience, groups: Iterable[Group] = ()) -> None:
        self._environment = environment
        self._patience = patience
        self._groups = {group.name: group for group in groups}

    def due(
        self, alerts: Sequence[Alert], silences: Sequence[Silence], at_ms: int
    ) -> tuple[list[Notification], list[Group]]:
        """What to send at `at_ms`, and the groups that have changed.

        `alerts` are all that are pending, firing, or were resolved lately.
        """
        by_rule: dict[str, list[Alert]] = defaultdict(list)
        for alert in alerts:
            by_rule[alert.rule].append(alert)
        sent: list[Notification] = []
        changed: list[Group] = []
        for name in sorted(by_rule.keys() | self._groups.keys()):
            before = self._groups.get(name, Group(name=name))
            after, message = self._look(before, by_rule[name], silences, at_ms)
            if message is not None:
                sent.append(message)
            if after != before:
                changed.append(after)
            if after == Group(name=name):
                self._groups.pop(name, None)
            else:
                self._groups[name] = after
        return sent, changed

    def _look(
        self, group: Group, alerts: Sequence[Alert], silences: Sequence[Silence], at_ms: int
    ) -> tuple[Group, Notification | None]:
        # By labels, the latest one; nobody was told of a pending one.
        latest = {
            alert.labels: alert
            for alert in sorted(alerts, key=lambda one: one.since_ms)
            if alert.state is not State.PENDING
        }
        firing = {k: a for k, a in latest.items() if a.state is State.FIRING}
        quiet = {k for k, a in firing.items() if silenced(a, silences, at_ms)}
        told = set(group.told)
        new = firing.keys() - told - quiet
        over = told - firing.keys()
        since_ms = (group.changed_ms or at_ms) if new or over else 0
        if not self._is_due(group, since_ms, bool(firing.keys() - quiet), at_ms):
            return msgspec.structs.replace(group, changed_ms=since_ms), None
        still = (told | firing.keys() - quiet) & firing.keys()
        after = Group(name=group.name, told=tuple(sorted(still)), sent_ms=at_ms if still else 0)
        fires = tuple(firing[key] for key in sorted(firing.keys() - quiet))
        # One whose end nobody remembers (a restart, long ago) is over as well, and not told.
        ended = tuple(latest[key] for key in sorted(over & latest.keys()))
        if not fires and not ended:
            return after, None
        message = Notification(
            group=group.name,
            environment=self._environment,
            severity=(fires or ended)[0].severity,
            at_ms=at_ms,
            firing=fires,
            resolved=ended,
        )
        return after, message

    def _is_due(self, group: Group, since_ms: int, fires: bool, at_ms: int) -> bool:
        patience = self._patience
        if since_ms:
            if not group.sent_ms:
                return at_ms - since_ms >= 1000 * patience.wait_s
            return at_ms - group.sent_ms >= 1000 * patience.interval_s
        return fires and at_ms - group.sent_ms >= 1000 * patience.repeat_s
