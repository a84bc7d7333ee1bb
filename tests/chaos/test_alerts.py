"""Some alerts from real causes in every test run; `python -m tests.chaos alerts` is all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from consumer.monitor.alerts.rules import load_rules
from tests.chaos.alert_acts import Case
from tests.chaos.alerts import AlertsOutcome, AlertsPlan, run_alerts
from tests.chaos.scaled_rules import scaled_rules

FACTOR = 60.0


def test_scaled_rules_are_the_packaged_ones_with_other_times(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(scaled_rules(FACTOR))
    scaled = {rule.name: rule for rule in load_rules(path)}
    packaged = {rule.name: rule for rule in load_rules()}
    assert scaled.keys() == packaged.keys()
    for name, rule in packaged.items():
        assert scaled[name].for_s == rule.for_s / FACTOR
        assert scaled[name].keep_firing_for == rule.keep_firing_for / FACTOR
        assert scaled[name].by == rule.by
    whens = {one["name"]: one["when"] for one in yaml.safe_load(path.read_text())["rules"]}
    # A time, a share and a count, the latency of one answer.
    assert whens["HooklineLag"]["above"] == 120 / FACTOR
    assert whens["HooklineGatewayErrors"]["all"][0]["above"] == 0.02
    assert whens["HooklineUnknownConnections"]["above"] == 50
    assert whens["HooklineUnknownConnections"]["value"]["over"] == "10s"
    assert whens["HooklineAckSlow"]["all"][0]["above"] == 1
    assert "le: '1.0'" in path.read_text()
    # As they are where nothing is scaled.
    path.write_text(scaled_rules(1))
    for rule in load_rules(path):
        assert rule == packaged[rule.name].model_copy(update={"runbook": rule.runbook})


def test_an_alert_that_did_not_end_or_is_missing_is_seen() -> None:
    names = [rule.name for rule in load_rules()]
    cases = [Case(name, "c", 1.0, {}, mended_s=5.0, fired_s=3.0, over_s=6.0) for name in names]

    def outcome(cases: list[Case], *in_vain: str) -> AlertsOutcome:
        return AlertsOutcome(plan=AlertsPlan(), cases=cases, in_vain=[*in_vain], took_s=1.0)

    assert outcome(cases).holds
    assert f"| [{names[0]}](#{names[0].lower()}) | c | 2.0 s | 1.0 s |" in str(outcome(cases))
    assert not outcome(cases, "one").holds
    assert outcome(cases[1:]).missing == names[:1]
    assert not outcome(cases[1:]).holds
    assert not outcome([*cases[1:], Case(names[0], "c", 1.0, {}, mended_s=5.0, fired_s=3.0)]).holds


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_alerts_fire_and_are_over_by_real_causes() -> None:
    outcome = run_alerts(AlertsPlan(factor=FACTOR, short=True), print)
    print(outcome)
    assert outcome.holds, f"{outcome}\n{outcome.in_vain}"
    assert len(outcome.cases) == 10
