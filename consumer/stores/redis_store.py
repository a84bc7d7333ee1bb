"""The store in Redis: effects, ids and progress of a group commit are one atomic Lua script.

What that promises after a power cut or a failover depends on Redis's settings: docs/stores.md.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from consumer.stores.contract import (
    GIVEN_UP_S,
    Claim,
    GroupCommit,
    Layout,
    Outgoing,
    Partition,
    Store,
    pack_layout,
)
from consumer.stores.redis_commit import (
    DAY_S,
    RedisCommit,
    Tokens,
    member,
    parked_key,
    str_of,
)
from consumer.stores.redis_server import RedisServer
from schemas.codec import DEAD_LETTER

#: How many buckets of about 64 ids one step of an expiry visits: about a millisecond of Redis.
_BUCKETS_A_STEP: Final = 16


class RedisStore:
    """A `Store` for one group; many replicas may open it."""

    def __init__(self, url: str, group: str) -> None:
        self._server = RedisServer(url, group)
        self._tokens = Tokens()
        self._expiring = threading.Lock()
        #: For each table where the walk through its buckets is, and which days it takes away.
        self._walks: dict[str, tuple[int, int]] = {}
        try:
            self._server.check()
            self._server.warn()
        except BaseException:
            self._server.close()
            raise

    def claim(self, partitions: Sequence[Partition], owner: str = "") -> list[Claim]:
        if not partitions:
            return []
        token = secrets.token_bytes(8)
        args: list[Any] = [owner, token, len(partitions)]
        for partition in partitions:
            after = Partition(partition.topic, partition.number + 1)
            args += [str_of(partition), member(partition), member(after)]
        claims: list[Claim] = []
        for partition, (epoch, next_offset, parked) in zip(
            partitions, self._server.run("claim", *args), strict=True
        ):
            self._tokens.written(partition, epoch, token)
            keys = (parked_key(n, r) for n, r in zip(parked[::2], parked[1::2], strict=True))
            position = None if next_offset is None else int(next_offset)
            claims.append(Claim(partition, epoch, position, tuple(keys)))
        return claims

    def layout(self, topic: str) -> Layout | None:
        packed = self._server.call("HGET", self._server.key("layouts"), topic)
        return msgspec.msgpack.decode(packed, type=Layout) if packed else None

    def note_layout(self, topic: str, layout: Layout, before: Layout | None) -> bool:
        known = pack_layout(before) if before is not None else b""
        return bool(self._server.run("layout", topic, pack_layout(layout), known))

    def progress(self, topic: str) -> dict[int, int]:
        # A topic's name has no colon in it.
        known = (name.split(b":") for name in self._server.partitions())
        numbers = [int(number) for of, number in known if of == topic.encode()]
        names = [self._server.key(f"partition:{topic}:{number}") for number in numbers]
        rows = self._server.pipeline([("HGET", name, "next") for name in names])
        return {n: int(at) for n, at in zip(numbers, rows, strict=True) if at is not None}

    @contextmanager
    def commit(self, *, careful: bool = False) -> Iterator[GroupCommit]:
        commit = RedisCommit(self._server, self._tokens, careful=careful)
        yield commit
        # Whatever is raised in the block: nothing has been sent. A crash in here: Redis has run
        # all of the script or nothing of it, and the ids tell.
        commit.finish()

    def expire(self, before_s: int, limit: int, *, applied_before_s: int | None = None) -> int:
        gone = 0
        with self._expiring:
            for table, until_s in (("seen", before_s), ("applied", applied_before_s)):
                at_end = until_s is None
                while until_s is not None and not at_end and gone < limit:
                    some, at_end = self._step(table, until_s // DAY_S, limit - gone, before_s)
                    gone += some
        return gone

    def _step(self, table: str, before_day: int, limit: int, before_s: int) -> tuple[int, bool]:
        """A few buckets on; how many were forgotten, and whether that was the last bucket."""
        bucket, walk_day = self._walks.get(table, (0, before_day))
        some, bucket, walk_day = self._server.run(
            "expire", table, walk_day, bucket, limit, _BUCKETS_A_STEP, before_s, GIVEN_UP_S
        )
        if bucket < 0:
            self._walks.pop(table, None)
        else:
            self._walks[table] = (bucket, walk_day)
        return some, bucket < 0

    def outgoing(self, limit: int) -> list[Outgoing]:
        numbers = self._server.call("ZRANGE", self._server.key("outgoing"), 0, limit - 1)
        if not numbers or limit <= 0:
            return []
        bodies = self._server.call("HMGET", self._server.key("letters"), *numbers)
        return [
            Outgoing(int(number), DEAD_LETTER.decode(msgspec.msgpack.decode(body)[1]))
            for number, body in zip(numbers, bodies, strict=True)
            if body is not None
        ]

    def sent(self, numbers: Collection[int]) -> None:
        if numbers:
            self._server.call("ZREM", self._server.key("outgoing"), *numbers)

    def close(self) -> None:
        self._server.close()


def open_redis(url: str, group: str) -> Store:
    """The store for `redis://user:password@host:port/db`, or `rediss://` for TLS."""
    return RedisStore(url, group)
