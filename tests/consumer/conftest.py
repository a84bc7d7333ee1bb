"""The bench of the tests on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.consumer.bench import Bench
from tests.parts.kafka import KafkaBroker


@pytest.fixture
def bench(kafka: KafkaBroker, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(kafka, tmp_path)
    yield bench
    while bench.engines:
        bench.stop()
