"""The packaged rules in a world where a minute is a second: every duration divided by one factor.

What is scaled is what is a time: `for`, `keep_firing_for`, windows, and bounds on gauges of
seconds that run with the clock (silent, lag, age, until the end). Shares, counts and the latencies
of single requests stay as they are; the traffic is as much denser.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from consumer.monitor.alerts.rules import load_rules
from schemas import metrics as names

#: Of the rule's own fields and of its selections, in seconds.
_DURATIONS: Final = frozenset({"for", "keep_firing_for", "over", "before"})
#: Bounds that our processes' own rhythm forbids to scale: a gateway asks every 5 s where the
#: connections topic ends, so that a well one is up to 5 s old.
_LEAST_S: Final = {"HooklineConnectionsBehind": 10.0}


def scaled_rules(factor: float) -> str:
    """A file of rules that takes the place of every packaged one."""
    rules = []
    for rule in load_rules():
        written = rule.model_dump(mode="json", by_alias=True, exclude_none=True)
        scaled = _scaled(written, factor)
        if rule.name in _LEAST_S:
            scaled["when"]["above"] = max(scaled["when"]["above"], _LEAST_S[rule.name])
        rules.append(scaled)
    return yaml.safe_dump({"rules": rules}, sort_keys=False, allow_unicode=True)


def _scaled(written: Any, factor: float) -> Any:
    if isinstance(written, list):
        return [_scaled(one, factor) for one in written]
    if not isinstance(written, dict):
        return written
    runs = _runs_with_the_clock(written.get("value"))
    scaled: dict[str, Any] = {}
    for key, value in written.items():
        if key in _DURATIONS:
            scaled[key] = f"{max(1, round(value / factor)) if value else 0}s"
        elif runs and key in ("above", "below") and isinstance(value, int | float):
            scaled[key] = value / factor
        elif key == "le":
            scaled[key] = _bucket(float(value) / factor)
        else:
            scaled[key] = _scaled(value, factor)
    return scaled


def _runs_with_the_clock(vector: Any) -> bool:
    if not isinstance(vector, dict):
        return False
    gauge = vector.get("gauge", "")
    return "age" in vector or "left" in vector or gauge.endswith("_seconds")


def _bucket(seconds: float) -> str:
    """The nearest bound that the histogram has."""
    bounds = names.HISTOGRAM_BOUNDS[names.EVENT_END_TO_END_SECONDS]
    return str(min(bounds, key=lambda bound: abs(bound - seconds)))
