"""Vault out of order: what stands before it, its silence, and answers of an unexpected form."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from credentials.reference import parse_reference
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import AppRoleLogin, TokenLogin
from credentials.vault_session import VaultSession
from schemas.errors import BackendAway, SecretUnavailable
from tests.credentials.places import silent_port
from tests.credentials.vault_standin import VaultStandIn

REF = parse_reference("vault:secret/acme/github#key")


def test_a_ca_file_that_is_gone_is_a_silence_and_no_fault(tmp_path: Path) -> None:
    backend = VaultBackend(
        VaultSession(
            address="https://127.0.0.1:1",
            login=TokenLogin(lambda: Secret("t")),
            ca_file=str(tmp_path / "not-there.pem"),
        )
    )
    with pytest.raises(BackendAway, match=r"ca_file"):
        backend.fetch(REF)


def test_who_waits_behind_a_request_that_gets_no_answer_shares_its_failure() -> None:
    asked = threading.Barrier(8)
    with silent_port() as port:
        login = TokenLogin(lambda: Secret("t"))
        session = VaultSession(address=f"http://127.0.0.1:{port}", login=login, timeout_s=1.0)
        backend = VaultBackend(session)
        counted = 0
        answer = session._answer

        def counting(*arguments: Any) -> object:
            nonlocal counted
            counted += 1
            return answer(*arguments)

        session._answer = counting  # type: ignore[method-assign,assignment]

        def fetch(n: int) -> BaseException | None:
            asked.wait(10)
            try:
                backend.fetch(parse_reference(f"vault:secret/{n}#k"))
            except BackendAway as error:
                return error
            return None

        with ThreadPoolExecutor(8) as pool:
            errors = list(pool.map(fetch, range(8)))
    assert all(isinstance(error, BackendAway) for error in errors)
    assert len({str(error) for error in errors}) == 8
    assert counted == 1


class Proxy:
    """What stands before a Vault and answers in its place."""

    def __init__(self, status: int, kind: str, body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (404, "text/plain", b"default backend - 404"),
        (404, "application/json", b'{"message":"no Route matched with those values"}'),
        (400, "text/html", b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        (403, "text/plain", b"RBAC: access denied"),
        (200, "text/html", b"<html>back soon</html>"),
        (200, "application/json", b'["back", "soon"]'),
        (502, "application/json", b'["bad", "gateway"]'),
    ],
)
def test_what_stands_before_a_vault_says_nothing_of_a_secret(
    status: int, kind: str, body: bytes
) -> None:
    with Proxy(status, kind, body) as address:
        backend = VaultBackend(VaultSession(address=address, login=TokenLogin(lambda: Secret("t"))))
        with pytest.raises(BackendAway):
            backend.fetch(REF)


@pytest.mark.parametrize("errors", ['[{"a": 1}]', "5", '"sorry"', "null"])
def test_a_vault_s_errors_of_another_form_are_told_all_the_same(errors: str) -> None:
    body = f'{{"errors": {errors}}}'.encode()
    with Proxy(503, "application/json", body) as address:
        backend = VaultBackend(VaultSession(address=address, login=TokenLogin(lambda: Secret("t"))))
        with pytest.raises(BackendAway, match=r"cannot answer now|is no Vault"):
            backend.fetch(REF)


def test_a_vault_that_refuses_is_still_believed(vault_standin: VaultStandIn) -> None:
    role_id, secret_id = vault_standin.new_secret_id()
    backend = VaultBackend(
        VaultSession(
            address=vault_standin.address, login=AppRoleLogin(role_id, lambda: Secret(secret_id))
        )
    )
    for prepared in (lambda: None, lambda: vault_standin.deny("acme/github")):
        prepared()
        with pytest.raises(SecretUnavailable) as caught:
            backend.fetch(REF)
        assert not isinstance(caught.value, BackendAway)
