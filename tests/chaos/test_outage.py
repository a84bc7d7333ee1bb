"""Kafka away under load, smaller than `python -m tests.chaos outage`; the judge itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.chaos.outage import MutedBroker, OutageOutcome, OutagePlan, run_outage
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

PLAN = OutagePlan(rate=150, outage_s=5, around_s=1.5)


def outcome_of(plan: OutagePlan, make: Callable[[], KafkaBroker] = KafkaBroker) -> OutageOutcome:
    # A broker of its own: what a thread of the run has started ends with the run.
    with make() as broker:
        outcome = run_outage(broker, plan, print)
    print(outcome)
    return outcome


@pytest.mark.usefixtures("kafka")
def test_every_webhook_is_answered_200_and_drained_in_order_without_a_duplicate() -> None:
    outcome = outcome_of(PLAN)
    assert outcome.holds, str(outcome)
    assert set(outcome.statuses) == {"200"}
    assert outcome.most_spooled > 300
    assert outcome.duplicates == 0


@pytest.mark.usefixtures("kafka")
def test_kill_9_of_the_gateway_in_the_outage_and_in_the_drain_loses_nothing() -> None:
    outcome = outcome_of(msgspec.structs.replace(PLAN, outage_s=8, kill=True))
    assert outcome.holds, str(outcome)
    assert outcome.statuses["no answer"] > 0, "it was not killed under load"


@pytest.mark.usefixtures("kafka")
def test_a_full_spool_answers_503_and_loses_nothing_of_what_it_took() -> None:
    outcome = outcome_of(msgspec.structs.replace(PLAN, rate=300, outage_s=10, full=True))
    assert outcome.holds, str(outcome)
    assert outcome.statuses["503 unavailable"] > 0


@pytest.mark.usefixtures("kafka")
def test_a_broker_that_dies_between_write_and_acknowledgement_costs_duplicates_at_most() -> None:
    outcome = outcome_of(msgspec.structs.replace(PLAN, ack_loss=True), MutedBroker)
    assert outcome.holds, str(outcome)
    assert outcome.swallowed_bytes > 0, "no answer was lost"


@pytest.mark.parametrize(
    ("changed", "holds"),
    [
        ({}, True),
        ({"lost": 1}, False),
        ({"order_violations": 1}, False),
        ({"duplicates": 1}, False),
        ({"drain_s": -1.0}, False),
        ({"most_spooled": 0.0}, False),
        ({"statuses": {"200": 9, "503 unavailable": 1}}, False),
        ({"statuses": {"200": 9, "no answer": 1}}, False),
        ({"plan": msgspec.structs.replace(PLAN, full=True)}, False),
        ({"plan": msgspec.structs.replace(PLAN, kill=True), "duplicates": 1}, True),
        (
            {
                "plan": msgspec.structs.replace(PLAN, kill=True),
                "statuses": {"200": 9, "503 not_served": 1},
            },
            False,
        ),
    ],
)
def test_the_judge_sees_each_kind_of_breach(changed: dict[str, Any], holds: bool) -> None:
    good = OutageOutcome(
        plan=PLAN,
        statuses={"200": 10},
        acknowledged=10,
        given_up=0,
        p99_ms=1,
        p99_outage_ms=1,
        max_ms=1,
        most_spooled=5,
        drain_s=0.1,
        lost=0,
        still_spooled=0,
        order_violations=0,
        duplicates=0,
        possible_duplicates=0,
        replaced=0,
        swallowed_bytes=0,
    )
    assert msgspec.structs.replace(good, **changed).holds is holds
