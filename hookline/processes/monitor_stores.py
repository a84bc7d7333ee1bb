"""The monitor's store by the scheme of `monitor.store`: for the monitor itself, and for whoever
asks it questions beside the monitor."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from consumer.monitor.contract import MonitorStore, Questions
from consumer.monitor.sqlite import SqliteMonitor, SqliteQuestions
from credentials.resolver import Resolver
from hookline.processes.stores import with_password
from hookline.settings.monitor import MonitorSettings
from schemas.errors import ConfigurationError

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = "consumer.monitor.postgres"


def open_monitor_store(settings: MonitorSettings, resolver: Resolver) -> MonitorStore:
    """The store, opened by the monitor; StoreLocked if a SQLite file has one already."""
    if settings.store.startswith(_SQLITE):
        return SqliteMonitor(Path(settings.store.removeprefix(_SQLITE)))
    store: MonitorStore = _postgres("PostgresMonitor", settings, resolver)
    return store


def open_questions(settings: MonitorSettings, resolver: Resolver) -> Questions:
    """The same store beside a running monitor, to read; StoreUnavailable if there was never one."""
    if settings.store.startswith(_SQLITE):
        return SqliteQuestions(Path(settings.store.removeprefix(_SQLITE)))
    store: Questions = _postgres("PostgresQuestions", settings, resolver)
    return store


def _postgres(name: str, settings: MonitorSettings, resolver: Resolver) -> Any:
    if settings.store.startswith("sqlite"):
        raise ConfigurationError(
            "monitor.store: write sqlite:///relative/path or sqlite:////absolute/path"
        )
    try:
        make = getattr(importlib.import_module(_POSTGRES), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("consumer"):
            raise
        raise ConfigurationError(
            "monitor.store: a PostgreSQL store needs a package that is not installed "
            f"({error.name}): pip install 'hookline[postgres]'"
        ) from None
    return make(with_password(settings.store, settings.store_password, resolver))
