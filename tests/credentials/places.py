"""The backends under test, each with the place behind it and what an operator can do there."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from credentials.aws_clients import AwsClients
from credentials.aws_secrets_manager import AwsSecretsManagerBackend
from credentials.azure_clients import AzureClients
from credentials.azure_key_vault import AzureKeyVaultBackend
from credentials.environment import EnvironmentBackend
from credentials.file import FileBackend
from credentials.resolver import SecretBackend
from credentials.seal_key import new_seal_key
from credentials.sealed import SealedBackend
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import AppRoleLogin
from credentials.vault_session import VaultSession
from tests.credentials.aws_refusals import AwsRefusals
from tests.credentials.azure_standin import IDENTITY_HEADER, AzureStandIn, resolving_to_loopback
from tests.credentials.vault_real import VaultUnderTest
from tests.credentials.vault_standin import VaultStandIn
from tests.parts.moto import REGION, MotoServer
from tests.parts.process import free_port


class Place:
    """One backend, and how to put a value there; `put` gives its reference."""

    backend: SecretBackend
    absent: str
    #: Whether a value there can be other than text.
    holds_binary = True
    #: Characters of the largest value that we try.
    largest = 60_000

    def put(self, name: str, value: bytes) -> str:
        raise NotImplementedError


class RemotePlace(Place):
    """A backend on the network."""

    def remove(self, name: str) -> None:
        """Delete the secret there."""
        raise NotImplementedError

    def deny(self, name: str) -> None:
        """Take our right to read it."""
        raise NotImplementedError

    def refuse_us(self) -> None:
        """What we show to log in is not accepted any longer."""
        raise NotImplementedError

    def elsewhere(self, port: int) -> SecretBackend:
        """A backend like this one whose server is at another port, with a timeout of 0.3 s."""
        raise NotImplementedError


class EnvironmentPlace(Place):
    absent = "env:NOT_THERE"

    def __init__(self) -> None:
        self._environ: dict[str, str] = {}
        self.backend = EnvironmentBackend(self._environ)

    def put(self, name: str, value: bytes) -> str:
        self._environ[name] = value.decode("utf-8", "surrogateescape")
        return f"env:{name}"


class FilePlace(Place):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.backend = FileBackend()
        self.absent = f"file:{folder}/NOT_THERE"

    def put(self, name: str, value: bytes) -> str:
        path = self._folder / name
        path.write_bytes(value)
        path.chmod(0o600)
        return f"file:{path}"


class SealedPlace(Place):
    """The sealed file; `put` goes by the writer's file, as a process of its own would."""

    holds_binary = False

    def __init__(self, folder: Path) -> None:
        key = new_seal_key()
        path = folder / "sealed"
        self._file = SealedFile(path, lambda: key)
        self.backend = SealedBackend(SealedFile(path, lambda: key))
        self.absent = "sealed:acme/c/not-there"

    def put(self, name: str, value: bytes) -> str:
        self._file.write(f"acme/c/{name.lower()}", Secret(value.decode()))
        return f"sealed:acme/c/{name.lower()}"


class VaultPlace(RemotePlace):
    """Vault, the stand-in or a real one; every test has paths and a secret id of its own."""

    def __init__(self, vault: VaultStandIn | VaultUnderTest) -> None:
        self._vault = vault
        self._folder = uuid.uuid4().hex
        self._role_id, self._secret_id = vault.new_secret_id()
        self.backend = self.to(vault.address, 5.0)
        self.absent = f"vault:secret/{self._folder}/NOT_THERE#key"

    def to(self, address: str, timeout_s: float) -> VaultBackend:
        login = AppRoleLogin(self._role_id, lambda: Secret(self._secret_id))
        return VaultBackend(VaultSession(address=address, login=login, timeout_s=timeout_s))

    def put(self, name: str, value: bytes) -> str:
        try:
            written: Any = value.decode()
        except UnicodeDecodeError:
            # JSON has no bytes: what is no text there is a number, a list or the like.
            written = ["canary"]
        self._vault.write(f"{self._folder}/{name}", {"key": written, "other": "canary-other"})
        return f"vault:secret/{self._folder}/{name}#key"

    def remove(self, name: str) -> None:
        self._vault.remove(f"{self._folder}/{name}")

    def deny(self, name: str) -> None:
        self._vault.deny(f"{self._folder}/{name}")

    def refuse_us(self) -> None:
        self._vault.end_tokens()
        self._vault.end_secret_ids()

    def elsewhere(self, port: int) -> SecretBackend:
        return self.to(f"http://127.0.0.1:{port}", 0.3)


