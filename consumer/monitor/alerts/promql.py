"""The same rules for a Prometheus: PromQL of a condition, and a whole rule file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from consumer.monitor.alerts.expressions import (
    Age,
    All,
    Among,
    Any_,
    Begins,
    Comparison,
    Condition,
    Except,
    Gauge,
    Increase,
    Left,
    Match,
    Quantile,
    Ratio,
    Times,
    Vector,
)
from consumer.monitor.alerts.rules import Rule
from consumer.monitor.alerts.words import for_prometheus

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def rule_file(rules: Sequence[Rule], runbook_url: str) -> str:
    """A rule file in YAML, one group; `runbook_url` is the page that the alerts link to."""
    group = {"name": "hookline", "rules": [_rule(rule, runbook_url) for rule in rules]}
    head = "# Made by `hookline alerts rules` from Hookline's own rules; do not edit.\n"
    return head + yaml.safe_dump(
        {"groups": [group]}, sort_keys=False, width=100, allow_unicode=True
    )


def _rule(rule: Rule, runbook_url: str) -> dict[str, Any]:
    made: dict[str, Any] = {"alert": rule.name, "expr": promql(rule.when, rule.by)}
    if rule.for_s:
        made["for"] = duration(rule.for_s)
    if rule.keep_firing_for:
        made["keep_firing_for"] = duration(rule.keep_firing_for)
    made["labels"] = {"severity": rule.severity, **rule.labels}
    made["annotations"] = {
        "summary": for_prometheus(rule.summary, rule.unit),
        "description": for_prometheus(rule.description, rule.unit),
    }
    if (runbook := rule.runbook_link(runbook_url)) is not None:
        made["annotations"]["runbook_url"] = runbook
    return made


def promql(condition: Condition, by: tuple[str, ...]) -> str:
    """One condition in PromQL."""
    if isinstance(condition, All):
        return " and ".join(_grouped(part, by) for part in condition.all)
    if isinstance(condition, Any_):
        return " or ".join(_grouped(part, by) for part in condition.any)
    return _comparison(condition, by)


def vector_promql(vector: Vector, by: tuple[str, ...]) -> str:
    """One vector in PromQL."""
    match vector:
        case Increase():
            ranged = _ranged(vector.increase, vector.where, vector.over, vector.before)
            return f"{_over('sum', by)} (increase({ranged}))"
        case Gauge():
            return _gauge(vector, by)
        case Quantile():
            ranged = _ranged(f"{vector.of}_bucket", vector.where, vector.over, vector.before)
            summed = f"{_over('sum', (*by, 'le'))} (increase({ranged}))"
            return f"histogram_quantile({vector.quantile:g}, {summed})"
        case Age():
            latest = Gauge(gauge=vector.age, where=vector.where, over=vector.over)
            return f"time() - {_gauge(latest, by)}"
        case Left():
            return (
                f"{_gauge(Gauge(gauge=vector.left, where=vector.where, take='min'), by)} - time()"
            )
        case Ratio():
            ratio = f"{vector_promql(vector.part, by)} / {vector_promql(vector.whole, by)}"
            return f"1 - {ratio}" if vector.missing else ratio


def duration(seconds: int) -> str:
    """In the largest unit that gives a whole number."""
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _grouped(condition: Condition, by: tuple[str, ...]) -> str:
    return f"({promql(condition, by)})"


def _comparison(comparison: Comparison, by: tuple[str, ...]) -> str:
    sign = ">" if comparison.above is not None else "<"
    bound = comparison.bound
    if isinstance(bound, Times):
        right = f"{bound.times:g} * {vector_promql(bound.of, by)}"
    else:
        right = f"{bound:.15g}"
    return f"{vector_promql(comparison.value, by)} {sign} {right}"


def _gauge(gauge: Gauge, by: tuple[str, ...]) -> str:
    selected = f"{gauge.gauge}{_selector(gauge.where)}"
    if gauge.over:
        extreme = "min" if gauge.take == "min" else "max"
        selected = f"{extreme}_over_time({selected}[{duration(gauge.over)}])"
    return f"{_over(gauge.take, by)} ({selected})"


def _over(operator: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)})" if by else operator


def _ranged(metric: str, where: dict[str, Match], over_s: int, before_s: int) -> str:
    offset = f" offset {duration(before_s)}" if before_s else ""
    return f"{metric}{_selector(where)}[{duration(over_s)}]{offset}"


def _selector(where: dict[str, Match]) -> str:
    if not where:
        return ""
    return "{" + ", ".join(_matcher(name, match) for name, match in where.items()) + "}"


def _matcher(name: str, wanted: Match) -> str:
    match wanted:
        case str():
            return f"{name}={json.dumps(wanted)}"
        case Among():
            return f"{name}=~{_pattern(wanted.among)}"
        case Except():
            return f"{name}!~{_pattern(wanted.neither)}"
        case Begins():
            return f"{name}=~{json.dumps(re.escape(wanted.begins) + '.*')}"


def _pattern(values: Sequence[str]) -> str:
    return json.dumps("|".join(map(re.escape, values)))
