"""A webhook that a gateway refuses for its signature, while the customer waits for one, is told to
him with what to do; and what he then pastes anew is what counts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from producer.connect.arrivals import Arrival, Arrivals, Mismatch
from producer.connect.flow import inputs as i
from producer.connect.flow import machine
from producer.connect.flow.state import Check, FlowState, Step
from producer.connect.service import ActionKind
from producer.connect.view import View
from schemas.event import HEADER_REQUEST_ID
from schemas.execution import Reception
from schemas.execution_batch import RECEPTIONS, receptions_of
from tests.connect.rig import Rig, act, reach, until, wanted
from tests.connect.systems import system
from tests.connect.test_service import details
from tests.connect.test_with_a_gateway import sent
from tests.connections.fleet import Fleet
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
RIGHT, WRONG = "whsec_" + "cmlnaHQ" * 6, "whsec_" + "d3JvbmcxMjM0"


def told(view: View) -> str:
    return next((c.explanation.code for c in view.checks if c.explanation), "")


def test_what_was_pasted_wrong_is_told_and_pasted_again(kafka: KafkaBroker, tmp_path: Path) -> None:
    rig = Rig(
        kafka, tmp_path,
        [system("pasted", how="manual", source="field", test="customer", testing={"wait_s": 60})],
    )  # fmt: skip
    key = tmp_path / "seal.key"
    key.write_text(rig.key.reveal())
    key.chmod(0o600)
    rig.receptions = kafka.create_topic(f"executions-{uuid4().hex[:10]}", 2)
    settings = {
        "credentials": {"sealed": {"path": str(rig.path), "key": f"file:{key}"}},
        "topics": {"executions": rig.receptions},
    }
    with rig.vendor, Fleet(kafka, tmp_path, [], settings=settings, environ={}) as fleet:
        rig.connections, rig.events = fleet.topic, fleet.events
        rig.gateway_url = f"http://127.0.0.1:{fleet.ports[0]}"

        async def go() -> None:
            async with rig.running() as service:
                _, session = await service.create(wanted("pasted", connection_id="acme-pasted"))
                await act(service, session.id, ActionKind.DETAILS, values=details(rig))
                await reach(service, session.id, lambda v: "register" in v.actions)
                await act(service, session.id, ActionKind.REGISTER, values={"signing": WRONG})
                await reach(service, session.id, lambda v: v.busy == "waiting")
                assert await status(RIGHT) == 401
                view = await reach(service, session.id, lambda v: bool(told(v)))
                assert (told(view), view.busy, view.problem) == ("signature_wrong", "waiting", None)
                (check,) = view.checks
                assert check.state == "running"
                assert check.explanation is not None
                assert "Copy the signing secret again" in check.explanation.next
                await act(service, session.id, ActionKind.BACK)
                await reach(service, session.id, lambda v: "register" in v.actions)
                await act(service, session.id, ActionKind.REGISTER, values={"signing": RIGHT})
                view = await reach(service, session.id, lambda v: v.busy == "waiting")
                # What was refused for the old one is not told again.
                assert told(view) == ""
                answers: list[int] = []
                async with asyncio.timeout(30):
                    while 200 not in answers:
                        answers.append(await status(RIGHT))
                        await asyncio.sleep(0.1)
                await reach(service, session.id, lambda v: v.step == "connected")
                await until(lambda: len(rig.names()) == 2)

        async def status(secret: str) -> int:
            return await asyncio.to_thread(sent, fleet.ports[0], "acme-pasted", secret)

        asyncio.run(go())
        assert WRONG not in fleet.log()


class Tails:
    """An events topic and the receptions beside it."""

    def __init__(self, kafka: KafkaBroker) -> None:
        unique = uuid4().hex[:10]
        self.events = kafka.create_topic(
            f"tail-{unique}", 2, message_timestamp_type="LogAppendTime"
        )
        self.receptions = kafka.create_topic(f"receptions-{unique}", 2)
        self.arrivals = Arrivals(kafka.bootstrap_servers, self.events, receptions=self.receptions)
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

    def refused(self, *rows: Reception) -> None:
        self.put(self.receptions, RECEPTIONS.encode(receptions_of(rows)))

    def put(self, topic: str, value: bytes, key: str = "") -> None:
        headers = [(HEADER_REQUEST_ID, b"ab" * 16)]
        self._producer.produce(topic, value, key or None, headers=headers)
        self._producer.flush(10)


def reception(received_at_us: int, **more: str) -> Reception:
    named = {"connection": "shop", "tenant": "acme", "outcome": "signature_wrong"} | more
    return Reception(
        request_id=bytes(16), environment="test", provider="x", instance="h:1", status=401,
        received_at_us=received_at_us, **named,
    )  # fmt: skip


def test_only_this_connections_wrong_signatures_since_then_count(kafka: KafkaBroker) -> None:
    tails = Tails(kafka)

    async def go() -> None:
        now_us = time.time_ns() // 1000
        wait = tails.arrivals.wait
        waiting = asyncio.create_task(wait("acme", "shop", now_us, 20.0, now_us))
        blind = asyncio.create_task(wait("acme", "shop", now_us, 20.0))
        await until(lambda: tails.arrivals.active)
        tails.put(tails.receptions, b"signature_wrong of a batch that nobody can read")
        tails.refused(
            reception(now_us + 1, connection="shop2"),
            reception(now_us + 2, tenant="other"),
            reception(now_us + 3, outcome="signature_missing"),
            reception(now_us),
        )
        tails.refused(reception(now_us + 5), reception(now_us + 6))
        assert await waiting == Mismatch(now_us + 5)
        # Who does not ask for refusals is told of none; an event is what he waits for.
        assert not blind.done()
        tails.put(tails.events, b"x", "acme/shop/issue/1")
        assert isinstance(await blind, Arrival)

    asyncio.run(go())


def test_without_a_receptions_topic_events_are_seen_all_the_same(kafka: KafkaBroker) -> None:
    tails = Tails(kafka)
    tails.arrivals = Arrivals(kafka.bootstrap_servers, tails.events, receptions="there-is-none")

    async def go() -> None:
        now_us = time.time_ns() // 1000
        tails.put(tails.events, b"x", "acme/shop/issue/1")
        assert isinstance(await tails.arrivals.wait("acme", "shop", now_us, 20.0, now_us), Arrival)

    asyncio.run(go())


def test_a_test_that_may_be_left_out_is_not_passed_with_a_wrong_signature() -> None:
    one = system("blind", how="manual", test="customer", testing={"optional": True, "wait_s": 60})
    at = i.At(now_us=9_000_000, session="s", get={"blind": one}.get)
    waiting = FlowState(
        revision=9, run=9, step=Step.TEST, system="blind", written=True, registered=True,
        running="AwaitEvent", checks=(Check(id="arrived", title=""),),
    )  # fmt: skip
    refused = machine.advance(waiting, i.Mismatched(received_at_us=5, run=9), at)
    assert isinstance(refused, i.Moved)
    ended = machine.advance(refused.state, i.NotArrived(run=9), at)
    assert isinstance(ended, i.Moved)
    assert (ended.state.step, refused.state.refused_at_us) == (Step.TEST, 5)
    assert ended.state.problem is not None
    assert ended.state.problem.code == "signature_wrong"
    assert "back" in machine.allowed(ended.state, at)
    # Without one, as before.
    left_out = machine.advance(waiting, i.NotArrived(run=9), at)
    assert isinstance(left_out, i.Moved)
    assert left_out.state.step is Step.CONNECTED
