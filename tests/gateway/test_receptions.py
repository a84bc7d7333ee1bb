"""How each request was taken stands in the execution log: a row for each, few bytes, no content."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import Consumer

from producer.gateway.receptions import ReceptionLog, Row
from schemas.connection import Connection
from schemas.execution import Reception
from schemas.execution_batch import decode_rows
from schemas.execution_sampling import ExecutionSampling
from tests.gateway.http_socket import exchange, head
from tests.gateway.running import CANARIES, Gateway, github_body, github_headers

CONNECTION = Connection(id="shop", tenant="acme", provider="github", environment="test", secrets=())


def row(number: int, **changed: Any) -> Row:
    fields: dict[str, Any] = {
        "request_id": number.to_bytes(16, "big"),
        "connection": CONNECTION,
        "outcome": "accepted",
        "status": 200,
        "received_at_us": 1_764_000_000_000_000,
        **{f"{step}_ns": 1_000 for step in ("read", "verify", "identify", "encode", "publish")},
        "total_ns": 5_000,
        "events": 1,
        "partition": 2,
        "offset": number,
    }
    return Row(**(fields | changed))


class Log:
    """What a reception log hands over."""

    def __init__(self, sampling: ExecutionSampling | None = None, problem: str = "") -> None:
        self.sent: list[bytes] = []
        self.problem = problem
        self.log = ReceptionLog(
            self._send,
            environment="test",
            instance="host:1",
            sampling=sampling or ExecutionSampling(),
        )

    def _send(self, value: bytes) -> str:
        if not self.problem:
            self.sent.append(value)
        return self.problem

    def rows(self) -> list[Reception]:
        self.log.close()
        return [row for value in self.sent for row in decode_rows(value)]  # type: ignore[misc]


def run(test: Any) -> Any:
    async def running() -> Any:
        return test()

    return asyncio.run(running())


def test_a_row_is_as_it_was_noted() -> None:
    def test() -> None:
        log = Log()
        log.log.note(row(1))
        log.log.note(row(2, connection=None, outcome="not_found", status=404, sampled=True))
        first, second = log.rows()
        assert first == Reception(
            request_id=(1).to_bytes(16, "big"),
            environment="test",
            connection="shop",
            tenant="acme",
            provider="github",
            instance="host:1",
            outcome="accepted",
            status=200,
            received_at_us=1_764_000_000_000_000,
            **{f"{step}_ns": 1_000 for step in ("read", "verify", "identify", "encode", "publish")},
            total_ns=5_000,
            events=1,
            partition=2,
            offset=1,
        )
        assert (second.connection, second.outcome, second.refused) == ("", "not_found", True)
        assert second.sampled

    run(test)


def test_it_never_grows() -> None:
    def test() -> None:
        log = Log()
        for number in range(5_000):
            log.log.note(row(number))
        assert len(log.sent) == 2
        assert len(log.rows()) == 5_000

    run(test)


def test_a_flood_of_forgeries_is_no_flood_of_the_log() -> None:
    def test() -> None:
        log = Log()
        for number in range(5_000):
            log.log.note(row(number, outcome="signature_wrong", status=401))
        log.log.note(row(5_000))
        rows = log.rows()
        assert (len(rows), rows[-1].outcome) == (1_001, "accepted")
        assert log.log.dropped == {"refused": 4_000}

    run(test)


def test_what_finds_no_room_is_counted() -> None:
    def test() -> None:
        log = Log(problem="unavailable")
        log.log.note(row(1))
        log.log.note(row(2))
        assert log.rows() == []
        assert log.log.dropped == {"unavailable": 2}

    run(test)


def test_of_what_is_not_remarkable_one_in_n_stands_for_all() -> None:
    def test() -> None:
        log = Log(ExecutionSampling(one_in=4, slow_us=1_000))
        step = (1 << 64) // 1_024
        for number in range(1_024):
            log.log.note(row(number * step, offset=0))
        log.log.note(row(1_023 * step, offset=0, outcome="quarantined"))
        log.log.note(row(1_023 * step, offset=0, total_ns=1_000_000))
        rows = log.rows()
        assert [one.weight for one in rows[-2:]] == [1, 1]
        assert sum(one.weight for one in rows[:-2]) == 1_024

    run(test)


def test_a_timer_writes_what_few_requests_leave() -> None:
    async def test() -> int:
        log = Log()
        log.log.note(row(1))
        written = asyncio.Event()
        send = log.log._send
        log.log._send = lambda value: (send(value), written.set())[0]
        await asyncio.wait_for(written.wait(), 10)
        return len(log.sent)

    assert asyncio.run(test()) == 1


@pytest.fixture
def read(gateway: Gateway) -> Any:
    def receptions(count: int) -> list[Reception]:
        consumer = Consumer(
            {
                "bootstrap.servers": gateway.bootstrap_servers,
                "group.id": "receptions",
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        found: list[Any] = []
        try:
            consumer.subscribe([gateway.executions_topic])
            for _ in range(200):
                message = consumer.poll(0.1)
                if message is not None and message.error() is None:
                    value = message.value()
                    assert value is not None
                    assert not any(canary.encode() in value for canary in CANARIES)
                    found += decode_rows(value)
                if len(found) >= count:
                    return found
        finally:
            consumer.close()
        raise AssertionError(f"{len(found)} rows of {count}")

    return receptions


def test_a_gateway_writes_each_request_under_its_id(gateway: Gateway, read: Any) -> None:
    body = github_body()
    good = gateway.post("acme-github", github_headers(body), body)
    forged = gateway.post(
        "acme-github", github_headers(body, x_hub_signature_256="sha256=" + "0" * 64), body
    )
    unknown = gateway.post("nobody-knows", github_headers(body), body)
    rows = {one.request_id.hex(): one for one in read(3)}
    accepted = rows[good.headers["x-request-id"]]
    assert (accepted.outcome, accepted.status, accepted.events) == ("accepted", 200, 1)
    assert (accepted.connection, accepted.tenant, accepted.provider) == (
        *("acme-github", "acme", "github"),
    )
    assert accepted.offset >= 0
    assert accepted.total_ns > accepted.publish_ns > 0
    refused = rows[forged.headers["x-request-id"]]
    assert (refused.outcome, refused.status) == ("signature_wrong", 401)
    assert refused.connection == "acme-github"
    # Nothing that a sender makes up is kept.
    assert rows[unknown.headers["x-request-id"]].connection == ""


def test_openmetrics_is_for_those_who_ask_for_it(gateway: Gateway) -> None:
    body = github_body()
    gateway.post("acme-github", github_headers(body), body)
    plain = exchange(gateway.port, head("/metrics", {}, method="GET"))
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    asked = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    open_metrics = exchange(gateway.port, head("/metrics", asked, method="GET"))
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")
    for page in (plain.body, open_metrics.body):
        assert b'hookline_webhook_duration_seconds_bucket{le="+Inf"} ' in page
