"""A smaller run in every test run; and that the checker sees a promise that is broken."""

from __future__ import annotations

import pytest

from tests.chaos.run import Plan, run
from tests.chaos.verdict import Log, judge
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

SMALL = Plan(webhooks=2_000, connections=32, kills=1, forgeries=5, seed=7)


def test_killed_processes_lose_nothing_repeat_nothing_and_keep_the_order(
    kafka: KafkaBroker,
) -> None:
    outcome = run(kafka, SMALL, print)
    assert outcome.verdict.holds, str(outcome.verdict)
    assert outcome.verdict.acknowledged == outcome.verdict.effects == 2_000
    assert outcome.wrong == []
    assert len(outcome.kills) == 2


def test_without_the_dedupe_insert_the_run_fails(kafka: KafkaBroker) -> None:
    plan = Plan(webhooks=500, connections=16, kills=0, forgeries=1, seed=7, sabotage="dedupe")
    outcome = run(kafka, plan, print)
    assert not outcome.verdict.holds
    # A copy that came in one batch with its original is still seen: the batch itself knows it.
    assert outcome.verdict.duplicates_applied > 0
    assert outcome.verdict.lost == 0


def test_the_verdict_sees_each_kind_of_breach() -> None:
    log = Log({"k": ["a", "b", "c"]}, 3)
    good = [("a", "k"), ("b", "k"), ("c", "k")]
    assert judge({"a", "b", "c"}, log, good).holds
    assert judge({"a", "b", "c"}, log, good[:2]).lost == 1
    assert judge({"a"}, log, good[:2]).lost == 1
    assert judge({"a"}, log, [*good, ("a", "k")]).duplicates_applied == 1
    assert judge({"a"}, log, [good[1], good[0], good[2]]).order_violations == 1
    assert judge({"a"}, log, [*good, ("x", "k")]).from_nowhere == 1
    assert not judge(set(), Log({}, 0), []).holds
