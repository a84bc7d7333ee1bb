"""`python -m tests.alerts.docs`: docs/alerts.md, made of the rules and of how soon each fires.

The times from real causes are those of the last `python -m tests.chaos alerts --table …`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from consumer.monitor.alerts.reference import alerts_page
from consumer.monitor.alerts.rules import load_rules
from tests.alerts.faults import SCENARIOS, Scenario
from tests.alerts.playing import play

_FOLDER = Path(__file__).parent
HEAD = (_FOLDER / "docs_head.md").read_text("utf-8")


def page() -> str:
    """The whole page; it plays every fault."""
    rules = {rule.name: rule for rule in load_rules()}
    rows = ["| rule | fault | fires after | is over, after the fault's end |", "|---|---|---|---|"]
    for scenario in SCENARIOS:
        recorded = play(scenario, [rules[scenario.rule]])
        fired_s, resolved_s = recorded.fired_s(), recorded.resolved_s()
        assert fired_s is not None
        assert resolved_s is not None
        after_s = resolved_s - scenario.warm_s - scenario.fault_s
        rows.append(
            f"| [{scenario.rule}](#{scenario.rule.lower()}) | {scenario.what} | "
            f"{_time(fired_s - scenario.warm_s, scenario)} | {_time(after_s, scenario)} |"
        )
    real = "".join(
        (_FOLDER / name).read_text("utf-8") for name in ("docs_real.md", "docs_real_table.md")
    )
    return (
        HEAD
        + "\n".join(rows)
        + f"\n\n{real}\n## The packaged rules\n\n"
        + alerts_page(list(rules.values()))
    )


def _time(seconds: float, scenario: Scenario) -> str:
    if seconds == 0:
        return f"at the next look ({scenario.step_s} s)"
    if seconds >= 7_200:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.stdout.write(page())
