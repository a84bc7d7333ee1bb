"""One connection that sends too much, beside others that do not, over real sockets."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from producer.connections.clients import TopicAccess
from producer.connections.editor import Editor
from tests.gateway.http_socket import HttpSocket, Response, exchange, get, head
from tests.gateway.running import Gateway, github_body, signed_headers, vendor_request
from tests.gateway.test_handshakes import slack
from tests.gateway.test_vendors import body_of
from tests.parts.mock_cluster import MockCluster

ORDER = b'{"id":"evt_1","type":"order.paid","data":{"id":"order-1"}}'
IN_FLIGHT = 3
WEBHOOKS = "hookline_webhooks_total"


@pytest.fixture(scope="module")
def gateway(cluster: MockCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Events are safe only after half a second, and 20 of them are all that there is room for."""
    limits = {
        "rate_per_s": 0.5,
        "burst": 4,
        "overrides": {
            "acme-github": {"rate_per_s": None, "max_in_flight_events": IN_FLIGHT},
            "acme-standard": {"rate_per_s": None},
            "acme-microsoft_graph": {"rate_per_s": None, "max_in_flight_events": 2},
            "acme-shopify": {"rate_per_s": None, "max_in_flight_bytes": 1},
            "acme-gitlab": {"rate_per_s": 0.01, "burst": 1},
            "acme-slack": {"rate_per_s": 0.01, "burst": 1},
            "acme-base64": {"rate_per_s": 0.01, "burst": 2},
        },
    }
    publish = {"linger_ms": 500, "max_in_flight_events": 20}
    settings = {"gateway": {"limits": limits}, "publish": publish}
    with Gateway(cluster.bootstrap_servers, tmp_path_factory.mktemp("flood"), settings) as running:
        yield running
        assert "Traceback" not in running.log()


def request(connection: str, body: bytes = ORDER) -> bytes:
    headers = {**signed_headers(connection, body), "content-length": str(len(body))}
    return head(f"/webhooks/{connection}", headers) + body


def burst(gateway: Gateway, requests: list[bytes]) -> list[Response]:
    """All at once on one connection."""
    with HttpSocket(gateway.port) as sender:
        sender.send(b"".join(requests))
        return [sender.response() for _ in requests]


def test_over_the_rate_is_429_and_tells_when_to_come_again(gateway: Gateway) -> None:
    answers = burst(gateway, [request("acme-hmac") for _ in range(20)])
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 16
    refused = answers[-1]
    assert refused.json()["error"] == "rate_limited"
    assert refused.headers["retry-after"] in ("1", "2")
    assert len(refused.headers["x-request-id"]) == 32
    labels = {"connection": "acme-hmac", "outcome": "rate_limited"}
    assert gateway.metric(WEBHOOKS, **labels) == 16
    time.sleep(int(refused.headers["retry-after"]))
    assert gateway.exchange(request("acme-hmac")).status == 200


def test_too_much_in_flight_is_429_until_it_is_safe(gateway: Gateway) -> None:
    body = github_body()
    for _ in range(2):
        answers = burst(gateway, [request("acme-github", body) for _ in range(10)])
        assert [answer.status for answer in answers] == [200] * IN_FLIGHT + [429] * 7
        assert {answer.json()["error"] for answer in answers[IN_FLIGHT:]} == {"too_many"}
        assert {answer.headers["retry-after"] for answer in answers[IN_FLIGHT:]} == {"2"}
    labels = {"connection": "acme-github", "outcome": "too_many"}
    assert gateway.metric(WEBHOOKS, **labels) == 14


def test_each_event_of_a_request_counts_and_one_that_is_over_by_itself_gets_through(
    gateway: Gateway,
) -> None:
    three = vendor_request(
        "microsoft_graph", body_of("microsoft_graph", "three_notifications.json")
    )[1]
    for _ in range(2):
        answers = burst(gateway, [three] * 3)
        assert [answer.status for answer in answers] == [200, 429, 429]


