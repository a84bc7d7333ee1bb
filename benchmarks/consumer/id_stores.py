"""The three stores as the ids' benchmark opens them, each with a way to tell its size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from consumer.stores.contract import Store
from consumer.stores.postgres import open_postgres
from consumer.stores.redis_store import open_redis
from consumer.stores.sqlite import open_sqlite
from tests.parts.postgres import PostgresServer
from tests.parts.redis import RedisServer

_GROUP: Final = "bench"


class IdStore(msgspec.Struct, frozen=True):
    """An empty store; `size_bytes` is what it keeps now, on disk or, of Redis, in memory."""

    store: Store
    size_bytes: Callable[[], int]


@contextmanager
def _sqlite(folder: Path) -> Iterator[IdStore]:
    path = folder / "store.db"
    store = open_sqlite(str(path), _GROUP)

    def size() -> int:
        # Its write-ahead log is bounded, and not per id.
        return path.stat().st_size

    try:
        yield IdStore(store, size)
    finally:
        store.close()


@contextmanager
def _postgres(folder: Path) -> Iterator[IdStore]:
    with PostgresServer() as server:
        store = open_postgres(server.dsn, _GROUP)
        try:
            yield IdStore(
                store, lambda: int(server.query("SELECT pg_database_size(current_database())"))
            )
        finally:
            store.close()


@contextmanager
def _redis(folder: Path) -> Iterator[IdStore]:
    with RedisServer() as server:
        store = open_redis(server.url, _GROUP)

        def size() -> int:
            lines = server.command("INFO", "memory").decode().splitlines()
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            return int(fields["used_memory"])

        try:
            yield IdStore(store, size)
        finally:
            store.close()


STORES: Final[dict[str, Callable[[Path], AbstractContextManager[IdStore]]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "redis": _redis,
}
