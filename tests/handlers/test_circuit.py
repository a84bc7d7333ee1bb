"""The circuit breaker, with the clock as an argument."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.handlers.circuit import Circuit, CircuitPolicy, Permit, State, Wait
from schemas.errors import ConfigurationError

POLICY = CircuitPolicy(
    consecutive_failures=3, failure_rate=0.5, window=10, rest_s=5.0, max_rest_s=20.0,
    probe_lost_after_s=60.0,
)  # fmt: skip


def permit(circuit: Circuit, now_s: float) -> Permit:
    given = circuit.ask(now_s)
    assert isinstance(given, Permit)
    return given


def opened(now_s: float = 0.0) -> Circuit:
    circuit = Circuit(POLICY)
    for _ in range(3):
        circuit.failed(permit(circuit, now_s), now_s)
    assert circuit.state is State.OPEN
    return circuit


def test_failures_one_after_the_other_open_it_and_a_success_between_them_does_not() -> None:
    circuit = Circuit(POLICY)
    for result in (False, False, True, False, False):
        given = permit(circuit, 0.0)
        if result:
            circuit.succeeded(given)
        else:
            circuit.failed(given, 0.0)
    assert circuit.state is State.CLOSED
    circuit.failed(permit(circuit, 0.0), 0.0)
    assert circuit.state is State.OPEN


def test_a_share_of_failures_opens_it_once_the_window_is_full() -> None:
    circuit = Circuit(POLICY)
    for n in range(9):
        given = permit(circuit, 0.0)
        if n % 2:
            circuit.succeeded(given)
        else:
            circuit.failed(given, 0.0)
    assert circuit.state is State.CLOSED
    circuit.succeeded(permit(circuit, 0.0))
    circuit.failed(permit(circuit, 0.0), 0.0)
    assert circuit.state is State.OPEN


def test_while_it_rests_each_caller_is_told_how_long() -> None:
    circuit = opened(now_s=100.0)
    assert circuit.ask(101.0) == Wait(4.0)
    assert circuit.ask(104.5) == Wait(0.5)
    assert permit(circuit, 105.0).probe


def test_one_probe_goes_and_the_others_wait_for_it() -> None:
    circuit = opened()
    probe = permit(circuit, 5.0)
    assert circuit.ask(5.0) == Wait(5.0)
    circuit.succeeded(probe)
    assert circuit.state is State.CLOSED
    assert not permit(circuit, 5.1).probe


def test_each_probe_in_vain_doubles_the_rest_up_to_its_bound() -> None:
    circuit = opened()
    now_s, rests = 0.0, []
    for _ in range(4):
        wait = circuit.ask(now_s)
        assert isinstance(wait, Wait)
        rests.append(wait.after_s)
        now_s += wait.after_s
        circuit.failed(permit(circuit, now_s), now_s)
    assert rests == [5.0, 10.0, 20.0, 20.0]
    now_s += 20.0
    circuit.succeeded(permit(circuit, now_s))
    for _ in range(3):
        circuit.failed(permit(circuit, now_s), now_s)
    assert circuit.ask(now_s) == Wait(5.0)


def test_the_targets_own_wish_lengthens_the_rest() -> None:
    circuit = Circuit(POLICY)
    for rest_s in (0.0, 0.0, 120.0):
        circuit.failed(permit(circuit, 0.0), 0.0, rest_s)
    assert circuit.ask(0.0) == Wait(120.0)


def test_a_straggler_neither_opens_nor_closes_it() -> None:
    circuit = Circuit(POLICY)
    early = [permit(circuit, 0.0) for _ in range(9)]
    for given in early[:3]:
        circuit.failed(given, 0.0)
    for given in early[3:7]:
        circuit.failed(given, 4.0)
    assert circuit.ask(4.0) == Wait(1.0)
    circuit.succeeded(early[7])
    assert circuit.state is State.OPEN
    assert permit(circuit, 5.0).probe
    circuit.succeeded(early[8])
    assert circuit.state is State.HALF_OPEN


def test_a_probe_that_never_ends_is_followed_by_another() -> None:
    circuit = opened()
    lost = permit(circuit, 5.0)
    assert isinstance(circuit.ask(64.9), Wait)
    found = permit(circuit, 65.0)
    circuit.failed(lost, 66.0)
    assert circuit.state is State.HALF_OPEN
    circuit.succeeded(found)
    assert circuit.state is State.CLOSED


def test_a_probe_that_was_not_made_lets_the_next_one_go_at_once() -> None:
    circuit = opened()
    circuit.unused(permit(circuit, 5.0), 5.5)
    assert permit(circuit, 5.5).probe


@pytest.mark.parametrize(
    "wrong",
    [{"consecutive_failures": 0}, {"window": 0}, {"failure_rate": 0.0}, {"failure_rate": 1.1},
     {"rest_s": 0.0}, {"rest_s": 100.0}, {"probe_lost_after_s": 0.0}],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="circuit:"):
        CircuitPolicy(**wrong)  # type: ignore[arg-type]


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Whatever calls do: one probe at a time, bounded waits, and it always comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(POLICY)
        self.now_s = 0.0
        self.out: list[Permit] = []

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def ask(self) -> None:
        before = self.circuit.state
        given = self.circuit.ask(self.now_s)
        if isinstance(given, Permit):
            assert given.probe is (before is not State.CLOSED)
            self.out.append(given)
        else:
            assert before is not State.CLOSED
            assert 0 < given.after_s <= 1000.0

    @precondition(lambda self: self.out)
    @rule(at=st.integers(0, 1000), how=st.sampled_from(["good", "bad", "unused"]),
          rest_s=st.floats(0, 1000))  # fmt: skip
    def answer(self, at: int, how: str, rest_s: float) -> None:
        given = self.out.pop(at % len(self.out))
        before = self.circuit.state
        if how == "good":
            self.circuit.succeeded(given)
            assert self.circuit.state is not State.OPEN or before is State.OPEN
        elif how == "bad":
            self.circuit.failed(given, self.now_s, rest_s)
            assert self.circuit.state is not State.CLOSED or before is State.CLOSED
        else:
            self.circuit.unused(given, self.now_s)

    @invariant()
    def one_live_probe_at_most(self) -> None:
        live = [p for p in self.out if p.probe and p.generation == self.circuit._generation]
        assert len(live) <= 1
        assert self.circuit.state is not State.CLOSED or not live

    def teardown(self) -> None:
        # However it was left: once the target works, calls go through again.
        for _ in range(100):
            given = self.circuit.ask(self.now_s)
            if isinstance(given, Wait):
                self.now_s += given.after_s
            else:
                self.circuit.succeeded(given)
                break
        assert self.circuit.state is State.CLOSED


TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase
TestAnyOrderOfCalls.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
