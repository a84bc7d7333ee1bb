"""The writers under test, each with the place behind it and what its owner can do there."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from credentials.aws_clients import AwsClients
from credentials.aws_secrets_manager import AwsSecretsManagerBackend
from credentials.aws_writer import AwsSecretsManagerWriter
from credentials.azure_clients import AzureClients
from credentials.azure_writer import AzureKeyVaultWriter
from credentials.reference import parse_reference
from credentials.resolver import SecretBackend
from credentials.seal_key import new_seal_key
from credentials.sealed import SealedBackend, SealedWriter
from credentials.sealed_file import SealedFile
from credentials.secret import Secret
from credentials.vault import VaultBackend
from credentials.vault_login import AppRoleLogin
from credentials.vault_session import VaultSession
from credentials.vault_writer import VaultWriter
from credentials.writing import SecretWriter
from tests.credentials.aws_refusals import AwsRefusals
from tests.credentials.azure_standin import AzureStandIn
from tests.credentials.places import AzurePlace, place_named
from tests.credentials.vault_real import VaultUnderTest
from tests.credentials.vault_standin import VaultStandIn
from tests.parts.moto import REGION, MotoServer


class WritingPlace:
    """One writer, a backend that reads what it wrote, and what others do there."""

    writer: SecretWriter
    #: Of another process: it shares nothing with the writer but the place.
    reader: SecretBackend
    largest = 64 * 1024
    #: A reference of what somebody else put there, outside of the writer's prefix.
    elsewhere: str

    def another(self) -> SecretWriter:
        """A second writer to the same place, as another process has it."""
        raise NotImplementedError

    def left(self, ref: str) -> Any:
        """All that is still there of it, also what nobody can read; falsy if nothing is."""
        raise NotImplementedError

    def prefixed(self, ref: str) -> str:
        """A reference like this one, whose prefix only starts like the writer's."""
        raise NotImplementedError

    def away(self, port: int) -> SecretWriter:
        """A writer like this one whose server is at another port, with a timeout of 0.3 s."""
        raise NotImplementedError


class ForeignPlace(WritingPlace):
    """A place that others write to as well, and that can say no."""

    def put_by_others(self, ref: str, value: str) -> None:
        """Somebody else's secret, in just this place."""
        raise NotImplementedError

    def refused(self) -> SecretWriter:
        """A writer that has not the right to."""
        raise NotImplementedError


class SealedWriting(WritingPlace):
    elsewhere = "sealed:others/acme/c/f"

    def __init__(self, folder: Path) -> None:
        key = new_seal_key()
        self._path = folder / "sealed"
        self._key = key
        self.writer = self.another()
        self.reader = SealedBackend(SealedFile(self._path, lambda: key))
        SealedWriter(SealedFile(self._path, lambda: key), "others").write("acme/c/f", Secret("x"))

    def another(self) -> SecretWriter:
        return SealedWriter(SealedFile(self._path, lambda: self._key), "mine")

    def left(self, ref: str) -> Any:
        return ref.removeprefix("sealed:").encode() in self._path.read_bytes()

    def prefixed(self, ref: str) -> str:
        return ref.replace(":mine/", ":mine2/")


class VaultWriting(ForeignPlace):
    def __init__(self, vault: VaultStandIn | VaultUnderTest) -> None:
        self._vault = vault
        own = uuid.uuid4().hex
        self._prefix = f"secret/hookline/connect/{own}"
        self._login = AppRoleLogin(*_ids(vault.new_writer_id()))
        self.writer = self.another()
        reading = AppRoleLogin(*_ids(vault.new_secret_id()))
        self.reader = VaultBackend(VaultSession(address=vault.address, login=reading))
        vault.write(f"hookline/others/{own}", {"value": "x"})
        self.elsewhere = f"vault:secret/hookline/others/{own}#value"

    def _to(self, address: str, timeout_s: float) -> SecretWriter:
        session = VaultSession(address=address, login=self._login, timeout_s=timeout_s)
        return VaultWriter(session, self._prefix)

    def another(self) -> SecretWriter:
        return self._to(self._vault.address, 5.0)

    def left(self, ref: str) -> Any:
        return self._vault.read(_path(ref))

    def prefixed(self, ref: str) -> str:
        return ref.replace(self._prefix, f"{self._prefix}2")

    def away(self, port: int) -> SecretWriter:
        return self._to(f"http://127.0.0.1:{port}", 0.3)

    def put_by_others(self, ref: str, value: str) -> None:
        self._vault.write(_path(ref), {"value": value})

    def refused(self) -> SecretWriter:
        # It may read all that is in Vault, and write nothing.
        if isinstance(self._vault, VaultStandIn):
            self._vault.deny(f"{self._prefix.removeprefix('secret/')}/acme/c/f")
            return self.writer
        login = AppRoleLogin(*_ids(self._vault.new_secret_id()))
        session = VaultSession(address=self._vault.address, login=login)
        return VaultWriter(session, self._prefix)


