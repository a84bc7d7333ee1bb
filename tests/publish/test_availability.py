"""When the publisher believes that Kafka takes events: it falls at a sign, rises on proof."""

from __future__ import annotations

from producer.publish.availability import FIRST_PROBE_S, MAX_PROBE_S, Availability, State


def test_it_is_not_available_before_the_first_proof() -> None:
    availability = Availability(0.0)
    assert (availability.state, availability.available) == (State.UNPROVEN, False)
    assert availability.reason
    assert availability.probe_due(0.0)
    assert availability.probed("")
    assert availability.available
    assert availability.reason == ""


def test_each_change_is_told_once() -> None:
    availability = Availability(0.0)
    assert availability.acknowledged()
    assert not availability.acknowledged()
    assert availability.failed("overdue")
    assert not availability.failed("overdue still")
    assert availability.reason == "overdue still"
    assert availability.probed("")
    assert not availability.probed("")


def test_a_probe_that_meets_a_problem_before_the_first_proof_gives_its_reason() -> None:
    availability = Availability(0.0)
    assert not availability.probed("no leader")
    assert (availability.state, availability.reason) == (State.UNAVAILABLE, "no leader")


def test_while_it_is_available_and_nothing_is_suspected_nobody_probes() -> None:
    availability = Availability(0.0)
    availability.acknowledged()
    assert not availability.probe_due(1_000.0)
    availability.suspect()
    assert availability.available
    assert availability.probe_due(1_000.0)
    availability.probed("")
    assert not availability.probe_due(2_000.0)


def waits(availability: Availability, now_s: float, count: int) -> list[float]:
    """Seconds between probes, asked every hundredth of a second."""
    found: list[float] = []
    last_s = now_s
    assert availability.probe_due(now_s)
    while len(found) < count:
        now_s = round(now_s + 0.01, 2)
        if availability.probe_due(now_s):
            found.append(round(now_s - last_s, 2))
            last_s = now_s
    return found


def test_probes_get_rarer_up_to_a_bound() -> None:
    availability = Availability(0.0)
    availability.failed("away")
    assert waits(availability, 0.0, 5) == [FIRST_PROBE_S, 0.5, 1.0, MAX_PROBE_S, MAX_PROBE_S]


def test_only_an_acknowledgement_makes_probes_frequent_again() -> None:
    availability = Availability(0.0)
    availability.failed("away")
    waits(availability, 0.0, 5)
    availability.probed("")
    availability.failed("metadata comes, acknowledgements do not")
    assert waits(availability, 100.0, 1) == [MAX_PROBE_S]
    availability.acknowledged()
    availability.failed("away again")
    assert waits(availability, 200.0, 2) == [FIRST_PROBE_S, 0.5]
