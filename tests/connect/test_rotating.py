"""A rotation with a real gateway, a real broker and a system that signs with what it was given:
not one webhook is refused, before, during or after."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from credentials.sealed import SealedWriter
from credentials.secret import Secret
from producer.connect.rotating import Rotating
from producer.connect.service import ActionKind, ConnectService, FlowRefused
from producer.connect.system import System
from producer.connect.system_calls import signing_secret
from producer.connect.system_secrets import Verdict
from producer.connections.clients import TopicAccess
from producer.connections.followed import FollowedConnections
from producer.connections.follower import Follower
from producer.connections.ledger import Ledger
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from tests.connect.rig import Rig, act, reach, until, wanted
from tests.connect.systems import system
from tests.connect.test_service import details
from tests.connect.test_with_a_gateway import sent
from tests.connections.fleet import Fleet
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
NAME = "acme-plain"


class Sender(threading.Thread):
    """Signs with what the system has, as the system does, again and again."""

    def __init__(self, rig: Rig, port: int, hook: str) -> None:
        super().__init__(daemon=True)
        self._rig, self._port, self._hook = rig, port, hook
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.002):
            secret = self._rig.vendor.hooks[self._hook]["secret"]
            self.statuses[secret, sent(self._port, NAME, secret)] += 1

    def of(self, secret: str) -> dict[int, int]:
        return {status: n for (used, status), n in self.statuses.items() if used == secret}


class Stage:
    """A gateway, a console's service with a connection that it made, and its book."""

    def __init__(self, kafka: KafkaBroker, folder: Path, source: str) -> None:
        testing = {"optional": True, "wait_s": 5}
        entry = system("plain", source=source, test="customer", testing=testing)
        self.rig = Rig(kafka, folder, [entry])
        self.rig.vendor.signing = signing_secret("whsec").reveal()
        key = folder / "seal.key"
        key.write_text(self.rig.key.reveal())
        key.chmod(0o600)
        sealed = {"credentials": {"sealed": {"path": str(self.rig.path), "key": f"file:{key}"}}}
        self.fleet = Fleet(kafka, folder, [], settings=sealed, environ={})
        self.rig.connections, self.rig.events = self.fleet.topic, self.fleet.events
        self.book = FollowedConnections(
            TopicAccess(kafka.bootstrap_servers, self.fleet.topic), "test"
        )
        self._follower = Follower(TopicAccess(kafka.bootstrap_servers, self.fleet.topic), self.book)

    def __enter__(self) -> Stage:
        self.rig.vendor.__enter__()
        self.fleet.__enter__()
        self._follower.start()
        self.rig.gateway_url = f"http://127.0.0.1:{self.fleet.ports[0]}"
        return self

    def __exit__(self, *error: object) -> None:
        self._follower.stop(5)
        self.fleet.__exit__(*error)
        self.rig.vendor.__exit__(*error)

    async def connect(self, service: ConnectService) -> str:
        """The id of the webhook at the system."""
        _, session = await service.create(wanted("plain", connection_id=NAME))
        await act(service, session.id, ActionKind.DETAILS, values=details(self.rig))
        await reach(service, session.id, lambda v: v.step == "test")
        await until(lambda: self.usable() is not None)
        (hook,) = self.rig.vendor.hooks
        return hook

    def usable(self) -> Connection | None:
        record = self.book.look(lambda ledger: ledger.record(NAME))
        return None if record is None else record.connection

    def rotating(self, service: ConnectService) -> Rotating:
        def usable(ledger: Ledger) -> Connection:
            record = ledger.record(NAME)
            assert record is not None
            return record.connection

        return Rotating(
            self.book, service.secrets, SealedWriter(self.rig.file), self.rig.catalogue, usable,
            now_us=self.rig.now_us, by="a test",
        )  # fmt: skip


def test_no_webhook_is_refused_while_a_secret_is_rotated(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "generated") as stage:

        async def go() -> None:
            async with stage.rig.running() as service:
                hook = await stage.connect(service)
                port, vendor = stage.fleet.ports[0], stage.rig.vendor
                used = [vendor.hooks[hook]["secret"]]
                sender = Sender(stage.rig, port, hook)
                sender.start()
                took_s = []
                for _ in range(3):
                    began_s = time.monotonic()
                    done = await stage.rotating(service).rotate(3600)
                    took_s.append(time.monotonic() - began_s)
                    used.append(vendor.hooks[hook]["secret"])
                    await until(lambda: sum(sender.of(used[-1]).values()) >= 20)
                sender.ended.set()
                sender.join(10)
                assert len(set(used)) == 4
                sizes = list(sender.statuses.values())
                print("rotations:", [f"{s:.2f} s" for s in took_s], "webhooks:", sizes)
                assert {status for _, status in sender.statuses} == {200}
                # What the old ones have signed is taken until their time is over.
                assert [sent(port, NAME, one) for one in used] == [200] * 4
                connection = stage.usable()
                assert connection is not None
                ends = [one.not_after_s is None for one in connection.secrets]
                assert ends == [False, False, False, True]
                assert connection.secrets[-1].name == done.added
                # The sign that the gateway was asked for is gone, and it takes no other's.
                assert stage.book.look(lambda ledger: ledger.ids()) == [NAME]
                # What is over is over: the system has long been told.
                await stage.rotating(service).rotate(0)
                await until(lambda: sent(port, NAME, used[0]) == 401)
                assert sent(port, NAME, vendor.hooks[hook]["secret"]) == 200
                assert await service.remove(NAME, "a test") == ()
                await until(lambda: stage.rig.names() == [])

        asyncio.run(go())


