"""Every rule fires in its fault and resolves after it, and a real Prometheus, given the same
samples, says the same at every step: which alerts fire, with which labels, value and words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.monitor.alerts.promql import rule_file
from consumer.monitor.alerts.rules import Rule, load_rules
from consumer.monitor.alerts.states import Alert
from tests.alerts.faults import SCENARIOS, Scenario
from tests.alerts.playing import Recorded, play
from tests.parts.prometheus import promtool

RULES = {rule.name: rule for rule in load_rules()}
PAGE = "docs/alerts.md"


def test_every_rule_has_a_fault() -> None:
    assert [s.rule for s in SCENARIOS] == list(RULES)


@pytest.mark.prometheus
@pytest.mark.usefixtures("promtool_there")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.rule)
def test_a_rule_fires_and_resolves_and_prometheus_agrees(
    scenario: Scenario, tmp_path: Path
) -> None:
    rule = RULES[scenario.rule]
    recorded = play(scenario, [rule])
    fired_s, resolved_s = recorded.fired_s(), recorded.resolved_s()
    assert fired_s is not None
    assert scenario.warm_s <= fired_s < scenario.warm_s + scenario.fault_s
    assert resolved_s is not None
    assert resolved_s >= scenario.warm_s + scenario.fault_s
    (tmp_path / "rules.yaml").write_text(rule_file([rule], PAGE))
    test = tmp_path / "test.yaml"
    test.write_text(promtool_test(rule, recorded))
    done = promtool("test", "rules", test)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.prometheus
@pytest.mark.usefixtures("promtool_there")
def test_a_prometheus_that_fires_at_another_time_is_seen(tmp_path: Path) -> None:
    scenario = next(s for s in SCENARIOS if s.rule == "HooklineKeysParked")
    rule = RULES[scenario.rule]
    recorded = play(scenario, [rule])
    sooner = rule.model_copy(update={"for_s": rule.for_s - scenario.step_s})
    (tmp_path / "rules.yaml").write_text(rule_file([sooner], PAGE))
    (tmp_path / "test.yaml").write_text(promtool_test(rule, recorded))
    assert promtool("test", "rules", tmp_path / "test.yaml").returncode != 0


@pytest.mark.prometheus
@pytest.mark.usefixtures("promtool_there")
def test_promtool_finds_nothing_wrong_with_the_rule_file(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(rule_file(list(RULES.values()), PAGE))
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def promtool_test(rule: Rule, recorded: Recorded) -> str:
    """A test of promtool's with these samples, that looks at every step."""
    step = f"{recorded.step_s}s"
    test: dict[str, Any] = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": step,
        "tests": [
            {
                "interval": step,
                "input_series": [
                    {"series": _series(name, labels), "values": _values(values)}
                    for (name, labels), values in recorded.samples.items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": f"{n * recorded.step_s}s",
                        "alertname": rule.name,
                        "exp_alerts": [_expected(alert) for alert in firing],
                    }
                    for n, firing in enumerate(recorded.firing)
                ],
            }
        ],
    }
    return yaml.dump(test, Dumper=yaml.CSafeDumper, sort_keys=False, width=1_000_000)


def _expected(alert: Alert) -> dict[str, Any]:
    return {
        "exp_labels": {**dict(alert.labels), "severity": alert.severity},
        "exp_annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": alert.runbook,
        },
    }


def _series(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    inside = ", ".join(f'{label}="{value}"' for label, value in labels)
    return f"{name}{{{inside}}}"


def _values(values: list[float | None]) -> str:
    words: list[str] = []
    for n, value in enumerate(values):
        if value is not None:
            words.append(repr(value))
        else:
            # As a scrape does it: the end of a series is marked once.
            words.append("stale" if n and values[n - 1] is not None else "_")
    return " ".join(words)
