"""Ten thousand connections that say nothing: others are answered, and memory stays bounded."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gateway.http_socket import HttpSocket, get, head
from tests.gateway.running import Gateway, github_body, github_headers
from tests.parts.mock_cluster import MockCluster

CONNECTIONS = 10_000
#: For each one, in the gateway's process; the kernel's buffers are not in it.
MAX_BYTES_EACH = 20_000


@pytest.fixture(scope="module")
def open_files() -> Iterator[None]:
    """Room for both ends; the gateway inherits it."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 2_000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, wanted), max(most, wanted)))
    except (ValueError, PermissionError):
        pytest.skip(f"needs {wanted} open files, and {most} are allowed: ulimit -Hn")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, max(most, wanted)))


@pytest.fixture(scope="module")
def patient(
    open_files: None, cluster: MockCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that gives a head and a body two minutes each."""
    settings = {"gateway": {"header_timeout_ms": 120_000, "read_timeout_ms": 120_000}}
    folder = tmp_path_factory.mktemp("idle")
    with Gateway(cluster.bootstrap_servers, folder, settings) as running:
        yield running
        assert "Traceback" not in running.log()


def resident_bytes(gateway: Gateway) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def webhook() -> bytes:
    body = github_body()
    headers = {**github_headers(body), "content-length": str(len(body))}
    return head("/webhooks/acme-github", headers) + body


@pytest.mark.parametrize("kind", ["silent", "half a head", "half a body", "answered before"])
def test_idle_connections_keep_nobody_waiting(patient: Gateway, kind: str) -> None:
    data = webhook()
    parts = {
        "silent": b"",
        "half a head": data[:100],
        "half a body": data[:-10],
        "answered before": head("/livez", {}, "GET"),
    }
    patient.exchange(data)
    before_bytes = resident_bytes(patient)
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", patient.port), 10))
            for _ in range(CONNECTIONS)
        ]
        if parts[kind]:
            for one in idle:
                one.sendall(parts[kind])
        if kind == "answered before":
            for one in idle:
                assert one.recv(1_000).startswith(b"HTTP/1.1 200 ")
        # Each on a connection of its own, behind all that are there already.
        for _ in range(100):
            assert patient.exchange(webhook()).status == 200
        assert patient.ready() == 200
        grown_bytes = resident_bytes(patient) - before_bytes
        print(f"{kind}: {grown_bytes / CONNECTIONS:.0f} bytes a connection")
        assert grown_bytes < CONNECTIONS * MAX_BYTES_EACH
        assert len(list(Path(f"/proc/{patient.process.pid}/fd").iterdir())) > CONNECTIONS
    with HttpSocket(patient.port) as connection:
        connection.send(webhook())
        assert connection.response().status == 200
    assert get(patient.port, "/livez").status == 200
