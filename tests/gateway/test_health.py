"""What probes and scrapers see, and what senders see while Kafka takes no events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from tests.gateway.http_socket import HttpSocket, Response, get, head
from tests.gateway.running import (
    CANARIES,
    Gateway,
    github_body,
    github_headers,
    sized_body,
)
from tests.parts.mock_cluster import PRODUCE, MockCluster
from tests.parts.process import free_port

BODY = github_body()
SMALL = {
    "publish": {"ack_deadline_ms": 400, "max_in_flight_events": 2, "linger_ms": 0},
    # All of it may be one connection's here: the bound of all is what is reached.
    "gateway": {"max_reading_bytes": 1_048_576, "limits": {"max_in_flight_events": None}},
}


@pytest.fixture
def moody_cluster() -> Iterator[MockCluster]:
    """One that the test may break."""
    with MockCluster() as running:
        yield running


@pytest.fixture
def small_gateway(moody_cluster: MockCluster, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of its own, with small bounds and a short deadline."""
    with Gateway(moody_cluster.bootstrap_servers, tmp_path, SMALL) as running:
        yield running


def post(gateway: Gateway, body: bytes = BODY) -> Response:
    return gateway.post("acme-github", github_headers(body), body)


def refused_for_now(response: Response, code: str) -> bool:
    """503 with all that a sender needs to try again."""
    return (
        response.status == 503
        and response.json()["error"] == code
        and int(response.headers["retry-after"]) > 0
        and response.json()["request_id"] == response.headers["x-request-id"]
    )


def wait_until_ready(gateway: Gateway, status: int) -> Response:
    until_s = time.monotonic() + 10
    while (response := get(gateway.port, "/readyz")).status != status:
        assert time.monotonic() < until_s, response
        time.sleep(0.02)
    return response


def test_a_gateway_in_order_is_live_and_ready(gateway: Gateway) -> None:
    for path in ("/livez", "/readyz"):
        response = get(gateway.port, path)
        assert (response.status, response.json()) == (200, {"status": "ok", "reason": ""})
        assert response.headers["cache-control"] == "no-store"


def test_metrics_are_for_prometheus_and_hold_no_secret(gateway: Gateway) -> None:
    assert post(gateway).status == 200
    assert gateway.post("acme-github", {}, BODY).status == 401
    assert gateway.post("canary-unknown", {}, BODY).status == 404
    response = get(gateway.port, "/metrics")
    assert response.status == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = response.body.decode()
    for canary in CANARIES:
        assert canary not in text
    counted = gateway.metric("hookline_webhooks_total", connection="acme-github")
    assert counted >= 1
    assert gateway.metric("hookline_webhooks_total", connection="", outcome="not_found") >= 1
    assert 'outcome="signature_missing"' in text
    assert "hookline_webhook_duration_seconds_bucket" in text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_a_probe_is_answered_while_a_body_is_being_read(gateway: Gateway, path: str) -> None:
    with HttpSocket(gateway.port) as slow:
        slow.send(head("/webhooks/acme-github", {"content-length": "1000"}))
        began_s = time.monotonic()
        assert get(gateway.port, path).status == 200
        assert time.monotonic() - began_s < 0.5
        assert slow.response().status == 408


def test_without_kafka_it_lives_and_is_not_ready_and_takes_nothing(tmp_path: Path) -> None:
    gateway = Gateway(f"127.0.0.1:{free_port()}", tmp_path).start()
    try:
        gateway.process.wait_until(lambda: gateway.ready() == 503, "the gateway")
        assert get(gateway.port, "/livez").status == 200
        assert get(gateway.port, "/readyz").json()["status"] == "failing"
        assert "Kafka" in get(gateway.port, "/readyz").json()["reason"]
        assert refused_for_now(post(gateway), "not_served")
    finally:
        assert gateway.process.stop() == 0