class AwsWriting(ForeignPlace):
    """Secrets Manager in moto: a user that may write and not read, and the other way round."""

    def __init__(
        self, moto: MotoServer, refusals: AwsRefusals, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._moto = moto
        self._refusals = refusals
        own = uuid.uuid4().hex
        self._prefix = f"hookline/{own}"
        # The SDK takes its credentials when a client is made, which is at the first use.
        self.reader = AwsSecretsManagerBackend(self._clients(moto.url, moto.reader, monkeypatch))
        self._monkeypatch = monkeypatch
        self.writer = self.another()
        moto.admin.create_secret(Name=f"others/{own}/acme/c/f", SecretString="x")
        self.elsewhere = f"aws-sm:others/{own}/acme/c/f"

    def _clients(
        self, url: str, keys: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, **named: Any
    ) -> AwsClients:
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        clients = AwsClients(region=REGION, endpoint_url=url, **named)
        clients._client(parse_reference("aws-sm:a"))
        return clients

    def another(self) -> SecretWriter:
        clients = self._clients(self._moto.url, self._moto.writer, self._monkeypatch)
        return AwsSecretsManagerWriter(clients, self._prefix)

    def left(self, ref: str) -> Any:
        found = self._moto.admin.list_secrets(
            Filters=[{"Key": "name", "Values": [ref.partition(":")[2]]}],
            IncludePlannedDeletion=True,
        )
        return found["SecretList"]

    def prefixed(self, ref: str) -> str:
        return ref.replace(self._prefix, f"{self._prefix}2")

    def away(self, port: int) -> SecretWriter:
        clients = AwsClients(region=REGION, endpoint_url=f"http://127.0.0.1:{port}", timeout_s=0.3)
        return AwsSecretsManagerWriter(clients, self._prefix)

    def put_by_others(self, ref: str, value: str) -> None:
        self._moto.admin.create_secret(Name=ref.partition(":")[2], SecretString=value)

    def refused(self) -> SecretWriter:
        self._refusals.code = "AccessDeniedException"
        clients = AwsClients(region=REGION, endpoint_url=self._refusals.url)
        return AwsSecretsManagerWriter(clients, self._prefix)


class AzureWriting(ForeignPlace):
    largest = 25_000

    def __init__(self, azure: AzureStandIn, place: AzurePlace) -> None:
        self._azure = azure
        self._front = uuid.uuid4().hex
        self.writer = self.another()
        self.reader = place.backend
        azure.secrets[f"others-{self._front}"] = "x"
        self.elsewhere = f"azure-kv:acme/others-{self._front}"

    def _to(self, suffix: str, **named: Any) -> SecretWriter:
        return AzureKeyVaultWriter(AzureClients(suffix=suffix, **named), f"acme/{self._front}")

    def another(self) -> SecretWriter:
        return self._to(self._azure.suffix)

    def left(self, ref: str) -> Any:
        name = ref.partition("/")[2]
        return self._azure.secrets.get(name) or self._azure.deleted.get(name)

    def prefixed(self, ref: str) -> str:
        return ref.replace(self._front, f"{self._front}2")

    def away(self, port: int) -> SecretWriter:
        return self._to(f"vault.test:{port}", timeout_s=0.3)

    def put_by_others(self, ref: str, value: str) -> None:
        self._azure.secrets[ref.partition("/")[2]] = value

    def refused(self) -> SecretWriter:
        for name in list(self._azure.secrets):
            if name.startswith(self._front):
                self._azure.denied[name] = "ForbiddenByRbac"
        return self.writer


FOREIGN = (
    "vault-stand-in",
    pytest.param("vault", marks=pytest.mark.vault),
    "aws",
    "azure",
)
WRITING = ("sealed", *FOREIGN)


def writing_place_named(name: str, request: pytest.FixtureRequest) -> WritingPlace:
    """The place of that name, on the servers of this run."""
    have = request.getfixturevalue
    match name:
        case "sealed":
            return SealedWriting(have("tmp_path"))
        case "vault-stand-in":
            return VaultWriting(have("vault_standin"))
        case "vault":
            return VaultWriting(have("vault_under_test"))
        case "aws":
            return AwsWriting(have("moto"), have("aws_refusals"), have("monkeypatch"))
        case "azure":
            place = place_named("azure", request)
            assert isinstance(place, AzurePlace)
            return AzureWriting(have("azure_standin"), place)
    raise AssertionError(name)


def _ids(pair: tuple[str, str]) -> tuple[str, Any]:
    role_id, secret_id = pair
    return role_id, lambda: Secret(secret_id)


def _path(ref: str) -> str:
    match = re.fullmatch(r"vault:secret/(.*)#value", ref)
    assert match is not None
    return match[1]
