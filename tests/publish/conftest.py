"""A mock cluster and a topic of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
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
