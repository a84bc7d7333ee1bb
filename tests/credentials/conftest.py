"""The servers behind the secret backends, one each for a whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.credentials.aws_refusals import AwsRefusals
from tests.credentials.azure_standin import AzureStandIn
from tests.credentials.vault_real import VaultUnderTest
from tests.credentials.vault_standin import VaultStandIn
from tests.parts.moto import MotoServer
from tests.parts.vault import VaultServer


@pytest.fixture(scope="session")
def vault_under_test(vault: VaultServer) -> VaultUnderTest:
    return VaultUnderTest(vault)


@pytest.fixture
def vault_standin() -> Iterator[VaultStandIn]:
    with VaultStandIn() as running:
        yield running


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


@pytest.fixture
def aws_refusals() -> Iterator[AwsRefusals]:
    with AwsRefusals() as running:
        yield running


@pytest.fixture(scope="session")
def azure_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStandIn]:
    with AzureStandIn(tmp_path_factory.mktemp("azure")) as running:
        yield running
