"""Secrets rotated by the real commands while webhooks come in, then revoked, on several gateways.

A request is valid if its secret counted from its beginning to its end, by what the commands said.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec

from tests.connections.fleet import BODY, ROOT, Fleet, entry, signed
from tests.gateway.http_socket import exchange
from tests.parts.kafka import KafkaBroker

_SPREAD_S = 1.0
_NAME = "rotated"


class RotationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do."""

    gateways: int = 3
    rotations: int = 3
    senders: int = 12
    revocations: int = 5


class RotationOutcome(msgspec.Struct, kw_only=True):
    """What came of it; times in ms."""

    answers: Counter[str]
    accepted_ms: list[float]
    secret_ms: list[float]
    connection_ms: list[float]
    load_s: float

    @property
    def valid(self) -> int:
        """Valid requests."""
        return self.answers.total()

    @property
    def refused_valid(self) -> int:
        """Valid requests that were not answered 200."""
        return self.valid - self.answers["200"]

    def __str__(self) -> str:
        times = (
            ("a new secret was accepted", self.accepted_ms),
            ("a revoked secret was refused", self.secret_ms),
            ("a revoked connection was refused", self.connection_ms),
        )
        lines = [
            f"rotation under load: {self.valid} valid requests in {self.load_s:.1f} s, "
            f"{self.refused_valid} refused ({dict(self.answers)})"
        ]
        lines += [
            f"{what} by each gateway after "
            f"{', '.join(f'{ms:.0f}' for ms in sorted(found))} ms, at most {max(found):.0f} ms"
            for what, found in times
        ]
        return "\n".join(lines)


class _Rotation:
    """The senders' side: which secrets they sign with now."""

    def __init__(self, fleet: Fleet, secrets: list[str]) -> None:
        self.fleet = fleet
        self.secrets = secrets
        self.in_use = [0]
        self.in_flight: Counter[int] = Counter()
        self.answers: Counter[str] = Counter()
        self.ended = threading.Event()

    async def send(self, senders: int, draw: random.Random) -> None:
        """Until `ended`, every sender in turn to another gateway."""
        limits = httpx.Limits(max_connections=senders, max_keepalive_connections=senders)
        async with httpx.AsyncClient(limits=limits, timeout=10) as client:

            async def work(number: int) -> None:
                while not self.ended.is_set():
                    number += 1
                    secret = draw.choice(self.in_use)
                    self.in_flight[secret] += 1
                    port = self.fleet.ports[number % len(self.fleet.ports)]
                    self.answers[await self._one(client, port, secret)] += 1
                    self.in_flight[secret] -= 1

            await asyncio.gather(*(work(n) for n in range(senders)))

    async def _one(self, client: httpx.AsyncClient, port: int, secret: int) -> str:
        headers = dict(signed(self.secrets[secret]))
        url = f"http://127.0.0.1:{port}/webhooks/{_NAME}"
        try:
            answer = await client.post(url, content=BODY, headers=headers)
        except httpx.TransportError as error:
            return type(error).__name__
        return str(answer.status_code)


def run_rotation(
    broker: KafkaBroker, plan: RotationPlan, say: Callable[[str], None]
) -> RotationOutcome:
    """Rotate under load, then revoke, and measure."""
    secrets = [f"canary-rotation-{n}" for n in range(plan.rotations + 1)]
    environ = {f"S{n}": value for n, value in enumerate(secrets)}
    listed = [entry(_NAME, {"s0": "env:S0"})]
    for n in range(plan.revocations):
        listed.append(entry(f"key-{n}", {"s0": "env:S0", "s1": "env:S1"}))
        listed.append(entry(f"gone-{n}", {"s0": "env:S0"}))
    with tempfile.TemporaryDirectory(prefix="hookline-rotation-") as folder:
        fleet = Fleet(broker, Path(folder), listed, gateways=plan.gateways, environ=environ)
        with fleet:
            rotation = _Rotation(fleet, secrets)
            began_s = time.monotonic()
            with ThreadPoolExecutor(1) as operator:
                rotating = operator.submit(_rotate, rotation, plan.rotations, say)
                rotating.add_done_callback(lambda _: rotation.ended.set())
                asyncio.run(rotation.send(plan.senders, random.Random(1)))
                accepted_ms = rotating.result()
            load_s = time.monotonic() - began_s
            secret_ms: list[float] = []
            connection_ms: list[float] = []
            with fleet.editor() as editor:
                for n in range(plan.revocations):
                    secret_ms += until_answer(
                        fleet, f"key-{n}", secrets[0], 401,
                        lambda n=n: editor.revoke(f"key-{n}", "s0"),
                    )  # fmt: skip
                    connection_ms += until_answer(
                        fleet, f"gone-{n}", secrets[0], 404,
                        lambda n=n: editor.revoke(f"gone-{n}"),
                    )  # fmt: skip
        return RotationOutcome(
            answers=rotation.answers,
            accepted_ms=accepted_ms,
            secret_ms=secret_ms,
            connection_ms=connection_ms,
            load_s=load_s,
        )


def _rotate(rotation: _Rotation, times: int, say: Callable[[str], None]) -> list[float]:
    """On a thread of its own: the operator, who also lets the system sign with the new one."""
    accepted_ms: list[float] = []
    for n in range(times):
        new = n + 1
        words = ["secrets", "rotate", _NAME, f"s{new}", f"env:S{new}"]
        accepted_ms += until_answer(
            rotation.fleet, _NAME, rotation.secrets[new], 200,
            lambda words=words: _hookline(rotation.fleet, words),
        )  # fmt: skip
        # For a while both are used, as from a system of many servers.
        rotation.in_use = [n, new]
        time.sleep(_SPREAD_S)
        rotation.in_use = [new]
        while rotation.in_flight[n]:
            time.sleep(0.005)
        _hookline(rotation.fleet, ["secrets", "retire", _NAME, f"s{n}", "--at", "now"])
        until_answer(rotation.fleet, _NAME, rotation.secrets[n], 401, lambda: None)
        time.sleep(_SPREAD_S)
        say(f"rotated from s{n} to s{new}, {rotation.answers.total()} requests so far")
    return accepted_ms


def _hookline(fleet: Fleet, words: list[str]) -> None:
    command = [sys.executable, "-m", "hookline.command", *words, "--config", str(fleet.config())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr}")


def until_answer(
    fleet: Fleet, name: str, secret: str, status: int, change: Callable[[], object]
) -> list[float]:
    """How long after the begin of `change` each gateway first answered so, in ms; asked at once."""
    answered_s: dict[int, float] = {}
    asking = threading.Barrier(len(fleet.ports) + 1)

    def ask(number: int) -> None:
        asking.wait(10)
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s:
            if exchange(fleet.ports[number], fleet.request(name, secret)).status == status:
                answered_s[number] = time.monotonic()
                return
            time.sleep(0.002)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(fleet.ports))]
    for thread in threads:
        thread.start()
    asking.wait(10)
    began_s = time.monotonic()
    change()
    for thread in threads:
        thread.join()
    if len(answered_s) < len(fleet.ports):
        raise RuntimeError(f"not every gateway answered {status} for {name}")
    return [1000 * (at_s - began_s) for at_s in answered_s.values()]
