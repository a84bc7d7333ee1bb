"""How far the consumers are behind, as the monitor last sampled it."""

from __future__ import annotations

from typing import Final

import msgspec

from console import words
from consumer.monitor.contract import Questions

#: A sample that is older says nothing of now.
MAX_AGE_S: Final = 300


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the overview."""

    name: str
    value: str
    by: str
    tone: str = ""


def lag(questions: Questions, environment: str, now_us: int) -> Lag:
    """The events that wait on Kafka; no figure where none was sampled."""
    found = questions.latest_gauges(environment, "lag_events")
    fresh = [one for one in found if now_us - one.at_us <= MAX_AGE_S * 1_000_000]
    if not fresh:
        last = max((one.at_us for one in found), default=0)
        return Lag(
            name="Waiting on Kafka",
            value=words.NOTHING,
            by=f"last known {words.ago(last, now_us)}" if last else "not sampled: run the monitor",
        )
    oldest = min(one.at_us for one in fresh)
    groups = len({one.labels.get("group", "") for one in fresh})
    return Lag(
        name="Waiting on Kafka",
        value=words.count(sum(one.value for one in fresh)),
        by=f"events, of {groups} {'group' if groups == 1 else 'groups'}; as of "
        f"{words.ago(oldest, now_us)}",
    )
