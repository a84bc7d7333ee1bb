"""Vault's log-ins, and what each of its answers means; on the stand-in, which counts them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from credentials.environment import EnvironmentBackend
from credentials.file import FileBackend
from credentials.reference import parse_reference
from credentials.resolver import Resolver
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import AppRoleLogin, KubernetesLogin, TokenLogin, VaultLogin
from credentials.vault_session import VaultSession
from schemas.errors import BackendAway, SecretUnavailable
from tests.credentials.vault_standin import POD_TOKEN, VaultStandIn

REF = parse_reference("vault:secret/acme/github#key")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def vault(vault_standin: VaultStandIn) -> VaultStandIn:
    vault_standin.write("acme/github", {"key": "one"})
    return vault_standin


def backend(vault: VaultStandIn, login: VaultLogin | None = None, **named: Any) -> VaultBackend:
    if login is None:
        role_id, secret_id = vault.new_secret_id()
        login = AppRoleLogin(role_id, lambda: Secret(secret_id))
    return VaultBackend(VaultSession(address=vault.address, login=login, **named))


def test_one_log_in_serves_until_shortly_before_its_token_ends(vault: VaultStandIn) -> None:
    clock = Clock()
    under_test = backend(vault, now_s=clock)
    for clock.now_s in (0, 1000, 2879):
        under_test.fetch(REF)
    assert vault.log_ins == 1
    clock.now_s = 2880
    under_test.fetch(REF)
    assert vault.log_ins == 2


def test_a_token_without_an_end_is_kept(vault: VaultStandIn) -> None:
    clock = Clock()
    vault.lease_s = 0
    under_test = backend(vault, now_s=clock)
    for clock.now_s in (0, 10**9):
        under_test.fetch(REF)
    assert vault.log_ins == 1


def test_a_token_that_was_revoked_is_replaced(vault: VaultStandIn) -> None:
    under_test = backend(vault)
    under_test.fetch(REF)
    vault.end_tokens()
    assert under_test.fetch(REF) == Secret("one")
    assert vault.log_ins == 2


def test_a_denied_secret_makes_no_log_in_after_another(vault: VaultStandIn) -> None:
    under_test = backend(vault)
    vault.deny("acme/github")
    for _ in range(3):
        with pytest.raises(SecretUnavailable, match="denies it"):
            under_test.fetch(REF)
    assert vault.log_ins == 1


def test_a_secret_id_is_read_anew_at_each_log_in(vault: VaultStandIn, tmp_path: Path) -> None:
    path = tmp_path / "secret-id"
    role_id, secret_id = vault.new_secret_id()
    path.write_text(secret_id)
    path.chmod(0o600)
    resolver = Resolver([FileBackend()])
    login = AppRoleLogin(role_id, lambda: resolver.resolve(f"file:{path}"))
    under_test = backend(vault, login)
    under_test.fetch(REF)
    vault.end_secret_ids()
    vault.end_tokens()
    path.write_text(vault.new_secret_id()[1])
    assert under_test.fetch(REF) == Secret("one")


def test_a_token_in_a_file_is_read_again_when_vault_refuses_it(
    vault: VaultStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    path.chmod(0o600)
    vault.tokens = {"first"}
    resolver = Resolver([FileBackend()])
    under_test = backend(vault, TokenLogin(lambda: resolver.resolve(f"file:{path}")))
    assert under_test.fetch(REF) == Secret("one")
    vault.tokens = {"second"}
    with pytest.raises(BackendAway, match=r"no longer takes the token of credentials\.vault\.tok"):
        under_test.fetch(REF)
    path.write_text("second")
    assert under_test.fetch(REF) == Secret("one")


def test_a_token_that_may_not_read_the_secret_is_told_from_one_that_has_ended(
    vault: VaultStandIn,
) -> None:
    vault.tokens = {"mine"}
    vault.deny("acme/github")
    under_test = backend(vault, TokenLogin(lambda: Secret("mine")))
    with pytest.raises(SecretUnavailable, match="denies it") as caught:
        under_test.fetch(REF)
    assert not isinstance(caught.value, BackendAway)


def test_a_pod_logs_in_with_its_service_account(vault: VaultStandIn, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(POD_TOKEN + "\n")
    under_test = backend(vault, KubernetesLogin("hookline", token_file=str(path)))
    assert under_test.fetch(REF) == Secret("one")
    with pytest.raises(BackendAway, match=r"refuses Hookline's log-in \(permission denied\)"):
        backend(vault, KubernetesLogin("other", token_file=str(path))).fetch(REF)
    path.unlink()
    vault.end_tokens()
    with pytest.raises(BackendAway, match="automountServiceAccountToken"):
        under_test.fetch(REF)


def test_our_part_of_the_log_in_that_cannot_be_read_is_named(vault: VaultStandIn) -> None:
    resolver = Resolver([EnvironmentBackend({})])
    login = TokenLogin(lambda: resolver.resolve("env:VAULT_TOKEN"))
    with pytest.raises(BackendAway, match=r"cannot log in to Vault: env:VAULT_TOKEN.*is not set"):
        backend(vault, login).fetch(REF)


def test_a_token_of_the_environment_or_the_home_folder_is_not_used(
    vault: VaultStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "from-the-environment")
    vault.tokens = {"from-the-environment"}
    with pytest.raises(BackendAway, match="refuses Hookline's log-in"):
        backend(vault, AppRoleLogin("wrong", lambda: Secret("wrong"))).fetch(REF)


def test_a_namespace_goes_with_every_request(vault: VaultStandIn) -> None:
    vault.namespace = "teams/acme"
    assert backend(vault, namespace="teams/acme").fetch(REF) == Secret("one")
    with pytest.raises(SecretUnavailable):
        backend(vault, namespace="teams/other").fetch(REF)


def test_a_mount_with_a_slash_is_known_by_the_settings(vault: VaultStandIn) -> None:
    ref = parse_reference("vault:teams/acme/acme/github#key")
    assert backend(vault, mounts=["teams", "teams/acme/"]).fetch(ref) == Secret("one")
    with pytest.raises(SecretUnavailable, match="check mount and path"):
        backend(vault).fetch(ref)


def test_a_key_that_the_secret_does_not_have_is_named(vault: VaultStandIn) -> None:
    vault.write("acme/github", {"other": "canary"})
    with pytest.raises(SecretUnavailable, match="has no key key") as caught:
        backend(vault).fetch(REF)
    assert "canary" not in str(caught.value)


def test_data_in_the_path_is_pointed_out(vault: VaultStandIn) -> None:
    with pytest.raises(SecretUnavailable, match="leave data/ out of the path"):
        backend(vault).fetch(parse_reference("vault:secret/data/acme/github#key"))


@pytest.mark.parametrize(
    ("answer", "is_away"),
    [
        ((503, "Vault is sealed"), True),
        ((429, "request limit exceeded"), True),
        ((500, "internal error"), True),
        ((473, "performance standby"), True),
        ((400, "unsupported path"), False),
    ],
)
def test_only_an_answer_about_the_secret_is_a_refusal(
    vault: VaultStandIn, answer: tuple[int, str], is_away: bool
) -> None:
    under_test = backend(vault)
    under_test.fetch(REF)
    vault.answers_all = answer
    with pytest.raises(SecretUnavailable, match=answer[1]) as caught:
        under_test.fetch(REF)
    assert isinstance(caught.value, BackendAway) is is_away


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1, 2]", b'"x"', b"{}"])
def test_what_is_no_vault_is_said_to_be_none(body: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        under_test = VaultBackend(
            VaultSession(
                address=f"http://127.0.0.1:{server.server_port}",
                login=AppRoleLogin("r", lambda: Secret("s")),
            )
        )
        with pytest.raises(BackendAway, match="is no Vault"):
            under_test.fetch(REF)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_vault_that_quotes_what_it_was_sent_is_not_quoted(
    vault: VaultStandIn, status: int
) -> None:
    role_id, secret_id = vault.new_secret_id()
    under_test = backend(vault, AppRoleLogin(role_id, lambda: Secret(secret_id)))
    under_test.fetch(REF)
    (token,) = vault.tokens
    vault.answers_all = (status, f"not with token={token} of '{secret_id}', sorry")
    with pytest.raises(SecretUnavailable) as caught:
        under_test.fetch(REF)
    assert "sorry" in str(caught.value)
    assert token not in str(caught.value)
    assert secret_id not in str(caught.value)
