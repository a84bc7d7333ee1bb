"""What the other threads say to the dispatcher, and the bounds that it keeps."""

from __future__ import annotations

import threading

import msgspec

from consumer.core.backoff import Backoff
from consumer.engine.apply_runs import RecordRun
from consumer.engine.group_commit import BatchResult
from consumer.engine.record import Message
from consumer.stores.contract import Claim, Partition


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one consumer."""

    concurrency: int = 256
    threads: int = 16
    max_buffered_events: int = 10_000
    max_buffered_bytes: int = 64 * 1024 * 1024
    max_batch_events: int = 2_000
    drain_deadline_s: float = 20.0
    #: An async handler without a transaction that takes longer has failed (it may pass).
    handler_timeout_s: float = 60.0
    #: Nothing done for so long though something could be: not alive any more.
    stall_after_s: float = 120.0


class ParkingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be parked, per partition, and how it is tried again."""

    max_keys: int = 10_000
    max_events: int = 1_000_000
    backoff: Backoff = Backoff(initial_s=15.0, max_s=900.0)
    #: An event parked for longer becomes a dead letter; 0: never.
    give_up_after_s: float = 7 * 86_400.0
    #: How often the store is asked for what operators have changed.
    scan_every_s: float = 2.0


class Polled(msgspec.Struct, frozen=True):
    """Messages, in the order of the log within each partition."""

    messages: list[Message]
    polled_ns: int
    now_ms: float


class Assigned(msgspec.Struct, frozen=True):
    """Partitions that are ours from now on; sent before any of their messages."""

    claims: list[Claim]


class Released(msgspec.Struct, frozen=True, eq=False):
    """Partitions to give up. With `drained`, finish what runs first and then set it."""

    partitions: list[Partition]
    drained: threading.Event | None = None


class ExternalDone(msgspec.Struct, frozen=True, eq=False):
    """An external handler has ended."""

    run: RecordRun
    error: Exception | None


class Stop(msgspec.Struct, frozen=True):
    """End the thread; the partitions were released before."""


Command = Polled | Assigned | Released | ExternalDone | BatchResult | Stop
