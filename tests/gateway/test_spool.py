"""The gateway with a spool: what senders, probes and scrapers see while Kafka is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producer.publish.spool_file import SpoolFile
from tests.gateway.http_socket import Response, get
from tests.gateway.running import BODY_CANARY, Gateway, github_body, github_headers
from tests.parts.mock_cluster import MockCluster


@pytest.fixture
def moody_cluster() -> Iterator[MockCluster]:
    """One that the test may break."""
    with MockCluster() as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "spool.db"


@pytest.fixture
def gateway(moody_cluster: MockCluster, tmp_path: Path, path: Path) -> Iterator[Gateway]:
    settings = {
        "publish": {"ack_deadline_ms": 400, "linger_ms": 0},
        "spool": {"path": str(path), "max_bytes": 1_048_576},
    }
    with Gateway(moody_cluster.bootstrap_servers, tmp_path, settings) as running:
        yield running


def post(gateway: Gateway, body: bytes = b"") -> Response:
    body = body or github_body()
    return gateway.post("acme-github", github_headers(body), body)


def until(condition: Callable[[], object]) -> None:
    until_s = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def closed(gateway: Gateway) -> bool:
    return value(metrics(gateway), "hookline_spool_circuit_open") == 0


def metrics(gateway: Gateway) -> str:
    return get(gateway.port, "/metrics").body.decode()


def value(text: str, name: str) -> float:
    for line in text.splitlines():
        if line.split("{")[0].split()[0] == name:
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")


def test_while_kafka_is_away_it_answers_200_and_is_ready_and_then_drains(
    gateway: Gateway, moody_cluster: MockCluster
) -> None:
    until(lambda: closed(gateway))
    assert post(gateway).status == 200
    moody_cluster.down()
    for _ in range(5):
        assert post(gateway).status == 200
    health = get(gateway.port, "/readyz")
    assert health.status == 200
    assert "events go to the spool" in health.json()["reason"]
    text = metrics(gateway)
    assert value(text, "hookline_spool_events") == value(text, "hookline_spooled_total") == 5
    assert value(text, "hookline_spool_bytes") > 5 * len(github_body())
    assert value(text, "hookline_spool_oldest_seconds") > 0
    moody_cluster.up()
    until(lambda: closed(gateway))
    text = metrics(gateway)
    assert value(text, "hookline_spool_events") == 0
    assert value(text, "hookline_spool_drained_total") == 5
    assert value(text, "hookline_spool_possible_duplicates_total") == 0
    assert value(text, "hookline_spool_overtaken_total") == 0
    assert get(gateway.port, "/readyz").json()["reason"] == ""
    assert post(gateway).status == 200
    assert BODY_CANARY not in gateway.log()


def test_a_full_spool_is_503_with_retry_after_and_not_ready(
    gateway: Gateway, moody_cluster: MockCluster
) -> None:
    until(lambda: closed(gateway))
    moody_cluster.down()
    body = github_body(padding="x" * 190_000)
    answers = [post(gateway, body) for _ in range(8)]
    statuses = [answer.status for answer in answers]
    assert statuses == sorted(statuses), "200 until it is full, then 503"
    assert set(statuses) == {200, 503}
    assert answers[-1].json()["error"] == "unavailable"
    assert int(answers[-1].headers["retry-after"]) > 0
    taken = statuses.count(200)
    moody_cluster.up()
    until(lambda: closed(gateway))
    assert value(metrics(gateway), "hookline_spool_drained_total") == taken
    assert post(gateway, body).status == 200


def test_a_stop_without_kafka_is_clean_and_the_next_start_drains(
    gateway: Gateway, moody_cluster: MockCluster, path: Path
) -> None:
    until(lambda: closed(gateway))
    moody_cluster.down()
    for _ in range(3):
        assert post(gateway).status == 200
    assert gateway.process.stop() == 0
    file = SpoolFile(path)
    assert (file.totals().events, file.was_killed) == (3, False)
    file.close()
    moody_cluster.up()
    gateway.start()
    gateway.process.wait_until(lambda: gateway.ready() == 200, "the gateway")
    until(lambda: closed(gateway))
    assert value(metrics(gateway), "hookline_spool_drained_total") == 3


def test_a_second_gateway_on_the_same_file_ends_with_an_error_that_says_so(
    gateway: Gateway, moody_cluster: MockCluster, tmp_path: Path, path: Path
) -> None:
    settings = {"spool": {"path": str(path)}}
    second = Gateway(moody_cluster.bootstrap_servers, tmp_path, settings).start()
    until(lambda: not second.process.running)
    assert second.process.stop() == 1
    assert "is open in another process" in second.log()
    assert "Traceback" not in second.log()
    assert gateway.ready() == 200
