"""One stage and one browser for these tests; each leaves the vendors as it found them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.connect_flow.chromium import chromium_at_vendors
from tests.connect_flow.stage import Stage
from tests.parts.cache import PartMissing
from tests.parts.kafka import KafkaBroker


@pytest.fixture(scope="package")
def stage(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(kafka, tmp_path_factory.mktemp("connect-flow"), gateways=3)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    running = chromium_at_vendors()
    try:
        found = running.__enter__()
    except PartMissing as missing:
        if "browser" in os.environ.get("HOOKLINE_REQUIRE_PARTS", "").split(","):
            pytest.fail(f"required part browser is missing: {missing}")
        pytest.skip(f"browser is missing: {missing}")
    yield found
    running.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def behaved(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stage" in request.fixturenames:
        stage: Stage = request.getfixturevalue("stage")
        stage.street.behave()
        stage.street.github.hooks.clear()
        stage.street.zendesk.webhooks.clear()
        stage.street.shopify.subscriptions.clear()