class AwsPlace(RemotePlace):
    """Secrets Manager in moto, as a user that may only read."""

    def __init__(
        self, moto: MotoServer, refusals: AwsRefusals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._moto = moto
        self._refusals = refusals
        self._folder = uuid.uuid4().hex
        for name, value in moto.reader.items():
            monkeypatch.setenv(name, value)
        self.backend = AwsSecretsManagerBackend(AwsClients(region=REGION, endpoint_url=moto.url))
        self.absent = f"aws-sm:{self._folder}/NOT_THERE"

    def _name(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def put(self, name: str, value: bytes) -> str:
        suffix = ""
        try:
            text = value.decode()
            # The service itself refuses an empty value; one in a JSON object it cannot see.
            suffix = "" if text else "#key"
            written: dict[str, Any] = {"SecretString": text or '{"key": ""}'}
        except UnicodeDecodeError:
            written = {"SecretBinary": value}
        admin = self._moto.admin
        try:
            admin.create_secret(Name=self._name(name), **written)
        except admin.exceptions.ResourceExistsException:
            admin.put_secret_value(SecretId=self._name(name), **written)
        return f"aws-sm:{self._name(name)}{suffix}"

    def remove(self, name: str) -> None:
        self._moto.admin.delete_secret(SecretId=self._name(name), RecoveryWindowInDays=7)

    def deny(self, name: str) -> None:
        self._refused_with("AccessDeniedException")

    def refuse_us(self) -> None:
        self._refused_with("UnrecognizedClientException")

    def _refused_with(self, code: str) -> None:
        self._refusals.code = code
        self.backend = AwsSecretsManagerBackend(
            AwsClients(region=REGION, endpoint_url=self._refusals.url)
        )

    def elsewhere(self, port: int) -> SecretBackend:
        url = f"http://127.0.0.1:{port}"
        return AwsSecretsManagerBackend(AwsClients(region=REGION, endpoint_url=url, timeout_s=0.3))


class AzurePlace(RemotePlace):
    """Key Vault's stand-in, with the real client and DefaultAzureCredential."""

    holds_binary = False
    # Key Vault takes up to 25,000 bytes.
    largest = 25_000

    def __init__(self, azure: AzureStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        self._azure = azure
        self._folder = uuid.uuid4().hex
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azure.ca_file))
        monkeypatch.setenv("IDENTITY_ENDPOINT", azure.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        monkeypatch.setattr(socket, "getaddrinfo", resolving_to_loopback(socket.getaddrinfo))
        azure.identity_refuses = False
        self.backend = AzureKeyVaultBackend(AzureClients(suffix=azure.suffix))
        self.absent = f"azure-kv:acme/{self._folder}-NOT-THERE"

    def put(self, name: str, value: bytes) -> str:
        self._azure.secrets[f"{self._folder}-{name}"] = value.decode()
        return f"azure-kv:acme/{self._folder}-{name}"

    def remove(self, name: str) -> None:
        del self._azure.secrets[f"{self._folder}-{name}"]

    def deny(self, name: str) -> None:
        self._azure.denied[f"{self._folder}-{name}"] = "ForbiddenByRbac"

    def refuse_us(self) -> None:
        self._azure.identity_refuses = True
        self.backend = AzureKeyVaultBackend(AzureClients(suffix=self._azure.suffix))

    def elsewhere(self, port: int) -> SecretBackend:
        return AzureKeyVaultBackend(AzureClients(suffix=f"vault.test:{port}", timeout_s=0.3))


LOCAL = ("env", "file", "sealed")
REMOTE = (
    "vault-stand-in",
    pytest.param("vault", marks=pytest.mark.vault),
    "aws",
    "azure",
)


def place_named(name: str, request: pytest.FixtureRequest) -> Place:
    """The place of that name, on the servers of this run."""
    have = request.getfixturevalue
    match name:
        case "env":
            return EnvironmentPlace()
        case "file":
            return FilePlace(have("tmp_path"))
        case "sealed":
            return SealedPlace(have("tmp_path"))
        case "vault-stand-in":
            return VaultPlace(have("vault_standin"))
        case "vault":
            return VaultPlace(have("vault_under_test"))
        case "aws":
            return AwsPlace(
                have("moto"),
                have("aws_refusals"),
                have("monkeypatch"),
            )
        case "azure":
            return AzurePlace(have("azure_standin"), have("monkeypatch"))
    raise AssertionError(name)


def closed_port() -> int:
    """A port that refuses connections."""
    return free_port()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield listening.getsockname()[1]
