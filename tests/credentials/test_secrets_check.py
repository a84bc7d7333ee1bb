"""`hookline secrets check`: every state is told with its mend, and no value."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookline.command import main
from tests.credentials.vault_standin import VaultStandIn

SETTINGS = """\
kafka:
  bootstrap_servers: "127.0.0.1:1"
  properties: {sasl.password: "env:KAFKA_PASSWORD", sasl.username: plain-user}
connections:
  - id: acme-github
    tenant: acme
    provider: github
    secrets:
      - {name: old, ref: "env:OLD", not_after: 2020-01-01T00:00:00Z}
      - {name: now, ref: "vault:secret/acme#key"}
      - {name: next, ref: "env:NEXT", not_before: 2999-01-01T00:00:00Z}
  - id: acme-svix
    tenant: acme
    provider: standard_webhooks
    secrets: [{name: one, ref: "env:SVIX"}]
credentials:
  vault: {address: "ADDRESS", token: "env:VAULT_TOKEN"}
consumer:
  store: postgresql://u@h/d
  store_password: env:STORE_PASSWORD
"""
CANARIES = {
    "KAFKA_PASSWORD": "canary-kafka",
    "OLD": "canary-old",
    "NEXT": "canary-next",
    "SVIX": "whsec_" + "Y2FuYXJ5LXN2aXgtc2VjcmV0LXZhbHVl",
    "VAULT_TOKEN": "canary-token",
    "STORE_PASSWORD": "canary-store",
}


class Run:
    """The command on these settings, in this environment."""

    def __init__(
        self,
        vault: VaultStandIn,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.vault = vault
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.path = folder / "hookline.yaml"
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.listening = listening
        self.write(SETTINGS)
        vault.tokens = {"canary-token"}
        vault.write("acme", {"key": "canary-vault"})
        for name, value in CANARIES.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("COLUMNS", "200")

    def write(self, text: str) -> None:
        self.path.write_text(text.replace("ADDRESS", self.vault.address))

    def __call__(self, *arguments: str) -> tuple[int, str]:
        code: object = 0
        try:
            main(["secrets", "check", "--config", str(self.path), *arguments])
        except SystemExit as ended:
            code = ended.code
        said = "".join(self.capsys.readouterr())
        assert "canary" not in said
        assert CANARIES["SVIX"][6:] not in said
        assert isinstance(code, int)
        return code, said


@pytest.fixture
def run(
    vault_standin: VaultStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    made = Run(vault_standin, tmp_path, monkeypatch, capsys)
    with made.listening:
        yield made


def states(said: str) -> list[str]:
    known = ("ok", "expired", "not yet valid", "unavailable", "wrong form", "none counts now")
    lines = [line.rstrip() for line in said.splitlines()]
    return [word for line in lines for word in known if line.endswith(f"  {word}")]


def test_every_secret_of_the_settings_is_told(run: Run) -> None:
    code, said = run()
    assert code == 0
    assert states(said) == ["expired", "ok", "not yet valid", "ok", "ok", "ok", "ok"]
    for place in ("kafka.properties.sasl.password", "consumer.store_password", "vault.token"):
        assert place in said
    assert "plain-user" not in said
    assert "counted until 2020-01-01 00:00:00Z; take it out" in said
    assert "counts from 2999-01-01 00:00:00Z on" in said


def test_one_connection_alone_can_be_checked(run: Run) -> None:
    run.monkeypatch.delenv("STORE_PASSWORD")
    code, said = run("acme-svix")
    assert (code, states(said)) == (0, ["ok"])
    code, said = run("acme-sfix")
    assert code == 2
    assert "no connection 'acme-sfix'; did you mean acme-svix?" in said
    assert "there are acme-github, acme-svix" in said


def test_what_cannot_be_had_fails_with_its_mend(run: Run) -> None:
    run.vault.deny("acme")
    run.monkeypatch.delenv("NEXT")
    run.monkeypatch.setenv("SVIX", "whsec_canary-not-base64!")
    code, said = run()
    assert code == 2
    assert states(said) == ["expired", "unavailable", "unavailable", "wrong form", "ok", "ok", "ok"]
    assert "error: connection acme-github: secret now: vault:secret/acme#key cannot be read" in said
    assert "docs/secrets.md" in said
    assert "error: connection acme-github: secret next: env:NEXT cannot be read" in said
    assert "error: connection acme-svix: secret one:" in said


def test_a_connection_without_a_secret_that_counts_fails(run: Run) -> None:
    now = '      - {name: now, ref: "vault:secret/acme#key"}\n'
    run.write(SETTINGS.replace(now, ""))
    code, said = run("acme-github")
    assert code == 2
    assert states(said) == ["expired", "not yet valid", "none counts now"]
    assert "every webhook is refused" in said
    # A paused one takes nothing anyway.
    run.write(
        SETTINGS.replace(now, "").replace("provider: github", "provider: github\n    state: paused")
    )
    assert run("acme-github")[0] == 0


def test_settings_without_a_secret_are_fine(run: Run) -> None:
    run.write("environment: test\n")
    code, said = run()
    assert code == 0
    assert said.endswith("\nThe settings name no secret.\n")


def test_without_kafka_the_file_s_connections_are_checked_and_that_is_said(run: Run) -> None:
    code, said = run("acme-svix")
    assert code == 0
    (note,) = [line for line in said.splitlines() if "topic of connections" in line]
    assert note.startswith("the topic of connections cannot be read (nobody listens at 127.0.0.1:1")
    assert "the connections of the settings file alone" in note
    # The way to Kafka has a secret itself, which is what is to be found out.
    run.write(SETTINGS.replace("127.0.0.1:1", f"127.0.0.1:{run.port}"))
    run.monkeypatch.delenv("KAFKA_PASSWORD")
    code, said = run()
    assert code == 2
    assert "cannot be read (env:KAFKA_PASSWORD cannot be read" in said
    assert "error: kafka.properties.sasl.password: env:KAFKA_PASSWORD cannot be read" in said


def test_what_has_ended_need_not_be_there_any_more(run: Run) -> None:
    run.monkeypatch.delenv("OLD")
    code, said = run("acme-github")
    assert (code, states(said)) == (0, ["expired", "ok", "not yet valid"])
