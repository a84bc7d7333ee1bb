"""What is written down is what there is: the page of the rules, the dashboards' files."""

from __future__ import annotations

import json
from pathlib import Path

import consumer.monitor.dashboards as dashboards
from consumer.monitor.alerts.reference import alerts_page
from consumer.monitor.alerts.rules import load_rules
from consumer.monitor.dashboards.boards import BOARDS
from consumer.monitor.dashboards.grafana import dashboard_json

ROOT = Path(__file__).parents[2]


def test_the_page_has_every_rule_as_it_is_under_the_heading_that_its_alert_links_to() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    rules = load_rules()
    assert page.endswith(alerts_page(rules)), "run `python -m tests.alerts.docs > docs/alerts.md`"
    for rule in rules:
        link = rule.runbook_link("docs/alerts.md")
        assert link == f"docs/alerts.md#{rule.name.lower()}"
        assert f"\n### {rule.name}\n" in page
        # By simulation, and from a real cause.
        assert page.count(f"\n| [{rule.name}](#{rule.name.lower()}) |") == 2, rule.name


def test_the_dashboards_files_are_what_the_boards_say() -> None:
    folder = Path(dashboards.__path__[0])
    files = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    assert files == {f"hookline-{b.name}.json": dashboard_json(b) for b in BOARDS}
    for text in files.values():
        panels = json.loads(text)["panels"]
        taken = [
            (x, y)
            for place in (panel["gridPos"] for panel in panels)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(taken) == len(set(taken)), "panels lie on each other"
        assert max(x for x, _ in taken) < 24
