"""Every packaged alert from a real cause: how soon somebody is told, and that it is over.

The rules are the packaged ones with their durations divided by one factor (`scaled_rules`), and so
are those settings of the processes that are minutes or hours. All else is real.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from consumer.monitor.alerts.rules import load_rules
from tests.chaos.alert_acts import APART, IN_TURN, SHORT, Act, Case, Play, slow_handler
from tests.chaos.alert_stage import AlertStage

#: For a cause to fire its alerts, and for the quickest of them to be over.
_PATIENCE_S = 90.0
#: The slow burn rate is over six hours after the last that was bad, and its keep_firing_for.
_SLOWEST_S = 6 * 3_600 + 900
_LOOK_S = 0.05


class AlertsPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`factor`: what durations are divided by. `short`: without what needs minutes."""

    factor: float = 60.0
    short: bool = False


class AlertsOutcome(msgspec.Struct, kw_only=True):
    """What came of it."""

    plan: AlertsPlan
    cases: list[Case]
    #: What acts waited for in vain.
    in_vain: list[str]
    took_s: float

    @property
    def missing(self) -> list[str]:
        """Packaged rules without a cause that fired them and was mended."""
        shown = {case.rule for case in self.cases if case.over_s is not None}
        return [rule.name for rule in load_rules() if rule.name not in shown]

    @property
    def holds(self) -> bool:
        """Whether every case fired and was over, of every rule unless it was short."""
        whole = all(_well(case, self.plan) for case in self.cases)
        return whole and not self.in_vain and (self.plan.short or not self.missing)

    def __str__(self) -> str:
        """A table, in the order of the rules."""
        order = {rule.name: n for n, rule in enumerate(load_rules())}
        rows = ["| alert | cause | told after | told that it is over, after the mend |"]
        rows.append("|---|---|---|---|")
        for case in sorted(self.cases, key=lambda one: order[one.rule]):
            rows.append(
                f"| [{case.rule}](#{case.rule.lower()}) | {case.cause} | "
                f"{_span(case.began_s, case.fired_s)} | {_span(case.mended_s, case.over_s)} |"
            )
        return "\n".join(rows)


def run_alerts(plan: AlertsPlan, say: Callable[[str], None]) -> AlertsOutcome:
    """Bring every cause about, mend it, and see what was told."""
    began_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="hookline-alerts-") as folder,
        AlertStage(Path(folder), plan.factor) as stage,
        stage.stream("acme", 10),
    ):
        play = Play(stage)
        say(f"all run, {time.monotonic() - began_s:.0f} s after the start")
        in_vain = _act(play, SHORT if plan.short else APART, say)
        if not plan.short:
            in_vain += _act(play, (slow_handler,), say)
            _until_over(play, plan)
            say("the slow burn rates are over")
            for act in IN_TURN:
                in_vain += _act(play, (act,), say)
        _until_over(play, plan)
        say(f"answers: {dict(sorted(stage.answers.items()))}")
    return AlertsOutcome(
        plan=plan, cases=play.cases, in_vain=in_vain, took_s=time.monotonic() - began_s
    )


def _act(
    play: Play, acts: Sequence[Callable[[Play], Act]], say: Callable[[str], None]
) -> list[str]:
    """Let acts go on beside each other to their ends; what was waited for in vain."""
    in_vain: list[str] = []
    waiting = []
    for act in acts:
        generator = act(play)
        name = getattr(act, "__qualname__", str(act)).partition(".")[0]
        waiting.append([generator, next(generator, None), time.monotonic() + _PATIENCE_S, name])
    while waiting := [one for one in waiting if one[1] is not None]:
        time.sleep(_LOOK_S)
        play.look()
        for one in waiting:
            generator, condition, deadline_s, name = one
            late = time.monotonic() > deadline_s
            if condition() or late:
                if late:
                    in_vain.append(f"{name}: {getattr(condition, '__qualname__', condition)}")
                    say(f"waited in vain: {in_vain[-1]}")
                one[1:3] = next(generator, None), time.monotonic() + _PATIENCE_S
                if one[1] is None:
                    say(f"{name}: done, {time.monotonic() - play.began_s:.0f} s")
    return in_vain


def _until_over(play: Play, plan: AlertsPlan) -> None:
    """Until every case that was mended is over, or the time is."""
    deadline_s = time.monotonic() + _SLOWEST_S / plan.factor + _PATIENCE_S
    while time.monotonic() < deadline_s:
        play.look()
        if all(_well(case, plan) for case in play.cases if case.mended_s is not None):
            return
        time.sleep(_LOOK_S)


def _well(case: Case, plan: AlertsPlan) -> bool:
    """Whether it fired and is over; of a budget's burn rate the end is not for a short run."""
    burns = case.rule.startswith(("HooklineReceiving", "HooklineFreshness"))
    return case.fired_s is not None and (case.over_s is not None or (plan.short and burns))


def _span(from_s: float | None, to_s: float | None) -> str:
    if from_s is None or to_s is None:
        return "not"
    return f"{to_s - from_s:.1f} s"
