"""The stores by the scheme of `consumer.store`; a store's package is imported only when chosen."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from consumer.stores.contract import Store
from consumer.stores.operations import Operations
from consumer.stores.sqlite import open_sqlite
from consumer.stores.sqlite_operations import SqliteOperations
from credentials.resolver import Resolver
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.settings.model import ConsumerSettings
from hookline.telemetry.redaction import Redactor
from schemas.errors import ConfigurationError

_SQLITE: Final = "sqlite:///"
#: scheme: (extra, module and name of the store, of the operator's side)
_SERVERS: Final = {
    "postgresql": (
        "postgres",
        "consumer.stores.postgres:open_postgres",
        "consumer.stores.postgres_operations:PostgresOperations",
    ),
    "redis": (
        "redis",
        "consumer.stores.redis_store:open_redis",
        "consumer.stores.redis_operations:RedisOperations",
    ),
}
_SAME: Final = {"postgres": "postgresql", "rediss": "redis"}


def open_store(settings: ConsumerSettings, resolver: Resolver) -> Store:
    """The store that `consumer.store` names, for its group."""
    if settings.store.startswith(_SQLITE):
        return open_sqlite(settings.store.removeprefix(_SQLITE), settings.group)
    store: Store = _server(settings, resolver, 1)
    return store


def open_operations(settings: ConsumerSettings, resolver: Resolver) -> Operations:
    """The operator's side of the same store, beside a running consumer."""
    if settings.store.startswith(_SQLITE):
        path = Path(settings.store.removeprefix(_SQLITE))
        return SqliteOperations(path, settings.group)
    operations: Operations = _server(settings, resolver, 2)
    return operations


@contextmanager
def operations(config: Path | None) -> Iterator[Operations]:
    """The operator's side of the store that a settings file names, closed in the end."""
    settings = load(config, os.environ)
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    opened = open_operations(settings.consumer, resolver)
    try:
        yield opened
    finally:
        opened.close()


def _server(settings: ConsumerSettings, resolver: Resolver, which: int) -> Any:
    scheme = urlsplit(settings.store).scheme
    known = _SERVERS.get(_SAME.get(scheme, scheme))
    if known is None:
        raise ConfigurationError(
            f"consumer.store: {scheme!r} is no store; write sqlite:///path/to/file.db, "
            "postgresql://user@host/database or redis://host:6379/0"
        )
    module, _, name = known[which].partition(":")
    try:
        make: Callable[[str, str], Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("consumer"):
            raise
        raise ConfigurationError(
            f"consumer.store: a {scheme} store needs a package that is not installed "
            f"({error.name}): pip install 'hookline[{known[0]}]'"
        ) from None
    return make(with_password(settings.store, settings.store_password, resolver), settings.group)


def with_password(store: str, reference: str | None, resolver: Resolver) -> str:
    """A store's URL with its password in it, where it has one: for the client alone."""
    if reference is None:
        return store
    parts = urlsplit(store)
    user, _, host = parts.netloc.rpartition("@")
    password = quote(resolver.resolve(reference).reveal(), safe="")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
