"""Rules as people write them: their mistakes, their own rules, and what PromQL becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.monitor.alerts.promql import promql
from consumer.monitor.alerts.rules import load_rules, read_rules
from schemas.errors import ConfigurationError

HEAD = "rules:\n- {name: Mine, severity: info, summary: s, description: d, when: "


def problems(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_rules(text, "mine.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [", "mine.yaml:1: this is not YAML"),
        ("rulez: []", "mine.yaml: rulez: there is no such field"),
        (
            HEAD + "{value: {gauge: hookline_parked_key}, above: 0}}",
            "mine.yaml: Mine.when.value.gauge: 'hookline_parked_key' is no metric of Hookline; "
            "did you mean hookline_parked_keys?",
        ),
        (
            HEAD + "{value: {increase: hookline_events_total, over: 300}, above: 0}}",
            "Mine.when.value.over: write a duration with its unit, such as 30s, 5m, 6h or 3d",
        ),
        (
            HEAD + "{value: {sum: hookline_events_total}, above: 0}}",
            "Mine.when.value: write one of increase, gauge, quantile, age, left, or part and whole",
        ),
        (
            HEAD + "{value: {gauge: hookline_lanes}, above: 0, below: 3}}",
            "Mine.when: write one of above and below",
        ),
        (HEAD + "{gauge: hookline_lanes}}", "Mine.when: write value with above or below, or all"),
        (
            HEAD.replace("summary: s", "summary: '{connection}'")
            + "{value: {gauge: hookline_lanes}, above: 0}}",
            "Mine: the texts name connection: write {value} or one of the labels in `by` (there "
            "are none)",
        ),
        (
            HEAD.replace("severity: info", "severity: critical")
            + "{value: {gauge: hookline_lanes}, above: 0}}",
            "Mine.severity: Input should be 'page', 'warning' or 'info'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str) -> None:
    assert said in problems(text)


def test_a_mistake_deep_inside_has_its_place() -> None:
    deep = (
        "{any: [{value: {gauge: hookline_lanes}, above: 1}, {value: {part: {increase: up, over: 1}"
    )
    said = problems(HEAD + deep + ", whole: {gauge: up}}, below: 1}]}}")
    assert "Mine.when.any.1.value.part.over: write a duration" in said


def test_two_rules_of_one_name_are_a_mistake() -> None:
    one = HEAD.removeprefix("rules:\n") + "{value: {gauge: hookline_lanes}, above: 0}}\n"
    assert "Mine: two rules have this name" in problems("rules:\n" + one + one)


def test_ones_own_rules_are_added_replace_and_take_away(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(
        HEAD
        + "{value: {gauge: hookline_lanes}, above: 9}}\n"
        + HEAD.removeprefix("rules:\n").replace("Mine", "HooklineLag")
        + "{value: {gauge: hookline_lag_seconds}, above: 7}}\n"
        + "without: [HooklineKeysParkedMany]\n"
    )
    before = {rule.name for rule in load_rules()}
    rules = {rule.name: rule for rule in load_rules(own)}
    assert rules.keys() == before - {"HooklineKeysParkedMany"} | {"Mine"}
    assert promql(rules["HooklineLag"].when, ()) == "max (hookline_lag_seconds) > 7"


def test_a_rule_that_is_not_there_cannot_be_taken_away(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("without: [HooklineLack]\n")
    with pytest.raises(ConfigurationError, match="no packaged rule HooklineLack"):
        load_rules(own)


def test_every_form_has_its_promql() -> None:
    text = """
rules:
- name: Mine
  severity: info
  by: [job]
  summary: s
  description: d
  when:
    any:
      - value: {quantile: 0.9, of: hookline_commit_duration_seconds, over: 10m, before: 1d}
        above: {times: 2.5, of: {gauge: hookline_lanes, take: min, over: 1h}}
      - all:
          - {value: {left: hookline_connection_secrets_end_timestamp_seconds}, below: 60}
          - value:
              part: {increase: hookline_events_total, over: 90s,
                     where: {outcome: {except: [applied, stale]}, job: {begins: a.b}}}
              whole: {increase: hookline_events_total, over: 90s}
              missing: true
            above: 0.5
"""
    rule = read_rules(text, "mine.yaml").rules[0]
    assert promql(rule.when, rule.by) == (
        "(histogram_quantile(0.9, sum by (job, le) (increase("
        "hookline_commit_duration_seconds_bucket[10m] offset 1d))) > "
        "2.5 * min by (job) (min_over_time(hookline_lanes[1h]))) or "
        "((min by (job) (hookline_connection_secrets_end_timestamp_seconds) - time() < 60) and "
        "(1 - sum by (job) (increase(hookline_events_total"
        '{outcome!~"applied|stale", job=~"a\\\\.b.*"}[90s])) / '
        "sum by (job) (increase(hookline_events_total[90s])) > 0.5))"
    )
