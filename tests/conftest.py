"""Fixtures that many tests share: the real parts.

A part that HOOKLINE_REQUIRE_PARTS names fails the tests that need it when it is missing; any
other is skipped, and the end of the run says so in one line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import pytest

from tests.parts.cache import PartMissing
from tests.parts.jaeger import JaegerServer
from tests.parts.kafka import KafkaBroker
from tests.parts.postgres import PostgresServer
from tests.parts.redis import RedisServer
from tests.parts.vault import VaultServer

T = TypeVar("T")
_MISSING: dict[str, str] = {}


def _part(name: str, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    try:
        part = make()
    except PartMissing as missing:
        if name in os.environ.get("HOOKLINE_REQUIRE_PARTS", "").split(","):
            pytest.fail(f"required part {name} is missing: {missing}")
        _MISSING[name] = str(missing)
        pytest.skip(f"{name} is missing")
    with part as running:
        yield running


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """A real broker, one for the whole run."""
    yield from _part("kafka", KafkaBroker)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, one for the whole run."""
    yield from _part("postgres", PostgresServer)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A real Redis server, one for the whole run."""
    yield from _part("redis", RedisServer)


@pytest.fixture(scope="session")
def vault() -> Iterator[VaultServer]:
    """A real Vault, one for the whole run."""
    yield from _part("vault", VaultServer)


@pytest.fixture(scope="session")
def jaeger() -> Iterator[JaegerServer]:
    """A real Jaeger, one for the whole run."""
    yield from _part("jaeger", JaegerServer)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes get a number: compressed ones hold the time, and two workers must agree on a name."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped for lack of a part."""
    if _MISSING:
        terminalreporter.write_line(
            "skipped for lack of real parts: "
            + "; ".join(f"{name} ({how})" for name, how in _MISSING.items())
        )
