"""One certificate authority, and one listener on every local address, for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.outgoing.certificates import Authority
from tests.outgoing.servers import Listener


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()
