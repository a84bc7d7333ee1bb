"""The contract suite's view of the Redis store: an emptied database for each test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis

from consumer.stores.contract import Claim, GroupCommit, Store
from consumer.stores.operations import Operations
from consumer.stores.redis_operations import RedisOperations
from consumer.stores.redis_store import RedisStore
from tests.parts.redis import RedisServer

NOW_S: Final = 20_100 * 86_400


class RedisHarness:
    """The run's server, flushed; effects are a list."""

    def __init__(self, server: RedisServer) -> None:
        self._url = server.url
        self._client = redis.Redis.from_url(server.url)
        self._client.flushall()
        self._store: RedisStore | None = None

    def open(self) -> Store:
        self._close_store()
        self._store = RedisStore(self._url, "orders")
        return self._store

    def another(self) -> Store:
        return RedisStore(self._url, "orders")

    @contextmanager
    def operations(self) -> Iterator[Operations]:
        operations = RedisOperations(self._url, "orders")
        try:
            yield operations
        finally:
            operations.close()

    def effect(self, commit: GroupCommit, what: str) -> None:
        commit.handle.execute("RPUSH", ("effects", what))

    def effects(self) -> list[str]:
        return [what.decode() for what in self._client.lrange("effects", 0, -1)]

    def close(self) -> None:
        self._close_store()
        self._client.close()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def dedupe_id(n: int) -> bytes:
    """An id as spread as real ones are."""
    return hashlib.blake2b(n.to_bytes(8, "big"), digest_size=16).digest()


def apply(store: RedisStore, claim: Claim, dedupe: bytes, *commands: tuple[Any, ...]) -> bool:
    """One batch as the engine makes it; False if the id was seen or the partition is not ours."""
    with store.commit() as commit:
        if not commit.owned([claim]) or commit.seen([dedupe]):
            return False
        commit.savepoint()
        for name, *arguments in commands:
            commit.handle.execute(name, arguments)
        commit.keep()
        commit.remember([dedupe], NOW_S)
        commit.advance([claim], {claim.partition: 5}, {}, NOW_S)
    return True


def everything(client: Any) -> dict[bytes, bytes]:
    """All that Redis holds."""
    return {key: client.dump(key) for key in client.scan_iter("*")}
