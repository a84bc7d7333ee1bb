"""Runs the checks of what was entered: each is told while the request is under way, as soon as it
is known how it stands, and all of them are judged by what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from producer.connect import validation
from producer.connect.calls import Unanswered, prepare, send
from producer.connect.flow import inputs as i
from producer.connect.flow.state import Check, CheckState, FlowState
from producer.connect.system import Call, System
from producer.connect.system_calls import SystemCalls
from producer.outgoing.answers import OutgoingAnswer, OutgoingFailure, Stage

#: What a stage proves, and what is looked at from then on.
_PROVES: Final[Mapping[Stage, tuple[tuple[str, ...], str]]] = {
    Stage.RESOLVED: (("address", "dns"), "tls"),
    Stage.CONNECTED: ((), "tls"),
    Stage.SECURED: (("tls",), "reach"),
    # Whether it is the answer of a system that works is seen at its end.
    Stage.ANSWERING: ((), "reach"),
}
_ANSWERING: Final = "It has begun to answer."

Found = OutgoingAnswer | OutgoingFailure | Unanswered


class _Shown:
    """The checks as the customer sees them. What has passed is not taken back by a redirect."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        self._checks = {check.id: check for check in checks}
        self._order = tuple(self._checks)
        self.proven: set[str] = set()

    def change(self, check: Check) -> Iterator[i.Checked]:
        """Show it; nothing if it is shown so already."""
        if self._checks.get(check.id) != check:
            self._checks[check.id] = check
            yield i.Checked(check=check)

    def begin(self) -> Iterator[i.Checked]:
        """The first one is looked at."""
        return self.change(validation.running(self._checks[self._order[0]]))

    def reached(self, stage: Stage) -> Iterator[i.Checked]:
        """What a stage says."""
        proves, looked_at = _PROVES[stage]
        for name in proves:
            self.proven.add(name)
            passed = replace(self._checks[name], state=CheckState.PASSED)
            yield from self.change(passed)
        if looked_at not in self.proven:
            detail = _ANSWERING if stage is Stage.ANSWERING else ""
            yield from self.change(
                replace(validation.running(self._checks[looked_at]), detail=detail)
            )


async def run_checks(
    calls: SystemCalls,
    system: System,
    flow: FlowState,
    values: Mapping[str, str],
    now_s: Callable[[], float],
) -> AsyncIterator[i.Outcome]:
    """`Checked` for each change, then `Validated` or `Failed`. `values` may hold secrets."""
    call = system.validation
    if call is None:
        yield i.Validated()
        return
    shown = _Shown(flow.checks)
    for told in shown.begin():
        yield told
    # At most four for each redirect that is followed; None is the end.
    stages: asyncio.Queue[Stage | None] = asyncio.Queue()
    asking = asyncio.create_task(_ask(calls, system, call, values, stages.put_nowait))
    asking.add_done_callback(lambda _: stages.put_nowait(None))
    try:
        while (stage := await stages.get()) is not None:
            for told in shown.reached(stage):
                yield told
        found = await asking
    finally:
        asking.cancel()
    proven = None if isinstance(found, Unanswered) else shown.proven
    seen = validation.judge(system, flow.checks, found, flow.granted_scopes, now_s(), proven)
    judged = {check.id: check for check in seen.checks}
    for check in flow.checks:
        # Behind the one that failed nothing is known any more.
        fresh = replace(check, state=CheckState.WAITING, explanation=None, detail="", took_ms=None)
        for told in shown.change(judged.get(check.id, fresh)):
            yield told
    if seen.problem is not None:
        yield i.Failed(explanation=seen.problem)
    else:
        yield i.Validated(account=seen.account, scopes=seen.scopes, kept=seen.kept)


async def _ask(
    calls: SystemCalls,
    system: System,
    call: Call,
    values: Mapping[str, str],
    on_stage: Callable[[Stage], None],
) -> Found:
    try:
        token = await calls.token(system, values)
        return await send(calls.requests, prepare(system, call, values, token), on_stage)
    except (OutgoingFailure, Unanswered) as failure:
        return failure
