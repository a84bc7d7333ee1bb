"""The page about every rule, made of the rules, so that it cannot say anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consumer.monitor.alerts.promql import duration, promql
from consumer.monitor.alerts.rules import Rule


def alerts_page(rules: Sequence[Rule], times: Mapping[str, str] | None = None) -> str:
    """A section for each rule, under the heading that its alert links to.

    `times`: how long each took to fire, where that is known.
    """
    return "\n".join(_section(rule, (times or {}).get(rule.name)) for rule in rules)


def _section(rule: Rule, time_to_fire: str | None) -> str:
    waits = f"fires after {duration(rule.for_s)}" if rule.for_s else "fires at once"
    well = f"ends when it was well for {duration(rule.keep_firing_for)}"
    each = f"one alert for each {', '.join(rule.by)}; " if rule.by else ""
    said = [f"### {rule.name}", "", f"*{rule.severity}*; {each}{waits}; {well}.", ""]
    if (runbook := rule.runbook) is not None:
        said += [
            runbook.meaning,
            "",
            "- **Likely causes:** " + "; ".join(runbook.causes) + ".",
            f"- **The one number:** {runbook.look}.",
            f"- **What mends it:** {runbook.mend}.",
        ]
    if time_to_fire is not None:
        said.append(f"- **Time to fire:** {time_to_fire}.")
    return "\n".join([*said, "", "```promql", promql(rule.when, rule.by), "```", ""])
