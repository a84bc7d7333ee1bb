"""How long it takes until a revoked connection, made by the flow, is refused by every gateway."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from tests.connect_flow.stage import Stage


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """Times from before the call that revokes it, in ms. `first_refusal_ms` is a gateway's each."""

    answered_ms: float
    first_refusal_ms: tuple[float, ...]
    #: Requests that were let in after a gateway had refused one.
    let_in_again: int
    asked: int


def measure(stage: Stage, connection: str, wanted: Mapping[str, Any]) -> Revoked:
    """Revoke it by the API while each gateway is asked without a pause. `wanted`: a signed
    webhook's headers and body, which every gateway answers 200 now."""
    answers: list[list[tuple[float, int]]] = [[] for _ in stage.gateway_ports]
    done = threading.Event()

    def ask(number: int, port: int) -> None:
        with httpx.Client(timeout=5) as client:
            while not done.is_set():
                status = client.post(
                    f"http://127.0.0.1:{port}/webhooks/{connection}",
                    headers=wanted["headers"],
                    content=wanted["body"],
                ).status_code
                answers[number].append((time.monotonic(), status))
                done.wait(0.005)

    threads = [
        threading.Thread(target=ask, args=(number, port))
        for number, port in enumerate(stage.gateway_ports)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    answer = stage.api("POST", f"/connections/{connection}/revoke")
    answered = time.monotonic()
    time.sleep(1.5)
    done.set()
    for thread in threads:
        thread.join()
    assert answer.status_code == 200, answer.text
    first = []
    again = 0
    for of_gateway in answers:
        assert {status for at, status in of_gateway if at < start} == {200}
        refused = [at for at, status in of_gateway if status == 404]
        first.append((refused[0] - start) * 1000 if refused else float("inf"))
        again += sum(status == 200 and at > refused[0] for at, status in of_gateway if refused)
    return Revoked(
        answered_ms=(answered - start) * 1000,
        first_refusal_ms=tuple(first),
        let_in_again=again,
        asked=sum(map(len, answers)),
    )
