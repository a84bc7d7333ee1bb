"""What only a real Vault shows: its Kubernetes log-in, and tokens whose uses have ended."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from credentials.reference import parse_reference
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import AppRoleLogin, KubernetesLogin
from credentials.vault_session import VaultSession
from schemas.errors import BackendAway
from tests.credentials.vault_real import VaultUnderTest
from tests.parts.vault import VaultServer

pytestmark = pytest.mark.vault
REF = parse_reference("vault:secret/real#key")


def part(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def pod_token(name: str) -> str:
    """Formed as the kubelet's are; whether it is genuine, Vault asks the API server."""
    account = {"namespace": "hookline", "serviceaccount": {"name": name, "uid": f"uid-{name}"}}
    now_s = int(time.time())
    times = {"nbf": now_s - 60, "iat": now_s - 60, "exp": now_s + 3600}
    claims = {**times, "kubernetes.io": account, "sub": f"system:serviceaccount:hookline:{name}"}
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJl"


@pytest.fixture
def api_server() -> Iterator[str]:
    """A Kubernetes API server that reviews tokens and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            claims = body["spec"]["token"].split(".")[1]
            padded = claims + "=" * (-len(claims) % 4)
            account = json.loads(base64.urlsafe_b64decode(padded))["kubernetes.io"]
            name = account["serviceaccount"]["name"]
            user = {"username": f"system:serviceaccount:hookline:{name}", "uid": f"uid-{name}"}
            data = json.dumps({**body, "status": {"authenticated": True, "user": user}}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_pod_logs_in_with_its_service_account(
    vault: VaultServer, vault_under_test: VaultUnderTest, api_server: str, tmp_path: Path
) -> None:
    vault_under_test.write("real", {"key": "one"})
    vault.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    vault.call(
        "POST",
        "auth/kubernetes/config",
        {
            "kubernetes_host": api_server,
            "token_reviewer_jwt": pod_token("vault"),
            "disable_local_ca_jwt": True,
        },
    )
    vault.call(
        "POST",
        "auth/kubernetes/role/hookline",
        {
            "bound_service_account_names": "hookline",
            "bound_service_account_namespaces": "hookline",
            "token_policies": ["hookline"],
            "token_ttl": "1h",
        },
    )
    path = tmp_path / "token"
    path.write_text(pod_token("hookline"))
    login = KubernetesLogin("hookline", token_file=str(path))
    backend = VaultBackend(VaultSession(address=vault.address, login=login))
    assert backend.fetch(REF) == Secret("one")
    path.write_text(pod_token("other"))
    with pytest.raises(BackendAway, match="refuses Hookline's log-in"):
        VaultBackend(VaultSession(address=vault.address, login=login)).fetch(REF)


def test_a_token_whose_uses_are_used_up_is_replaced(
    vault: VaultServer, vault_under_test: VaultUnderTest
) -> None:
    vault_under_test.write("real", {"key": "one"})
    role = "auth/approle/role/once"
    vault.call("POST", role, {"token_policies": ["hookline"], "token_num_uses": 1})
    role_id = vault.call("GET", f"{role}/role-id")["data"]["role_id"]
    secret_id = vault.call("POST", f"{role}/secret-id")["data"]["secret_id"]
    # A clock that stands still: that the token has ended is Vault's word alone.
    backend = VaultBackend(
        VaultSession(
            address=vault.address,
            login=AppRoleLogin(role_id, lambda: Secret(secret_id)),
            now_s=lambda: 0.0,
        )
    )
    tokens = []
    for _ in range(3):
        assert backend.fetch(REF) == Secret("one")
        tokens.append(backend._session._client.token)
    assert len(set(tokens)) == 3
