"""One gateway for all tests of a module, and a look into its log at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.running import CANARIES, Gateway
from tests.parts.mock_cluster import MockCluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(cluster: MockCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway; whatever the tests send it, neither body nor header nor secret gets into its log.

    Nor does a traceback: nothing that is sent may be a fault of ours.
    """
    with Gateway(cluster.bootstrap_servers, tmp_path_factory.mktemp("gateway")) as running:
        yield running
        log = running.log()
    for canary in CANARIES:
        assert canary not in log
    assert "Traceback" not in log
    assert not list(running.lines("a request failed"))
