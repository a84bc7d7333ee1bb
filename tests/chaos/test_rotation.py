"""A shorter rotation in every test run, and one that is done wrong, which must be seen."""

from __future__ import annotations

import statistics

import pytest

from tests.chaos import rotation
from tests.chaos.rotation import RotationPlan, run_rotation
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka

SMALL = RotationPlan(rotations=1, senders=6, revocations=3)


def test_no_valid_request_is_refused_while_secrets_rotate(kafka: KafkaBroker) -> None:
    outcome = run_rotation(kafka, SMALL, print)
    print(outcome)
    assert outcome.valid > 100
    assert outcome.refused_valid == 0
    assert statistics.median(outcome.secret_ms) < 1000
    assert statistics.median(outcome.connection_ms) < 1000


def test_an_old_secret_that_ends_too_soon_is_seen(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = rotation._hookline

    def hasty(fleet: rotation.Fleet, words: list[str]) -> None:
        done(fleet, words)
        if words[1] == "rotate":
            done(fleet, ["secrets", "revoke", words[2], "s0", "--yes"])

    monkeypatch.setattr(rotation, "_hookline", hasty)
    plan = RotationPlan(rotations=1, senders=6, revocations=1)
    assert run_rotation(kafka, plan, print).refused_valid > 0
