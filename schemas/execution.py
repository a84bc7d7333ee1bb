"""What the telemetry topic holds: how each request was taken, and how each group applied its event.

A *reception* is one HTTP request at a gateway, accepted or refused; an *execution* is one event in
one consumer group. Both carry the request id, and both travel in batches (`execution_batch`).
"""

from __future__ import annotations

from typing import Final

import msgspec

#: Steps in the order of a webhook's way. The first five are the gateway's.
STEPS: Final = (
    "read",
    "verify",
    "identify",
    "encode",
    "publish",
    "queue",
    "lane",
    "handler",
    "commit",
)
#: Attempts of an event that are kept: the first and the last ones.
MAX_ATTEMPTS: Final = 16


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of a handler that failed. `number` counts from 1."""

    number: int
    began_at_us: int
    duration_ns: int
    outcome: str
    #: The error's type; its text may quote the payload.
    error_type: str


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One event in one consumer group, from Kafka to its commit. Times as in `Event`."""

    request_id: bytes
    environment: str
    tenant: str
    connection: str
    provider: str
    event_type: str
    event_id: str
    resource_type: str
    resource_id: str
    source: str
    group: str
    #: Which process: `host:pid`.
    instance: str
    topic: str
    partition: int
    offset: int
    #: A value of `consumer.core.disposition.Outcome`.
    outcome: str
    #: What it was given up on or parked for; empty otherwise.
    reason: str = ""
    #: The provider's time; 0 where it gives none.
    occurred_at_us: int = 0
    received_at_us: int
    #: Kafka's time of the record: when the broker appended it, where the topic says so. 0: not
    #: known, as it was parked before.
    in_kafka_at_us: int
    polled_at_us: int
    committed_at_us: int
    read_ns: int = 0
    verify_ns: int = 0
    identify_ns: int = 0
    #: From the poll to its handler's (last) beginning, waits between attempts included.
    lane_ns: int = 0
    #: The last call of its handler; 0 where there was none.
    handler_ns: int = 0
    #: The transaction that holds it, all its events together.
    commit_ns: int = 0
    #: How often its handler was called and failed.
    failures: int = 0
    attempts: tuple[Attempt, ...] = ()
    #: It had been parked before.
    was_parked: bool = False
    #: Its spans are exported by the processes themselves.
    sampled: bool = False
    #: How many executions it stands for: 1, or n for one in n.
    weight: int = 1

    @property
    def queue_ns(self) -> int:
        """Waiting in Kafka, by the clocks of the broker and the consumer; 0 if not known."""
        return max(0, self.polled_at_us - self.in_kafka_at_us) * 1000 if self.in_kafka_at_us else 0

    @property
    def end_to_end_ns(self) -> int:
        """From the gateway's reading it to its commit."""
        return max(0, self.committed_at_us - self.received_at_us) * 1000


class Reception(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request at a gateway."""

    request_id: bytes
    environment: str
    #: Empty where it is of no known connection: nothing that a sender chooses is kept.
    connection: str
    tenant: str = ""
    provider: str = ""
    #: Which process: `host:pid`.
    instance: str
    #: `accepted`, `quarantined`, `handshake`, or why it was refused.
    outcome: str
    status: int
    received_at_us: int
    read_ns: int = 0
    verify_ns: int = 0
    identify_ns: int = 0
    encode_ns: int = 0
    publish_ns: int = 0
    #: From its first byte to its answer.
    total_ns: int = 0
    #: The events that it held, and where Kafka holds the last; -1: the spool, or none.
    events: int = 0
    partition: int = -1
    offset: int = -1
    sampled: bool = False
    weight: int = 1

    @property
    def refused(self) -> bool:
        """Whether the sender was told to change something or to come again."""
        return self.status >= 400
