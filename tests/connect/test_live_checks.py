"""Each check is shown when it is known how it stands, while the request is still under way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from credentials.secret import Secret
from producer.connect.flow import inputs as i
from producer.connect.flow.progress import checks_of
from producer.connect.flow.state import FlowState
from producer.connect.live_checks import run_checks
from producer.connect.service import ActionKind
from producer.connect.system_calls import Place, SystemCalls
from producer.outgoing.answers import FailureKind, OutgoingAnswer, OutgoingFailure, Stage
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from tests.connect.rig import Rig, act, reach, wanted
from tests.connect.systems import system
from tests.connect.test_service import details
from tests.parts.kafka import KafkaBroker


def states(checks: Mapping[str, str]) -> str:
    """One letter for each: passed, failed, running, waiting, skipped."""
    return "".join(state[0] for state in checks.values())


@pytest.mark.kafka
def test_the_customer_sees_what_has_passed_while_the_system_thinks(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    rig = Rig(kafka, tmp_path, [system("plain")])
    rig.vendor.held["/me"] = threading.Event()

    async def go() -> None:
        async with rig.running() as service:
            _, session = await service.create(wanted("plain"))
            await act(service, session.id, ActionKind.DETAILS, values=details(rig, "wrong-token"))
            view = await reach(
                service,
                session.id,
                lambda v: any(c.id == "reach" and c.state == "running" for c in v.checks),
            )
            assert states({c.id: c.state for c in view.checks}) == "ppprww"
            rig.vendor.held["/me"].set()
            view = await reach(service, session.id, lambda v: v.problem is not None)
            assert states({c.id: c.state for c in view.checks}) == "ppppfw"

    with rig.vendor:
        asyncio.run(go())


class Asked:
    """In place of a client: tells stages, one after the other, and then ends as it is told."""

    def __init__(self, stages: list[Stage], end: OutgoingAnswer | OutgoingFailure) -> None:
        self._stages, self._end = stages, end

    async def request(
        self, method: str, url: str, *, on_stage: Callable[[Stage], None] | None = None, **_: Any
    ) -> OutgoingAnswer:
        for stage in self._stages:
            assert on_stage is not None
            on_stage(stage)
            await asyncio.sleep(0)
        if isinstance(self._end, OutgoingFailure):
            raise self._end
        return self._end


def shown(requests: Any, address: str = "https://a.example") -> list[dict[str, str]]:
    """The checks after each change."""

    def none(ref: str) -> Secret:
        raise AssertionError(ref)

    calls = SystemCalls(
        requests=requests, writer=None, resolve=none, apps={},
        place=Place(gateway_url="", gateway_check_url="", redirect_uri=""),
    )  # fmt: skip
    one = system()
    flow = FlowState(checks=checks_of(one))
    values = {"address": address, "token": "right-token"}

    async def go() -> list[dict[str, str]]:
        now = {check.id: str(check.state) for check in flow.checks}
        seen = []
        async for outcome in run_checks(calls, one, flow, values, lambda: 0.0):
            if isinstance(outcome, i.Checked):
                now = now | {outcome.check.id: str(outcome.check.state)}
                seen.append(now)
        return seen

    return asyncio.run(go())


def test_what_fails_behind_a_redirect_takes_back_only_what_is_not_known_any_more() -> None:
    gone = OutgoingFailure(FailureKind.NAME_UNKNOWN, "no such name", "b.example")
    seen = shown(Asked(list(Stage), gone))
    assert "ppprww" in [states(one) for one in seen]
    assert states(seen[-1]) == "pfwwww"


def test_a_redirect_does_not_take_back_what_has_passed() -> None:
    answer = OutgoingAnswer(
        status=200, headers={}, body=b'{"login": "octocat"}', took_ms=3, url="https://b.example"
    )
    seen = [states(one) for one in shown(Asked([*Stage, *Stage], answer))]
    assert seen == sorted(seen, key=lambda text: -text.count("w"))
    for before, after in pairwise(seen):
        assert all(b == "p" for a, b in zip(before, after, strict=True) if a == "p"), seen
    assert seen[-1] == "ppppps"


def test_a_server_that_takes_the_connection_and_says_nothing_has_not_shown_its_encryption() -> None:
    policy = OutgoingPolicy(allow_networks=("127.0.0.0/8",), timeout_s=0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        seen = shown(OutgoingClient(policy), f"https://127.0.0.1:{port}")
    assert states(seen[-1]) == "ppwfww"


def test_name_servers_that_do_not_answer_fail_the_check_of_the_name() -> None:
    late = OutgoingFailure(FailureKind.TIMEOUT, "late", "a.example")
    assert states(shown(Asked([], late))[-1]) == "pfwwww"