def test_what_the_system_refuses_is_nowhere_afterwards(kafka: KafkaBroker, tmp_path: Path) -> None:
    with Stage(kafka, tmp_path, "generated") as stage:

        async def go() -> None:
            async with stage.rig.running() as service:
                hook = await stage.connect(service)
                port, vendor = stage.fleet.ports[0], stage.rig.vendor
                before, names = stage.usable(), stage.rig.names()
                sender = Sender(stage.rig, port, hook)
                sender.start()
                for status, code in ((403, "system_refused"), (404, "system_refused")):
                    vendor.instead[f"/hooks/{hook}"] = (status, {}, b"{}")
                    with pytest.raises(FlowRefused) as refused:
                        await stage.rotating(service).rotate(3600)
                    assert refused.value.code == code
                    assert "Plain did not take a new secret" in refused.value.text
                    assert stage.usable() == before
                    assert stage.rig.names() == names
                # It answers, but not whether it has done it: both count, and it is tried again.
                vendor.instead[f"/hooks/{hook}"] = (502, {}, b"")
                with pytest.raises(FlowRefused) as refused:
                    await stage.rotating(service).rotate(3600)
                assert refused.value.code == "system_unclear"
                connection = stage.usable()
                assert connection is not None
                assert [one.not_after_s for one in connection.secrets] == [None, None]
                del vendor.instead[f"/hooks/{hook}"]
                done = await stage.rotating(service).rotate(3600)
                assert len(done.retired) == 2
                await until(lambda: sum(sender.statuses.values()) >= 50)
                sender.ended.set()
                sender.join(10)
                assert {status for _, status in sender.statuses} == {200}

        asyncio.run(go())


def test_a_secret_of_the_systems_own_making_is_taken_over(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "answer") as stage:

        async def go() -> None:
            async with stage.rig.running() as service:
                hook = await stage.connect(service)
                first = stage.rig.vendor.signing
                assert sent(stage.fleet.ports[0], NAME, first) == 200
                await stage.rotating(service).rotate(3600)
                made = stage.rig.vendor.hooks[hook]["secret"]
                port = stage.fleet.ports[0]
                await until(lambda: sent(port, NAME, made) == 200)
                # Again: now the old one is known to us, and counts.
                await stage.rotating(service).rotate(3600)
                await until(lambda: sent(port, NAME, stage.rig.vendor.hooks[hook]["secret"]) == 200)
                assert [sent(port, NAME, one) for one in (first, made)] == [200, 200]

        asyncio.run(go())


def test_what_the_system_says_of_its_own_new_secret(kafka: KafkaBroker, tmp_path: Path) -> None:
    """Where it may have made one, it is asked for the one that counts."""
    plain = system("plain", source="answer").model_dump(by_alias=True, mode="json")
    asked = system("asked", source="answer").model_dump(by_alias=True, mode="json")
    asked["webhook"]["secret"]["call"] = {"path": "/hooks/{webhook_id}/current"}
    rig = Rig(kafka, tmp_path, [System.model_validate(one) for one in (plain, asked)])
    made = (200, {}, b'{"secret": "the-new-one"}')
    over, current = "/hooks/h1/secret", "/hooks/h1/current"
    cases: list[tuple[str, dict[str, Any], Verdict, str]] = [
        ("plain", {over: made}, Verdict.TAKEN, "the-new-one"),
        ("plain", {over: (200, {}, b"[")}, Verdict.UNKNOWN, ""),
        ("plain", {over: (503, {}, b"")}, Verdict.UNKNOWN, ""),
        ("plain", {over: (403, {}, b"")}, Verdict.REFUSED, ""),
        ("asked", {over: (204, {}, b""), current: made}, Verdict.TAKEN, "the-new-one"),
        ("asked", {over: (502, {}, b""), current: made}, Verdict.TAKEN, "the-new-one"),
        ("asked", {over: (502, {}, b""), current: (502, {}, b"")}, Verdict.UNKNOWN, ""),
        ("asked", {over: (404, {}, b""), current: made}, Verdict.REFUSED, ""),
    ]

    async def go() -> None:
        token = SealedWriter(rig.file).write("acme/c/token", Secret("right-token"))
        service = rig.service()
        try:
            for name, answers, verdict, value in cases:
                rig.vendor.instead = answers
                access = ConnectionAccess(
                    connection="c", environment="test", system=name, webhook_id="h1",
                    values={"address": rig.vendor.url}, credentials={"token": token},
                    changed_at_us=1,
                )  # fmt: skip
                entry = rig.catalogue.get(name)
                assert entry is not None
                told = await service.secrets.change(access, "acme", entry, None)
                found = told.secret.reveal() if told.secret is not None else ""
                assert (told.verdict, found) == (verdict, value), answers
        finally:
            service._effects.close()

    with rig.vendor:
        asyncio.run(go())
