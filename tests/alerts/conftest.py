"""What the tests of alerts share."""

from __future__ import annotations

import os

import pytest

from tests.parts.cache import PartMissing
from tests.parts.prometheus import prometheus_binary


@pytest.fixture(scope="session")
def promtool_there() -> None:
    """Skips, or fails where it is required, without promtool."""
    try:
        prometheus_binary("promtool")
    except PartMissing as missing:
        if "prometheus" in os.environ.get("HOOKLINE_REQUIRE_PARTS", "").split(","):
            pytest.fail(f"required part prometheus is missing: {missing}")
        pytest.skip(str(missing))
