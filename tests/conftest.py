"""Fixtures that many tests share: the real parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.kafka import KafkaBroker


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A real broker, one for the whole run."""
    with KafkaBroker() as broker:
        yield broker
