"""What the publisher asks of the spool's side, and which refusals waiting does not mend."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from confluent_kafka import KafkaError

from producer.publish.pending import Acknowledged, Pending, Record

#: The reason is in the record itself. (A batch that is too large as a whole is refused so, too.)
PERMANENT: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError._INVALID_ARG,
    }
)


class Fallback(Protocol):
    """Where events go while Kafka does not take them. All calls come on the event loop."""

    def take_over(self, pending: list[Pending]) -> None:
        """Kafka does not take events: these are yours now, in this order, and all new ones.

        Give each a number. One that is not `settled` is still in flight, and `reported` later.
        """

    def keep(
        self, record: Record, future: asyncio.Future[Acknowledged]
    ) -> asyncio.Future[Acknowledged]:
        """Take one that Kafka refused at once, for a reason that waiting mends."""

    def reported(self, pending: Pending) -> None:
        """The delivery report of one with a number has come."""

    def available(self) -> None:
        """Kafka may take events again: try."""