def test_bytes_in_flight_count_too(gateway: Gateway) -> None:
    order = vendor_request("shopify", body_of("shopify"))[1]
    for _ in range(2):
        answers = burst(gateway, [order] * 3)
        assert [answer.status for answer in answers] == [200, 429, 429]


def test_what_cannot_be_read_counts_until_it_is_quarantined(gateway: Gateway) -> None:
    for _ in range(2):
        answers = burst(gateway, [request("acme-github", b"canary") for _ in range(10)])
        assert [answer.status for answer in answers] == [200] * IN_FLIGHT + [429] * 7


def test_what_is_in_flight_of_a_connection_is_measured(gateway: Gateway) -> None:
    seen: Counter[float] = Counter()
    for _ in range(5):
        with HttpSocket(gateway.port) as sender:
            sender.send(request("acme-standard") * 2)
            page = get(gateway.port, "/metrics").body.decode()
            assert [sender.response().status for _ in range(2)] == [200, 200]
        for line in page.splitlines():
            if line.startswith("hookline_connection_in_flight_events{"):
                assert 'connection="acme-standard"' in line
                seen[float(line.rsplit(" ", 1)[1])] += 1
        if seen:
            break
    assert set(seen) == {2.0}
    name = "hookline_connection_in_flight_events"
    assert gateway.metric(name, connection="acme-standard") == 0


def test_a_flood_of_one_neither_refuses_nor_holds_up_another(gateway: Gateway) -> None:
    flood = [request("acme-github", github_body()) for _ in range(30)]
    with HttpSocket(gateway.port) as flooding, HttpSocket(gateway.port) as other:
        flooding.send(b"".join(flood))
        statuses: Counter[int] = Counter()
        for _ in range(3):
            other.send(b"".join(request("acme-standard") for _ in range(5)))
            assert [other.response().status for _ in range(5)] == [200] * 5
            statuses.update(flooding.response().status for _ in range(10))
            flooding.send(b"".join(flood[:10]))
        assert statuses[200] + statuses[429] == 30
        assert statuses[429] > 0
    labels = {"connection": "acme-standard"}
    for outcome in ("too_many", "rate_limited", "overloaded"):
        assert gateway.metric(WEBHOOKS, **labels, outcome=outcome) == 0


def test_a_flood_of_forgeries_uses_up_nothing(gateway: Gateway) -> None:
    forged = request("acme-base64").replace(b"paid", b"free")
    with HttpSocket(gateway.port) as flooding:
        for _ in range(10):
            flooding.send(forged * 30)
            assert {flooding.response().status for _ in range(30)} == {401}
    answers = burst(gateway, [request("acme-base64") for _ in range(3)])
    assert [answer.status for answer in answers] == [200, 200, 429]
    # Nor is a forger told that the connection is over its limit.
    assert exchange(gateway.port, forged).status == 401


def test_a_handshake_is_no_event_and_not_counted(gateway: Gateway) -> None:
    for _ in range(5):
        assert exchange(gateway.port, slack("3eZbrw1aBm2rZgRN")).status == 200


def test_a_connection_that_is_removed_leaves_no_numbers_behind(gateway: Gateway) -> None:
    name, event = "acme-gitlab", vendor_request("gitlab", body_of("gitlab"))[1]
    assert [exchange(gateway.port, event).status for _ in range(2)] == [200, 429]
    access = TopicAccess(gateway.bootstrap_servers, gateway.connections_topic)
    with Editor(access, "test", "a test") as editor:
        record = editor.ledger.record(name)
        assert record is not None
        editor.remove(name)
        until(lambda: exchange(gateway.port, event).status == 404)
        editor.put(name, lambda _: record.connection)
        until(lambda: exchange(gateway.port, event).status in (200, 429))
    # Before, it would have had to wait for another 100 s.
    assert gateway.metric(WEBHOOKS, connection=name, outcome="accepted") == 1
    assert gateway.metric(WEBHOOKS, connection=name, outcome="rate_limited") == 0


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
