"""What the customer may do while a test event is awaited."""

from __future__ import annotations

from msgspec.structs import replace

from producer.connect.flow import inputs as i
from producer.connect.flow import machine, words
from producer.connect.flow.state import Check, CheckState, FlowState, Step
from producer.connect.systems import Catalogue

CATALOGUE = Catalogue.load(None)
AT = i.At(now_us=1_000_000, session="s1", get=CATALOGUE.get)


def waiting(system_id: str) -> FlowState:
    checks = (
        Check(id="sent", title="Sent", state=CheckState.PASSED),
        Check(id="arrived", title="Arrived", state=CheckState.RUNNING),
    )
    return FlowState(
        revision=9, seen=9, step=Step.TEST, system=system_id, connection_id="acme", checks=checks,
        running="AwaitEvent", running_since_us=1, run=9, waiting_until_us=2_000_000,
    )  # fmt: skip


def test_an_event_that_need_not_come_is_not_waited_for() -> None:
    state = waiting("any-standard-webhooks")
    assert "skip" in machine.allowed(state, AT)
    moved = machine.advance(state, i.Skip(), AT)
    assert isinstance(moved, i.Moved)
    assert moved.state.step is Step.CONNECTED
    assert not moved.state.running
    assert {c.id: c.state for c in moved.state.checks}["arrived"] is CheckState.SKIPPED
    # What waited comes too late to change it.
    late = machine.advance(moved.state, i.NotArrived(run=9), AT)
    assert isinstance(late, i.Moved)
    assert late.state.step is Step.CONNECTED


def test_nor_is_it_skipped_where_it_is_needed_or_a_signature_was_wrong() -> None:
    assert "skip" not in machine.allowed(waiting("github"), AT)
    assert isinstance(machine.advance(waiting("github"), i.Skip(), AT), i.Refused)
    state = waiting("any-standard-webhooks")
    system = CATALOGUE.get("any-standard-webhooks")
    assert system is not None
    wrong = replace(state.checks[1], explanation=words.signature_wrong(system))
    assert "skip" not in machine.allowed(replace(state, checks=(state.checks[0], wrong)), AT)


def test_a_test_event_is_offered_only_where_we_can_send_it() -> None:
    by_us = {
        system.id
        for system in CATALOGUE.all()
        if "send_test" in machine.allowed(waiting(system.id), AT)
    }
    assert by_us == {s.id for s in CATALOGUE.all() if s.webhook.test.how == "api"}
    assert by_us
    assert "github" not in by_us
