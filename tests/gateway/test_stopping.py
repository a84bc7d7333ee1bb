"""A stop ends within its time, whatever hangs meanwhile: a secret backend, a slow sender."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.credentials.places import silent_port
from tests.gateway.http_socket import HttpSocket, head
from tests.gateway.running import Gateway, github_body, github_headers
from tests.parts.mock_cluster import MockCluster
from tests.parts.process import free_port


@pytest.mark.parametrize("workers", [1, 2])
def test_a_secret_backend_that_hangs_does_not_hold_up_a_stop(
    cluster: MockCluster, tmp_path: Path, workers: int
) -> None:
    with silent_port() as port:
        settings = {
            "gateway": {
                "shutdown_deadline_ms": 1000,
                "workers": workers,
                "admin_listen": f"127.0.0.1:{free_port()}",
            },
            "credentials": {
                "vault": {
                    "address": f"http://127.0.0.1:{port}",
                    "timeout_ms": 60_000,
                    "token": "env:VAULT_TOKEN",
                }
            },
        }
        gateway = Gateway(cluster.bootstrap_servers, tmp_path, settings)
        text = gateway.config_path.read_text()
        gateway.config_path.write_text(text.replace("env:HMAC_SECRET", "vault:secret/a#key"))
        gateway.secrets["VAULT_TOKEN"] = "canary-token"
        with gateway:
            body = github_body()
            assert gateway.post("acme-github", github_headers(body), body).status == 200
            began_s = time.monotonic()
            code = gateway.process.stop(15)
            took_s = time.monotonic() - began_s
    assert code == 0
    assert took_s < 10
    assert len(gateway.lines("gateway stopped")) == workers


def test_a_sender_that_never_ends_its_body_does_not_hold_up_a_stop(
    cluster: MockCluster, tmp_path: Path
) -> None:
    settings = {"gateway": {"shutdown_deadline_ms": 1000, "read_timeout_ms": 60_000}}
    with (
        Gateway(cluster.bootstrap_servers, tmp_path, settings) as gateway,
        HttpSocket(gateway.port) as sender,
    ):
        sender.send(head("/webhooks/acme-github", {"content-length": "1000"}) + b"{")
        time.sleep(0.3)
        began_s = time.monotonic()
        code = gateway.process.stop(15)
        took_s = time.monotonic() - began_s
    assert code in (0, 1)
    assert took_s < 10
