"""The second port of a store: what an operator does to parked events and dead letters.

It is opened beside a running consumer, from another process, and takes no part in consuming:
what it changes, the partition's owner notices (`GroupCommit.touched`) and carries out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from consumer.stores.contract import ParkedEvent, ParkedKey, Partition
from schemas.dead_letter import DeadLetter


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; an empty field takes all. Times are Unix µs, `until_us` exclusive.

    `event_type` may end in `.*`; `resource` is a whole resource key or its end after a slash
    (`issue/42`); a letter that could not be decoded has neither.
    """

    connection: str = ""
    event_type: str = ""
    resource: str = ""
    reason: str = ""
    since_us: int | None = None
    until_us: int | None = None


class StoredLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter in a store, under its number there."""

    number: int
    dedupe_id: bytes
    event_type: str
    resource_key: str
    letter: DeadLetter
    traceparent: str = ""


def as_parked(stored: StoredLetter, now_ms: int) -> ParkedEvent:
    """The event of a dead letter as a parked one at its own offset."""
    letter = stored.letter
    return ParkedEvent(
        partition=Partition(letter.topic, letter.partition),
        key=letter.key or b"",
        offset=letter.offset,
        value=letter.value or b"",
        traceparent=stored.traceparent,
        request_id=letter.request_id or b"",
        connection=letter.connection,
        event_type=stored.event_type,
        reason="redriven",
        parked_at_ms=now_ms,
    )


class Operations(Protocol):
    """What `hookline parked` and `hookline dead-letters` need."""

    def letters(self, wanted: Filter, after: int, limit: int) -> list[StoredLetter]:
        """Dead letters with a number above `after`, by number."""

    def count(self, wanted: Filter) -> int:
        """How many dead letters a filter takes."""

    def letter(self, number: int) -> StoredLetter | None:
        """One dead letter."""

    def redrive(self, numbers: Sequence[int], now_ms: int) -> int:
        """Move dead letters to the parked events of their key, due now; how many that were.

        In one atomic step for each: the dedupe id is forgotten, so that the event can be
        handled; the event is parked at its own offset with reason `redriven`, so that several of
        one key run in the order of the log; the key is marked as touched and due at `now_ms`;
        the letter is gone.
        """

    def discard(self, numbers: Sequence[int]) -> int:
        """Delete dead letters; how many that were. Their events stay done."""

    def parked_keys(
        self, connection: str, after: tuple[Partition, bytes] | None, limit: int
    ) -> list[ParkedKey]:
        """Parked keys, of one connection or (empty) of all, by (topic, partition, key)."""

    def parked_events(self, partition: Partition, key: bytes, limit: int) -> list[ParkedEvent]:
        """The first parked events of a key, by offset."""

    def retry(self, keys: Collection[tuple[Partition, bytes]], now_ms: int) -> int:
        """Make parked keys due at `now_ms` and mark them as touched; how many there were."""

    def close(self) -> None:
        """Release everything."""
