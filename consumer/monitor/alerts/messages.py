"""A notification in words and as JSON; nothing in it is from a sender or a secret."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from consumer.monitor.alerts.grouping import Notification
from consumer.monitor.alerts.states import Alert

#: A message names no more alerts than this, and how many there are beyond.
MAX_NAMED: Final = 20


def title(notification: Notification) -> str:
    """One line: what, how grave, where."""
    alerts = notification.firing or notification.resolved
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    state = "firing" if notification.firing else "resolved"
    return f"[{notification.environment}] {state}, {notification.severity}: " + (
        f"{alerts[0].summary}{more}"
    )


def lines(notification: Notification) -> list[str]:
    """The whole of it, for a person."""
    said: list[str] = []
    for heading, alerts in (
        ("Firing", notification.firing),
        ("Resolved", notification.resolved),
    ):
        if not alerts:
            continue
        said.append(f"{heading}:")
        for alert in alerts[:MAX_NAMED]:
            said.append(f"- {alert.summary}")
            if heading == "Firing":
                said.append(f"  {alert.description}")
            said.append(f"  since {when(alert.since_ms)}" + _until(alert))
        if len(alerts) > MAX_NAMED:
            said.append(f"- and {len(alerts) - MAX_NAMED} more: `hookline alerts list`")
        runbook = alerts[0].runbook
        if runbook and heading == "Firing":
            said.append(f"What to do: {runbook}")
    return said


def as_json(notification: Notification) -> dict[str, Any]:
    """For a program: docs/alerts.md describes it."""
    return {
        "type": f"hookline.alert.{notification.status}",
        "timestamp": when(notification.at_ms),
        "data": {
            "status": notification.status,
            "environment": notification.environment,
            "rule": notification.group,
            "severity": notification.severity,
            "alerts": [
                {
                    "status": alert.state.value,
                    "labels": dict(alert.labels),
                    "value": alert.value,
                    "summary": alert.summary,
                    "description": alert.description,
                    "runbook": alert.runbook,
                    "since": when(alert.since_ms),
                    "fired": when(alert.fired_ms) if alert.fired_ms else None,
                    "resolved": when(alert.resolved_ms) if alert.resolved_ms else None,
                }
                for alert in (*notification.firing, *notification.resolved)
            ],
        },
    }


def message_id(notification: Notification) -> str:
    """The same for every try, so that a receiver knows one that came twice."""
    text = f"{notification.environment}\0{notification.group}\0{notification.at_ms}"
    return f"alert_{blake2b(text.encode(), digest_size=12).hexdigest()}"


def when(unix_ms: int) -> str:
    """ISO 8601, whole seconds, UTC."""
    return datetime.fromtimestamp(unix_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _until(alert: Alert) -> str:
    return f" until {when(alert.resolved_ms)}" if alert.resolved_ms else ""
