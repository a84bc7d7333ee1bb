"""What one seed stands for: the log, what each event's handler does, and the bounds."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final

import msgspec

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Limits, ParkingLimits
from consumer.stores.contract import Partition
from schemas.codec import EVENT
from schemas.event import Event

TOPIC: Final = "events"
#: Midnight UTC: schedules begin shortly before it, so that ids are noted on two days.
MIDNIGHT_S: Final = 20_780 * 86_400


class Kind(StrEnum):
    """Which handler takes an event; the first part of its type."""

    PLAIN = "plain"
    ASYNC = "async"
    BATCH = "batch"
    SKIP = "skip"
    DELETE = "delete"
    REFETCH = "refetch"
    EXTERNAL = "external"
    #: External, and with versions.
    FETCHING = "fetching"
    UNHANDLED = "unhandled"
    POISON = "poison"


EXTERNAL_KINDS: Final = frozenset({Kind.EXTERNAL, Kind.FETCHING})
#: Kinds of handlers that look at versions and run in the transaction.
VERSIONED: Final = frozenset({Kind.SKIP, Kind.DELETE, Kind.REFETCH})


class Fate(StrEnum):
    """What an event's handler does."""

    GOOD = "good"
    FAILS_SOMETIMES = "fails_sometimes"
    FAILS_FOR_LONG = "fails_for_long"
    RETRY_LATER = "retry_later"
    ODD_EXCEPTION = "odd_exception"
    PERMANENT = "permanent"
    ENDS_TRANSACTION = "ends_transaction"


class Entry(msgspec.Struct, eq=False, kw_only=True):
    """One distinct event of the log, or one poison message."""

    number: int
    partition: Partition
    key: bytes | None
    kind: Kind
    fate: Fate = Fate.GOOD
    #: How many attempts fail, until when they do, and whether they write before they fail.
    times: int = 0
    until_s: float = 0.0
    writes_first: bool = False
    event: Event | None = None
    #: Its place among the distinct events of its lane.
    index: int = 0
    attempts: int = 0
    #: An operator has mended what made it fail.
    mended: bool = False

    @property
    def lane(self) -> tuple[Partition, bytes]:
        """What its order is kept in."""
        return self.partition, self.key or b""

    @property
    def dedupe_id(self) -> bytes:
        """Empty for poison."""
        return self.event.dedupe_id if self.event else b""

    def __str__(self) -> str:
        key = self.key.decode() if self.key else "null"
        return f"e{self.number} ({self.kind}, {self.fate}, key {key} of {self.partition})"


class Message(msgspec.Struct, frozen=True, eq=False):
    """A record of the log; an entry may have several (its copies)."""

    entry: Entry
    at: int
    data: bytes | None
    timestamp_ms: int

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self.entry.partition.number

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.entry.key

    def value(self) -> bytes | None:
        return self.data

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, self.timestamp_ms)


class Plan(msgspec.Struct, eq=False, kw_only=True):
    """All that is decided before anything runs."""

    seed: int
    start_s: float
    entries: list[Entry]
    log: dict[Partition, list[Message]]
    replicas: int
    policy: Policy
    limits: Limits
    parking: ParkingLimits
    backoff: Backoff
    #: How often a commit or claim goes wrong, and for how long anything may.
    fault_rate: float
    chaos_s: float
    #: How often the group or an operator does something.
    turmoil_every_s: float
    #: The most messages of a poll.
    chunk: int


_KINDS: Final = (
    [Kind.PLAIN] * 6
    + [Kind.ASYNC] * 2
    + [Kind.BATCH] * 4
    + [Kind.SKIP] * 4
    + [Kind.DELETE]
    + [Kind.REFETCH] * 3
    + [Kind.EXTERNAL] * 5
    + [Kind.FETCHING] * 2
    + [Kind.UNHANDLED]
)
_FATES: Final = (
    [Fate.GOOD] * 12
    + [Fate.FAILS_SOMETIMES] * 4
    + [Fate.FAILS_FOR_LONG] * 4
    + [Fate.RETRY_LATER]
    + [Fate.ODD_EXCEPTION] * 2
    + [Fate.PERMANENT] * 2
    + [Fate.ENDS_TRANSACTION]
)


