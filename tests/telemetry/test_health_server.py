"""What a prober, a scraper and a hanging client get from the health server."""

import contextlib
import socket
import threading

import httpx
import pytest

from hookline.processes.health_server import MAX_CONNECTIONS, HealthServer
from schemas.errors import ConfigurationError


class Process:
    live = (True, "")
    ready = (True, "")
    page = b"hookline_webhooks_total 1.0\n"


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def server(process):
    with HealthServer(
        "127.0.0.1",
        0,
        live=lambda: process.live,
        ready=lambda: process.ready,
        metrics=lambda: process.page,
        connection_s=0.5,
    ) as server:
        yield server


def get(server, path, method="GET"):
    return httpx.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=10)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz?verbose"])
def test_a_healthy_process_answers_200(server, path):
    answer = get(server, path)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "reason": ""}
    assert answer.headers["content-type"] == "application/json"
    assert "Python" not in answer.headers["server"]


def test_a_process_that_is_not_ready_says_why_and_is_still_live(server, process):
    process.ready = (False, "no partitions assigned yet")
    answer = get(server, "/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "reason": "no partitions assigned yet"}
    assert get(server, "/livez").status_code == 200


def test_a_process_that_is_not_live_answers_503(server, process):
    process.live = (False, "the poll thread is dead")
    assert get(server, "/livez").status_code == 503


def test_a_check_that_fails_itself_is_500_without_its_reason(server, process):
    process.ready = None
    answer = get(server, "/readyz")
    assert answer.status_code == 500
    assert answer.json() == {"status": "failing", "reason": "the check itself failed"}


def test_metrics_come_as_prometheus_text(server, process):
    answer = get(server, "/metrics")
    assert answer.content == process.page
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_head_request_has_no_body(server):
    answer = get(server, "/livez", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_anything_else_is_refused_as_json(server):
    assert get(server, "/").status_code == 404
    assert get(server, "/livez/").status_code == 404
    assert get(server, "/livez", "POST").status_code == 501
    assert get(server, "/livez", "POST").json()["status"] == "failing"


@contextlib.contextmanager
def hanging(server, count):
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    try:
        for client in clients:
            client.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        yield clients
    finally:
        for client in clients:
            client.close()


def test_hanging_clients_do_not_keep_a_prober_out(process):
    with HealthServer(
        "127.0.0.1",
        0,
        live=lambda: process.live,
        ready=lambda: process.ready,
        metrics=lambda: process.page,
        connection_s=3600,
    ) as server:
        before = threading.active_count()
        with hanging(server, 3 * MAX_CONNECTIONS):
            assert get(server, "/livez").status_code == 200
            assert threading.active_count() <= before + MAX_CONNECTIONS + 5


def test_a_client_that_hangs_is_cut_off(server):
    with hanging(server, 1) as (client,):
        client.settimeout(10)
        assert client.recv(100) == b""


def test_rubbish_does_not_stop_the_server(server, capfd):
    for rubbish in (
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"",
        b"GET / HTTP/9\r\n\r\n",
        b"a" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(rubbish)
    assert get(server, "/livez").status_code == 200
    assert capfd.readouterr().err == ""


def test_a_port_in_use_is_a_configuration_error(server):
    with pytest.raises(ConfigurationError, match=r"consumer\.listen.*choose another port"):
        HealthServer("127.0.0.1", server.port, live=tuple, ready=tuple, metrics=bytes)


def test_after_close_nobody_listens(process):
    server = HealthServer("127.0.0.1", 0, live=tuple, ready=tuple, metrics=bytes)
    server.start().close()
    with pytest.raises(httpx.ConnectError):
        get(server, "/livez")
    HealthServer("127.0.0.1", 0, live=tuple, ready=tuple, metrics=bytes).close()
