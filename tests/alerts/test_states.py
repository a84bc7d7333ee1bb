"""Pending, firing, resolved: what waits, keeps firing, is told, and what a restart knows."""

from __future__ import annotations

import msgspec
import pytest

from consumer.monitor.alerts.grouping import Group, Grouping, Patience
from consumer.monitor.alerts.rules import read_rules
from consumer.monitor.alerts.series import Sample, SeriesStore
from consumer.monitor.alerts.silences import Silence
from consumer.monitor.alerts.states import Alert, State, advance
from consumer.monitor.alerts.watch import Watch

MINUTE_MS = 60_000
RULE = read_rules(
    """
rules:
  - name: Parked
    severity: warning
    by: [instance]
    when: {value: {gauge: hookline_parked_keys}, above: 0}
    for: 2m
    keep_firing_for: 3m
    labels: {team: orders}
    summary: "{instance}: {value} keys"
    description: d
""",
    "here",
).rules[0]
GROUP = (("instance", "c1"),)
LABELS = (("instance", "c1"), ("team", "orders"))


def lives(met: str) -> list[str]:
    """The state after each minute; `x` where the rule is met."""
    known: dict[tuple[tuple[str, str], ...], Alert] = {}
    states: list[str] = []
    for minute, one in enumerate(met):
        now = {GROUP: 3.0} if one == "x" else {}
        after = advance(RULE, known, now, minute * MINUTE_MS)
        states.append(str(after[LABELS].state)[0] if LABELS in after else "-")
        known = {k: a for k, a in after.items() if a.state is not State.RESOLVED}
    return states


@pytest.mark.parametrize(
    ("met", "states"),
    [
        ("xx.xx.xx.", "pp-pp-pp-"),
        ("xxx......", "ppffffr--"),
        ("xxx..x....", "ppfffffffr"),
        ("xxx.....xxx", "ppffffr-ppf"),
    ],
)
def test_what_flaps_is_one_alert(met: str, states: str) -> None:
    assert "".join(lives(met)) == states


def test_an_alert_says_what_it_is_about() -> None:
    alert = advance(RULE, {}, {GROUP: 3.0}, 0)[LABELS]
    assert alert.summary == "c1: 3 keys"
    assert alert.key == ("Parked", LABELS)


def fed(series: SeriesStore, at_ms: int, parked: float) -> None:
    series.add("c1", [Sample("hookline_parked_keys", GROUP, parked)], at_ms)


def test_after_a_start_nothing_is_resolved_before_there_is_something_to_judge_by() -> None:
    firing = Alert(
        rule="Parked", severity="warning", labels=LABELS, state=State.FIRING, value=3.0,
        since_ms=1, fired_ms=2,
    )  # fmt: skip
    gone = msgspec.structs.replace(firing, rule="NoRuleAnyMore")
    series = SeriesStore({"hookline_parked_keys": 0})
    start_ms = 1_000_000
    watch = Watch([RULE], series, known=[firing, gone], started_ms=start_ms)
    first = watch.look(start_ms)
    # Its rule is there no more, so nobody will ever say that it is well.
    assert [(a.rule, a.state) for a in first.changed] == [("NoRuleAnyMore", State.RESOLVED)]
    assert [a.state for a in watch.alerts] == [State.FIRING]
    for minute in range(1, 5):
        fed(series, start_ms + minute * MINUTE_MS, 0)
        watch.look(start_ms + minute * MINUTE_MS)
    assert watch.alerts == []


def alert(instance: str, state: State = State.FIRING, since_ms: int = 0) -> Alert:
    return Alert(
        rule="Parked", severity="warning", labels=(("instance", instance),), state=state,
        value=1.0, since_ms=since_ms, summary=f"{instance} is parked",
    )  # fmt: skip


T0_MS = 1_000_000
PATIENCE = Patience(wait_s=10, interval_s=300, repeat_s=3_600)


def told(grouping: Grouping, alerts: list[Alert], at_s: float, *silences: Silence) -> str:
    """`+c1 +c2 -c3`: who fires and who is over in the message at a time; empty without one."""
    messages, _ = grouping.due(alerts, silences, T0_MS + int(at_s * 1000))
    assert len(messages) <= 1
    return " ".join(
        [f"+{dict(a.labels)['instance']}" for m in messages for a in m.firing]
        + [f"-{dict(a.labels)['instance']}" for m in messages for a in m.resolved]
    )


