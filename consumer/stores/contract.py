"""The port that every store fills. Rule: effects, ids and progress commit in one transaction.

`claim`, `expire` and the outbox may be called from other threads than the transactions'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

import msgspec

from consumer.core.staleness import Applied
from consumer.stores.transaction import Transaction
from schemas.dead_letter import DeadLetter

#: For how long (s) a partition that is written no more may hold the ids up, to be claimed anew.
GIVEN_UP_S: Final = 86_400


class Partition(NamedTuple):
    """A topic's partition; a tuple, as it is a dictionary key on the hot path."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class ParkedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key some of whose events are parked. `key` is the Kafka key; times are Unix ms."""

    partition: Partition
    key: bytes
    events: int
    #: Of its first event, since that was parked.
    attempts: int
    retry_at_ms: int


class ParkedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event held durably because it, or an earlier one of its key, failed.

    Events of a key are tried again in the order of their offsets.
    """

    partition: Partition
    key: bytes
    offset: int
    #: The envelope as the log holds it.
    value: bytes
    traceparent: str = ""
    request_id: bytes = b""
    connection: str = ""
    event_type: str = ""
    #: Why: a code of a closed set; "behind" for one that only waits for an earlier one.
    reason: str = "behind"
    parked_at_ms: int = 0


class Claim(msgspec.Struct, frozen=True):
    """Ownership of a partition: its epoch fences older owners; where to start, if known."""

    partition: Partition
    epoch: int
    next_offset: int | None
    #: Every key of the partition that has parked events.
    parked: tuple[ParkedKey, ...] = ()


class Layout(msgspec.Struct, frozen=True):
    """A topic's partitions as the group knows them; see `consumer/engine/added_partitions.py`."""

    partitions: int
    #: While partitions that were added wait: the first of them, and up to where each older one
    #: must be done.
    first_new: int = 0
    ends: dict[int, int] = {}


def pack_layout(layout: Layout) -> bytes:
    """A layout as stores keep it; equal ones are equal bytes, so that these can be compared."""
    ends = dict(sorted(layout.ends.items()))
    return msgspec.msgpack.encode(msgspec.structs.replace(layout, ends=ends))


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter on its way into the store, with what it can be searched by.

    `event_type` and `resource_key` are empty when it could not be decoded; its `dedupe_id` then
    stands for its value and place.
    """

    dedupe_id: bytes
    letter: DeadLetter
    event_type: str = ""
    resource_key: str = ""
    #: Of the event's record in the log; a redrive goes on in the same trace.
    traceparent: str = ""


class Outgoing(msgspec.Struct, frozen=True):
    """A dead letter that is in the store and not yet on its topic."""

    number: int
    letter: DeadLetter


class GroupCommit(Protocol):
    """One open transaction of a group's owner."""

    #: What handlers get.
    handle: Transaction

    def owned(self, claims: Sequence[Claim]) -> set[Partition]:
        """The partitions whose epoch is the claim's now; `advance` makes sure at the end."""

    def owner(self, partition: Partition) -> str:
        """Who has claimed it last, for a log line; empty if nobody has."""

    def seen(self, dedupe_ids: Collection[bytes]) -> set[bytes]:
        """Which of these ids were done before."""

    def applied(self, resource_ids: Collection[bytes]) -> Mapping[bytes, Applied]:
        """What was last applied to these resources (16-byte ids), where something was noted."""

    def savepoint(self) -> None:
        """Begin one event's effect."""

    def keep(self) -> None:
        """Keep what was done since the savepoint; TransactionEnded if a handler ended it."""

    def take_back(self) -> None:
        """Undo what was done since the savepoint; TransactionEnded if a handler ended it."""

    def remember(self, dedupe_ids: Collection[bytes], now_s: int) -> None:
        """Note ids as done at a time (Unix s); they were not seen before."""

    def note_applied(self, resources: Mapping[bytes, Applied], now_s: int) -> None:
        """Write what is applied to resources now, in place of what was."""

    def bury(self, letters: Sequence[Letter]) -> None:
        """Keep dead letters, to be put on their topic after the commit, too."""

    def park(self, events: Sequence[ParkedEvent], retry_at_ms: int) -> None:
        """Hold events; a key that had none parked is due at `retry_at_ms` (Unix ms)."""

    def parked(
        self, partition: Partition, key: bytes, limit: int, max_bytes: int
    ) -> list[ParkedEvent]:
        """The first parked events of a key, by offset: at most `limit` of them.

        None follows the one whose value brings their values to `max_bytes` together. So where
        there are fewer than `limit`, with fewer bytes, there are no more.
        """

    def unpark(self, events: Collection[tuple[Partition, bytes, int]]) -> None:
        """Forget parked events (partition, key, offset) that are done; a key's last ends it.

        A key that keeps some starts anew with 0 attempts, as another event is its first now.
        """

    def postpone(self, partition: Partition, key: bytes, attempts: int, retry_at_ms: int) -> None:
        """Note that a parked key was tried in vain and when to try again."""

    def touched(self, partitions: Collection[Partition], *, every: bool = False) -> list[ParkedKey]:
        """Parked keys that an operator has changed or made since this was last asked.

        With `every` all parked keys: for when the answer to the last question may be lost.
        """

    def advance(
        self, claims: Sequence[Claim], positions: Mapping[Partition, int],
        gaps: Mapping[Partition, int], now_s: int,
    ) -> None:  # fmt: skip
        """Write progress where the epoch is still ours; Fenced if one is not.

        `gaps`: where something is done above the position, the highest offset that is. The store
        keeps the highest it was ever told, also by owners before: from the first of them on, no
        id may expire, however old it gets, until the position has passed that offset.
        """


class Store(Protocol):
    """A database of effects, opened for one consumer group."""

    def claim(self, partitions: Sequence[Partition], owner: str = "") -> list[Claim]:
        """Take ownership: the epoch goes up by one, which fences whoever held it before.

        `owner` is what log lines call us: host, process and so on.
        """

    def layout(self, topic: str) -> Layout | None:
        """What was noted of a topic's partitions last; None if nothing was."""

    def note_layout(self, topic: str, layout: Layout, before: Layout | None) -> bool:
        """Note a layout in place of `before`; False, and nothing noted, if another was faster."""

    def progress(self, topic: str) -> dict[int, int]:
        """The position of each of a topic's partitions that has one, whoever owns it."""

    def commit(self, *, careful: bool = False) -> AbstractContextManager[GroupCommit]:
        """A transaction: committed when the block ends, rolled back when it raises.

        A store may send a handler's statements without waiting for each, and raise
        StatementFailed at the end of the block if one of them failed; with `careful` a failure
        shows in the statement that causes it.
        """

    def expire(self, before_s: int, limit: int, *, applied_before_s: int | None = None) -> int:
        """Forget ids noted on days (UTC) that ended before a time, and applied versions alike.

        `applied_before_s` None keeps all versions. At most about `limit` of each, so that no call
        takes long; how many that were, 0 when nothing is left to forget.

        Never an id that may be above a position (see `advance`). The exception is a partition
        that has been given up (`GIVEN_UP_S`): its position was last written before `before_s`,
        and for a day since that was first noticed nobody has claimed it. While the group is away
        nothing is noticed, so its partitions are there to be claimed however long that was.
        """

    def outgoing(self, limit: int) -> list[Outgoing]:
        """Dead letters not yet on their topic, oldest first."""

    def sent(self, numbers: Collection[int]) -> None:
        """Note that dead letters are on their topic."""

    def close(self) -> None:
        """Release everything; the store can be opened by another process then."""
