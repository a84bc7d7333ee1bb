"""`credentials:` in the settings: what may be written there, and the resolver that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from credentials.seal_key import new_seal_key
from credentials.secret import Secret
from credentials.writing import SecretWriter
from hookline.settings.loading import load
from hookline.settings.secret_writing import secret_writer
from schemas.errors import ConfigurationError, SecretUnavailable
from tests.credentials.vault_standin import VaultStandIn

GOOD = """\
credentials:
  cache: {ttl_ms: 300000, keep_ms: 3600000}
  vault:
    address: https://vault.example:8200
    approle: {role_id: r, secret_id: "env:VAULT_SECRET_ID"}
  aws: {region: eu-west-1}
  azure: {suffix: vault.azure.net}
"""

MISTAKES = [
    ("env:VAULT_SECRET_ID", "hunter2-canary", 5, ["not a secret reference"]),
    ("env:VAULT_SECRET_ID", "vault:secret/canary#k", 5, ["cannot be in one", "file:/path"]),
    ("approle:", "token: hunter2-canary\n    x:", 5, ["vault.token", "not a secret reference"]),
    ("approle:", "token: env:T\n    approle:", 3, ["exactly one of", "there are 2"]),
    ("    approle:", "    #", 3, ["exactly one of", "there are 0"]),
    ("https://vault", "http://vault", 3, ["unencrypted", "allow_http"]),
    ("https://vault", "https://u:canary@vault", 3, ["write a URL such as"]),
    ("https://vault.example:8200", "vault.example", 3, ["write a URL such as"]),
    ("https://vault.example:8200", "'https://[canary'", 3, ["write a URL such as"]),
    ("ttl_ms: 300000", "ttl_ms: 60000", 2, ["refresh_ahead_ms (60000)", "ttl_ms (60000)"]),
    ("keep_ms: 3600000", "keep_ms: 604800001", 2, ["604800000"]),
    ("region: eu-west-1", "region: 'eu west'", 6, ["region"]),
    ("vault.azure.net", "https://vault.azure.net/", 7, ["suffix"]),
    ("role_id: r", "roleid: r", 5, ["did you mean role_id?"]),
]


@pytest.mark.parametrize(("old", "new", "line", "words"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_no_secret(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    assert old in GOOD
    path = tmp_path / "hookline.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    found = caught.value.problems
    matching = [p for p in found if all(word in p for word in words)]
    assert any(p.startswith(f"hookline.yaml:{line}:") for p in matching), found
    assert "canary" not in "\n".join(found)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8200", "http://[::1]:8200", "https://v"])
def test_an_address_on_this_machine_needs_no_encryption(tmp_path: Path, address: str) -> None:
    path = tmp_path / "hookline.yaml"
    path.write_text(GOOD.replace("https://vault.example:8200", address))
    vault = load(path, {}).credentials.vault
    assert vault is not None
    assert vault.address == address


def test_the_resolver_reads_vault_with_an_approle_of_the_environment(
    tmp_path: Path, vault_standin: VaultStandIn
) -> None:
    role_id, secret_id = vault_standin.new_secret_id()
    vault_standin.write("acme", {"key": "one"})
    path = tmp_path / "hookline.yaml"
    path.write_text(
        GOOD.replace("https://vault.example:8200", vault_standin.address).replace(
            "role_id: r", f"role_id: {role_id}"
        )
    )
    seen: list[Secret] = []
    environ = {"VAULT_SECRET_ID": secret_id, "PLAIN": "two"}
    resolver = load(path, {}).credentials.resolver(environ, seen.append)
    assert resolver.resolve("vault:secret/acme#key") == Secret("one")
    assert resolver.resolve("env:PLAIN") == Secret("two")
    # All that was read is kept out of the logs: the secret id too.
    assert seen == [Secret(secret_id), Secret("one"), Secret("two")]
    # From the cache: the value counts for ttl_ms.
    vault_standin.write("acme", {"key": "three"})
    assert resolver.resolve("vault:secret/acme#key") == Secret("one")


def test_vault_without_its_settings_says_which_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "hookline.yaml"
    path.write_text("environment: test\n")
    resolver = load(path, {}).credentials.resolver({}, lambda secret: None)
    with pytest.raises(SecretUnavailable, match=r"write credentials\.vault in hookline\.yaml"):
        resolver.resolve("vault:secret/acme#key")


WRITERS = [
    ("sealed", "", "sealed:acme/c/f"),
    ("sealed", "prod", "sealed:prod/acme/c/f"),
    ("vault", "secret/hookline/connect", "vault:secret/hookline/connect/acme/c/f#value"),
]


@pytest.mark.parametrize(("backend", "prefix", "ref"), WRITERS)
def test_a_writer_is_made_from_the_settings_and_this_process_sees_each_change(
    tmp_path: Path, vault_standin: VaultStandIn, backend: str, prefix: str, ref: str
) -> None:
    role_id, secret_id = vault_standin.new_writer_id()
    path = tmp_path / "hookline.yaml"
    path.write_text(
        GOOD.replace("https://vault.example:8200", vault_standin.address).replace(
            "role_id: r", f"role_id: {role_id}"
        )
        + f"  sealed: {{path: {tmp_path}/sealed, key: 'env:SEAL_KEY'}}\n"
    )
    environ = {"VAULT_SECRET_ID": secret_id, "SEAL_KEY": new_seal_key().reveal()}
    seen: list[Secret] = []
    credentials = load(path, {}).credentials
    resolver = credentials.resolver(environ, seen.append)
    writer = secret_writer(credentials, backend, prefix, resolver=resolver, on_secret=seen.append)
    assert writer.scheme == backend
    for value in ("one", "two", "three"):
        assert writer.write("acme/c/f", Secret(value)) == ref
        assert Secret(value) in seen
        # Not the older one that is in the cache for five minutes.
        assert resolver.resolve(ref) == Secret(value)
    assert Secret(environ["VAULT_SECRET_ID" if backend == "vault" else "SEAL_KEY"]) in seen
    writer.delete(ref)
    with pytest.raises(SecretUnavailable):
        resolver.resolve(ref)


@pytest.mark.parametrize(
    ("backend", "prefix", "words"),
    [
        ("sealed", "", r"credentials\.sealed is not set.*seal-key --to"),
        ("vault", "secret/a", r"credentials\.vault is not set"),
        ("vault+", "", "write one of sealed, vault, aws-sm, azure-kv"),
        ("aws-sm", "", r"prefix of secrets in aws-sm: .*as in hookline/connect"),
        ("aws-sm", "/canary", "as in hookline/connect"),
        ("azure-kv", "canary", "as in acme-vault/hookline"),
        ("azure-kv", "v/canary/x", "as in acme-vault/hookline"),
    ],
)
def test_a_writer_that_cannot_be_made_says_what_to_write(
    tmp_path: Path, backend: str, prefix: str, words: str
) -> None:
    path = tmp_path / "hookline.yaml"
    path.write_text("environment: test\n")
    with pytest.raises(ConfigurationError, match=words) as caught:
        _writer_of(path, backend, prefix)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "prefix", "words"),
    [
        ("sealed", "Canary", "has capitals"),
        ("sealed", "../canary", "letters, digits"),
        ("vault", "secret", "a whole mount is not Hookline's"),
        ("vault", "teams/acme", "a whole mount is not Hookline's"),
        ("vault", "secret/canary/", "a mount, and a path in it"),
    ],
)
def test_a_prefix_of_another_form_is_refused(
    tmp_path: Path, backend: str, prefix: str, words: str
) -> None:
    path = tmp_path / "hookline.yaml"
    text = GOOD.replace("approle:", "mounts: [teams/acme]\n    approle:")
    path.write_text(text + "  sealed: {path: /nowhere/sealed, key: 'env:SEAL_KEY'}\n")
    with pytest.raises(ConfigurationError, match=words):
        _writer_of(path, backend, prefix)


def _writer_of(path: Path, backend: str, prefix: str) -> SecretWriter:
    credentials = load(path, {}).credentials
    resolver = credentials.resolver({}, lambda secret: None)
    return secret_writer(
        credentials, backend, prefix, resolver=resolver, on_secret=lambda secret: None
    )
