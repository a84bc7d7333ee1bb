"""An API for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.stage import ApiStage


@pytest.fixture
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStage]:
    """With nothing on its topics."""
    made = ApiStage(tmp_path_factory.mktemp("api"))
    yield made
    made.close()