def test_alerts_of_a_rule_are_one_message_after_a_wait_for_company() -> None:
    grouping = Grouping("test", PATIENCE)
    assert told(grouping, [alert("c1")], 0) == ""
    assert told(grouping, [alert("c1"), alert("c2")], 5) == ""
    assert told(grouping, [alert("c1"), alert("c2")], 10) == "+c1 +c2"
    assert told(grouping, [alert("c1"), alert("c2")], 400) == ""


def test_what_changes_is_told_at_most_every_interval_and_an_end_with_it() -> None:
    grouping = Grouping("test", PATIENCE)
    told(grouping, [alert("c1")], 0)
    assert told(grouping, [alert("c1")], 10) == "+c1"
    both = [alert("c1"), alert("c2")]
    assert told(grouping, both, 20) == ""
    assert told(grouping, both, 310) == "+c1 +c2"
    one_over = [alert("c1", State.RESOLVED), alert("c2")]
    assert told(grouping, one_over, 320) == ""
    assert told(grouping, one_over, 610) == "+c2 -c1"
    assert told(grouping, [alert("c2", State.RESOLVED)], 910) == "-c2"
    assert told(grouping, [alert("c2", State.RESOLVED)], 5_000) == ""


def test_one_that_is_over_before_it_was_told_is_never_told() -> None:
    grouping = Grouping("test", PATIENCE)
    assert told(grouping, [alert("c1")], 0) == ""
    assert told(grouping, [alert("c1", State.RESOLVED)], 15) == ""


def test_one_that_is_pending_again_is_told_as_over() -> None:
    grouping = Grouping("test", Patience(wait_s=0, interval_s=0, repeat_s=3_600))
    assert told(grouping, [alert("c1")], 0) == "+c1"
    again = [alert("c1", State.RESOLVED), alert("c1", State.PENDING, since_ms=9)]
    assert told(grouping, again, 10) == "-c1"


def test_a_reminder_comes_while_nothing_changes() -> None:
    grouping = Grouping("test", PATIENCE)
    told(grouping, [alert("c1")], 0)
    assert told(grouping, [alert("c1")], 10) == "+c1"
    assert told(grouping, [alert("c1")], 3_609) == ""
    assert told(grouping, [alert("c1")], 3_610) == "+c1"


def test_a_restart_tells_nothing_twice_and_no_end_too_little() -> None:
    grouping = Grouping("test", PATIENCE)
    told(grouping, [alert("c1")], 0)
    at_ms = T0_MS + 10_000
    _, groups = grouping.due([alert("c1")], [], at_ms)
    assert groups == [Group(name="Parked", told=((("instance", "c1"),),), sent_ms=at_ms)]
    after = Grouping("test", PATIENCE, groups)
    assert told(after, [alert("c1")], 400) == ""
    assert told(after, [alert("c1", State.RESOLVED)], 400) == "-c1"


def test_what_is_silenced_is_not_told_and_is_told_when_the_silence_ends() -> None:
    silence = Silence(
        matchers={"alertname": "Park*", "instance": "c1"}, from_ms=0, until_ms=T0_MS + 60_000
    )
    grouping = Grouping("test", PATIENCE)
    both = [alert("c1"), alert("c2")]
    told(grouping, both, 0, silence)
    assert told(grouping, both, 10, silence) == "+c2"
    assert told(grouping, both, 59, silence) == ""
    assert told(grouping, both, 350, silence) == "+c1 +c2"


def test_a_silence_covers_what_all_its_labels_fit() -> None:
    at = {"from_ms": 0, "until_ms": 10}
    assert Silence(matchers={"severity": "warning"}, **at).covers(alert("c1"), 5)
    assert not Silence(matchers={"severity": "page"}, **at).covers(alert("c1"), 5)
    assert not Silence(matchers={"instance": "c1", "job": "x"}, **at).covers(alert("c1"), 5)
    assert not Silence(matchers={"instance": "c1"}, **at).covers(alert("c1"), 10)
