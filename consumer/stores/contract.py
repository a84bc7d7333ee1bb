"""The port that every store fills. Rule: effects, ids and progress commit in one transaction.

`claim` may be called from another thread than the transactions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

from consumer.stores.transaction import Transaction
from schemas.dead_letter import DeadLetter


class Partition(NamedTuple):
    """A topic's partition; a tuple, as it is a dictionary key on the hot path."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class Claim(msgspec.Struct, frozen=True):
    """Ownership of a partition: its epoch fences older owners; where to start, if known."""

    partition: Partition
    epoch: int
    next_offset: int | None


class GroupCommit(Protocol):
    """One open transaction of a group's owner."""

    #: What handlers get.
    handle: Transaction

    def owned(self, claims: Sequence[Claim]) -> set[Partition]:
        """The partitions whose epoch is still the claim's, held so until the end."""

    def seen(self, dedupe_ids: Collection[bytes]) -> set[bytes]:
        """Which of these ids were done before."""

    def savepoint(self) -> None:
        """Begin one event's effect."""

    def keep(self) -> None:
        """Keep what was done since the savepoint; TransactionEnded if a handler ended it."""

    def take_back(self) -> None:
        """Undo what was done since the savepoint; TransactionEnded if a handler ended it."""

    def remember(self, dedupe_ids: Collection[bytes], now_s: int) -> None:
        """Note ids as done at a time (Unix s)."""

    def bury(self, letters: Sequence[tuple[bytes, DeadLetter]]) -> None:
        """Keep dead letters, each with its dedupe id (empty when it could not be decoded)."""

    def advance(self, claims: Sequence[Claim], positions: Mapping[Partition, int]) -> None:
        """Write progress where the epoch is still ours; Fenced if one is not."""


class Store(Protocol):
    """A database of effects, opened for one consumer group."""

    def claim(self, partitions: Sequence[Partition]) -> list[Claim]:
        """Take ownership: the epoch goes up by one, which fences whoever held it before."""

    def commit(self) -> AbstractContextManager[GroupCommit]:
        """A transaction: committed when the block ends, rolled back when it raises."""

    def expire(self, before_s: int, limit: int) -> int:
        """Forget at most `limit` ids noted before a time; how many that were."""

    def close(self) -> None:
        """Release everything; the store can be opened by another process then."""