def draw_plan(seed: int) -> Plan:
    """The plan of a seed."""
    draw = random.Random(f"plan {seed}")
    partitions = [Partition(TOPIC, number) for number in range(draw.choice((1, 1, 2, 2, 3)))]
    start_s = MIDNIGHT_S - draw.uniform(0, 40)
    chaos_s = draw.uniform(2, 18)
    entries, log = _draw_log(draw, partitions, int(start_s * 1000), chaos_s)
    budget_s = draw.choice((0.0, 1.0, 1.0, 4.0))
    scarce = draw.random() < 0.2
    return Plan(
        seed=seed,
        start_s=start_s,
        entries=entries,
        log=log,
        replicas=draw.choice((1, 2, 2, 3)),
        policy=draw.choice([Policy.PARK] * 6 + [Policy.SKIP, Policy.BLOCK]),
        limits=Limits(
            concurrency=draw.choice((1, 2, 8)),
            max_buffered_events=draw.choice((2, 6, 40)),
            max_buffered_bytes=draw.choice((300, 100_000)),
            max_batch_events=draw.choice((1, 3, 8, 8)),
            drain_deadline_s=draw.choice((0.2, 2.0, 20.0)),
        ),
        parking=ParkingLimits(
            max_keys=draw.choice((1, 2)) if scarce else 100,
            max_events=draw.choice((1, 3)) if scarce else 1000,
            backoff=Backoff(initial_s=draw.choice((0.5, 2.0, 6.0)), max_s=15.0),
            give_up_after_s=draw.choice((0.0, 0.0, 15.0, 60.0)),
            scan_every_s=draw.uniform(3, 9),
        ),
        backoff=Backoff(initial_s=0.2, max_s=3.0, budget_s=budget_s),
        fault_rate=draw.choice((0.0, 0.03, 0.1, 0.3)),
        chaos_s=chaos_s,
        turmoil_every_s=draw.choice((0.5, 2.0, 6.0)),
        chunk=draw.choice((1, 3, 8)),
    )


def _draw_log(
    draw: random.Random, partitions: list[Partition], start_ms: int, chaos_s: float
) -> tuple[list[Entry], dict[Partition, list[Message]]]:
    entries: list[Entry] = []
    log: dict[Partition, list[Message]] = {partition: [] for partition in partitions}
    offsets = {partition: draw.choice((0, 0, 7)) for partition in partitions}
    lanes: dict[tuple[Partition, bytes], list[Entry]] = {}
    keys = [f"k{number}" for number in range(draw.randint(1, 5))]
    copies = draw.choice((0.0, 0.1, 0.3))
    gaps = draw.choice((0.0, 0.15))
    troubled = draw.random() < 0.85

    def append(entry: Entry, data: bytes | None) -> None:
        if draw.random() < gaps:
            offsets[entry.partition] += draw.randint(1, 3)
        at = offsets[entry.partition]
        log[entry.partition].append(Message(entry, at, data, start_ms + len(entries)))
        offsets[entry.partition] += 1

    for number in range(draw.randint(4, 20)):
        if entries and draw.random() < copies:
            original = draw.choice(entries[-8:])
            if original.event is not None:
                again = msgspec.structs.replace(original.event, request_id=draw.randbytes(16))
                append(original, EVENT.encode(again))
                continue
        key = draw.choice(keys)
        entry = Entry(
            number=number,
            # A key's events are all in one partition; those without a key may be anywhere.
            partition=partitions[keys.index(key) % len(partitions)],
            key=key.encode(),
            kind=draw.choice(_KINDS),
        )
        if draw.random() < 0.04:
            entry.key = None
            entry.partition = draw.choice(partitions)
        if draw.random() < 0.05:
            entry.kind = Kind.POISON
            data = draw.choice((None, b"", b"no avro", b"\xc3\x01" + bytes(12)))
        else:
            _decide(draw, entry, troubled, chaos_s)
            data = EVENT.encode(entry.event)
        lane = lanes.setdefault(entry.lane, [])
        entry.index = len(lane)
        lane.append(entry)
        entries.append(entry)
        append(entry, data)
    return entries, log


def _decide(draw: random.Random, entry: Entry, troubled: bool, chaos_s: float) -> None:
    if troubled:
        entry.fate = draw.choice(_FATES)
    entry.times = draw.choice((1, 2, 3, 9))
    entry.until_s = draw.uniform(0, chaos_s + 10)
    entry.writes_first = draw.random() < 0.5
    entry.event = Event(
        request_id=draw.randbytes(16),
        environment="",
        tenant="t",
        connection="c",
        provider="p",
        event_id=f"e{entry.number}",
        event_type=f"{entry.kind}.x",
        resource_type="r",
        # Those without a key have resources of their own.
        resource_id=entry.key.decode() if entry.key else f"n{entry.number}",
        resource_version=draw.choice((None, *[entry.number + draw.randint(-6, 2)] * 5)),
        received_at_us=0,
        payload=b"",
    )