def test_kafka_that_goes_away_and_comes_back_is_seen_from_outside(
    small_gateway: Gateway, moody_cluster: MockCluster
) -> None:
    gateway = small_gateway
    assert post(gateway).status == 200
    moody_cluster.down()
    began_s = time.monotonic()
    first = post(gateway)
    assert refused_for_now(first, "unavailable")
    assert time.monotonic() - began_s < 2
    assert gateway.line_of(first, "refused")["reason"] == "unavailable"
    assert wait_until_ready(gateway, 503).json()["reason"]
    assert get(gateway.port, "/livez").status == 200
    assert get(gateway.port, "/metrics").status == 200
    # An event that goes to quarantine must be safe before its 200 as any other.
    assert refused_for_now(post(gateway, b"authentic, not JSON"), "unavailable")
    # What would be refused is refused as always: nobody learns of Kafka by a forged request.
    assert gateway.post("acme-github", {}, BODY).status == 401
    assert gateway.post("never-heard-of", github_headers(BODY), BODY).status == 404
    moody_cluster.up()
    wait_until_ready(gateway, 200)
    assert post(gateway).status == 200
    outcomes = {"connection": "acme-github", "outcome": "unavailable"}
    assert gateway.metric("hookline_webhooks_total", **outcomes) == 2
    assert "Traceback" not in gateway.log()


def test_a_body_is_refused_where_all_together_would_be_too_much(small_gateway: Gateway) -> None:
    """Of the 1 MiB for all bodies, slow senders hold what they have announced and begun."""
    gateway = small_gateway
    body = sized_body(60_000)
    slow = [HttpSocket(gateway.port) for _ in range(17)]
    try:
        for sender in slow:
            sender.send(head("/webhooks/acme-github", {"content-length": "60000"}) + b"x")
        time.sleep(0.1)
        assert refused_for_now(post(gateway, body), "overloaded")
        assert {sender.response().status for sender in slow} == {408}
        assert post(gateway, body).status == 200
    finally:
        for sender in slow:
            sender.close()


def test_beyond_the_bound_in_flight_it_is_overloaded_and_stays_ready(
    small_gateway: Gateway, moody_cluster: MockCluster
) -> None:
    gateway = small_gateway
    assert post(gateway).status == 200
    moody_cluster.set_delay_ms(250)
    with ThreadPoolExecutor(6) as senders:
        answers = [answer.result() for answer in [senders.submit(post, gateway) for _ in range(6)]]
    statuses = [answer.status for answer in answers]
    # On a busy machine the last of them may come when the first are answered.
    assert statuses.count(200) >= 2
    assert 503 in statuses
    for answer in answers:
        assert answer.status == 200 or refused_for_now(answer, "overloaded")
    moody_cluster.set_delay_ms(0)
    assert gateway.ready() == 200
    assert post(gateway).status == 200


def test_a_stop_lets_running_requests_end(
    small_gateway: Gateway, moody_cluster: MockCluster
) -> None:
    gateway = small_gateway
    assert post(gateway).status == 200
    moody_cluster.set_delay_ms(250)
    answers: list[Response] = []
    sender = threading.Thread(target=lambda: answers.append(post(gateway)))
    sender.start()
    time.sleep(0.1)
    code = gateway.process.stop()
    sender.join()
    assert [answer.status for answer in answers] == [200]
    assert code == 0
    assert gateway.lines("gateway stopped")[0]["clean"]


def test_an_error_that_kafka_calls_fatal_ends_the_process_so_that_it_is_replaced(
    small_gateway: Gateway, moody_cluster: MockCluster
) -> None:
    gateway = small_gateway
    assert post(gateway).status == 200
    moody_cluster.fail_next(PRODUCE, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER])
    assert refused_for_now(post(gateway), "unavailable")
    until_s = time.monotonic() + 10
    while gateway.process.running:
        assert time.monotonic() < until_s, "it goes on"
        time.sleep(0.02)
    assert gateway.process.stop() == 1
    assert not gateway.lines("gateway stopped")[0]["clean"]
