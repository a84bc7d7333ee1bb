"""A mock cluster and a topic of its own for each test; a disk that takes no more."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.parts.mock_cluster import MockCluster


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as running:
        yield running


@pytest.fixture
def topic(cluster: MockCluster) -> str:
    return cluster.create_topic(f"events-{uuid4().hex[:12]}", 12)


@pytest.fixture
def small_disk() -> Iterator[Callable[[int | None], None]]:
    """Say beyond which size no file may grow: SQLite sees a write that fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size_bytes: int | None) -> None:
        soft = limits[0] if size_bytes is None else size_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, limits[1]))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, before)
