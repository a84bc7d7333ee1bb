"""One record in flight to Kafka, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError

Headers = list[tuple[str, str | bytes | None]]
#: Topic, key, value, headers.
Record = tuple[str, bytes, bytes, Headers]


class Acknowledged(NamedTuple):
    """Where the log holds the event."""

    partition: int
    offset: int


#: In place of it, where the event is safe in the spool.
SPOOLED: Final = Acknowledged(-1, -1)


class Pending:
    """One event in flight. librdkafka calls it with the delivery report, inside poll.

    `number` is the spool's, 0 while the event is in flight only.
    """

    __slots__ = (
        *("error", "future", "number", "offset", "partition", "record", "reported", "sent_s"),
        "size_bytes",
    )

    def __init__(
        self,
        future: asyncio.Future[Acknowledged],
        record: Record,
        size_bytes: int,
        sent_s: float,
        reported: list[Pending],
        number: int = 0,
    ) -> None:
        self.future = future
        self.record = record
        self.size_bytes = size_bytes
        self.sent_s = sent_s
        self.reported = reported
        self.number = number
        self.error: KafkaError | None = None
        self.partition = -1
        self.offset = -1

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self.partition, self.offset = message.partition(), message.offset()
        else:
            self.error = error
        self.reported.append(self)

    @property
    def settled(self) -> bool:
        """Whether its delivery report has come."""
        return self.partition >= 0 or self.error is not None
