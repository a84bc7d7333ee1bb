"""The operator's side of the Redis store; each change is one atomic script."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from consumer.stores.contract import ParkedEvent, ParkedKey, Partition
from consumer.stores.operations import Filter, StoredLetter, as_parked
from consumer.stores.redis_commit import member, park_arguments, parked_key, read_parked
from consumer.stores.redis_server import VERSION, RedisServer
from schemas.codec import DEAD_LETTER
from schemas.errors import StoreUnavailable

_PAGE: Final = 500
_unpack = msgspec.msgpack.decode


class _About(msgspec.Struct, frozen=True, array_like=True):
    """What a letter can be searched by, kept apart from its bytes."""

    connection: str
    event_type: str
    resource_key: str
    reason: str
    died_at_us: int


class RedisOperations:
    """`Operations` for one group."""

    def __init__(self, url: str, group: str) -> None:
        self._server = RedisServer(url, group)
        version = self._server.call("HGET", self._server.key("store"), "version")
        if version is None or int(version) != VERSION:
            self._server.close()
            found = f"version {int(version)} of it" if version else "no store"
            raise StoreUnavailable(
                f"{self._server.name} has {found} for group {group!r}; this build needs version "
                f"{VERSION}: start this version's consumer of that group once"
            )

    def letters(self, wanted: Filter, after: int, limit: int) -> list[StoredLetter]:
        found: list[StoredLetter] = []
        numbers: list[int] = []
        for number, _ in self._matching(wanted, after):
            numbers.append(number)
            if len(numbers) + len(found) >= limit or len(numbers) == _PAGE:
                found += self._read(numbers)
                numbers = []
                if len(found) >= limit:
                    return found[:limit]
        return (found + self._read(numbers))[:limit]

    def count(self, wanted: Filter) -> int:
        return sum(1 for _ in self._matching(wanted, 0))

    def letter(self, number: int) -> StoredLetter | None:
        found = self._read([number])
        return found[0] if found else None

    def redrive(self, numbers: Sequence[int], now_ms: int) -> int:
        moved = 0
        for number in numbers:
            stored = self.letter(number)
            if stored is None:
                continue
            event = as_parked(stored, now_ms)
            args = (stored.dedupe_id, *park_arguments(event), now_ms)
            # The script looks once more whether the letter is still there.
            moved += self._server.run("redrive", number, *args)
        return moved

    def discard(self, numbers: Sequence[int]) -> int:
        gone = 0
        for start in range(0, len(numbers), _PAGE):
            gone += self._server.run("discard", *numbers[start : start + _PAGE])
        return gone

    def parked_keys(
        self, connection: str, after: tuple[Partition, bytes] | None, limit: int
    ) -> list[ParkedKey]:
        found: list[ParkedKey] = []
        start = b"(" + member(*after) if after else b"-"
        while len(found) < limit:
            names = self._server.call(
                "ZRANGEBYLEX", self._server.key("keys"), start, "+", "LIMIT", 0, _PAGE
            )
            if not names:
                break
            records = self._server.call("HMGET", self._server.key("parked"), *names)
            for name, record in zip(names, records, strict=True):
                if record and (not connection or connection in _unpack(record)[3:]):
                    found.append(parked_key(name, record))
            start = b"(" + names[-1]
        return found[:limit]

    def parked_events(self, partition: Partition, key: bytes, limit: int) -> list[ParkedEvent]:
        return read_parked(self._server, partition, key, limit)

    def retry(self, keys: Collection[tuple[Partition, bytes]], now_ms: int) -> int:
        names = [member(partition, key) for partition, key in keys]
        touched = 0
        for start in range(0, len(names), _PAGE):
            touched += self._server.run("retry", now_ms, *names[start : start + _PAGE])
        return touched

    def close(self) -> None:
        self._server.close()

    def _matching(self, wanted: Filter, after: int) -> Iterator[tuple[int, _About]]:
        while True:
            numbers = self._server.call(
                "ZRANGEBYSCORE", self._server.key("numbers"), f"({after}", "+inf",
                "LIMIT", 0, _PAGE,
            )  # fmt: skip
            if not numbers:
                return
            rows = self._server.call("HMGET", self._server.key("about"), *numbers)
            for number, row in zip(numbers, rows, strict=True):
                if row is not None:
                    about = msgspec.msgpack.decode(row, type=_About)
                    if _matches(wanted, about):
                        yield int(number), about
            after = int(numbers[-1])

    def _read(self, numbers: Sequence[int]) -> list[StoredLetter]:
        if not numbers:
            return []
        bodies, abouts = self._server.pipeline(
            [(("HMGET"), self._server.key(name), *numbers) for name in ("letters", "about")]
        )
        return [
            _stored(number, body, about)
            for number, body, about in zip(numbers, bodies, abouts, strict=True)
            if body is not None and about is not None
        ]


def _stored(number: int, body: bytes, packed: bytes) -> StoredLetter:
    about = msgspec.msgpack.decode(packed, type=_About)
    fields: Any = _unpack(body)
    return StoredLetter(
        number=number,
        dedupe_id=fields[0],
        event_type=about.event_type,
        resource_key=about.resource_key,
        letter=DEAD_LETTER.decode(fields[1]),
        traceparent=fields[2],
    )


def _matches(wanted: Filter, about: _About) -> bool:
    if wanted.event_type.endswith(".*"):
        right_type = about.event_type.startswith(wanted.event_type[:-1])
    else:
        right_type = wanted.event_type in ("", about.event_type)
    return (
        right_type
        and wanted.connection in ("", about.connection)
        and wanted.reason in ("", about.reason)
        and (
            wanted.resource in ("", about.resource_key)
            or about.resource_key.endswith(f"/{wanted.resource}")
        )
        and (wanted.since_us is None or about.died_at_us >= wanted.since_us)
        and (wanted.until_us is None or about.died_at_us < wanted.until_us)
    )
