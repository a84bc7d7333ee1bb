"""Hookline with a promise broken on purpose, to see that the checker notices.

`python -m tests.chaos.sabotage dedupe consumer --config …` runs the command with the note that an
event is done taken out; `ack gateway` answers before Kafka has the event; `order gateway` drains
its spool in the wrong order.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from consumer.stores.sqlite_commit import SqliteCommit
from hookline.command import main
from producer.publish.pending import Pending
from producer.publish.publisher import Acknowledged, KafkaPublisher
from producer.publish.spooling_sink import SpoolingSink


def no_dedupe() -> None:
    """Take the dedupe insert out of the SQLite store."""
    SqliteCommit.remember = lambda *_: None  # type: ignore[method-assign]


def early_answer() -> None:
    """Answer without waiting for the delivery report."""
    publish = KafkaPublisher.publish

    def at_once(self: KafkaPublisher, *arguments: Any) -> asyncio.Future[Acknowledged]:
        publish(self, *arguments)
        answered: asyncio.Future[Acknowledged] = asyncio.get_running_loop().create_future()
        answered.set_result(Acknowledged(0, 0))
        return answered

    KafkaPublisher.publish = at_once  # type: ignore[method-assign]


def overtake() -> None:
    """Take one delivery for failed that was not, while later ones of its resource are under way."""
    reported = SpoolingSink.reported
    done: list[int] = []

    def wrongly(self: SpoolingSink, pending: Pending) -> None:
        sent = self._drain._sent
        entry = sent.get(pending.number)
        if not done and pending.error is None and entry is not None:
            key = entry.row.key
            later = [n for n, one in sent.items() if n > pending.number and one.row.key == key]
            # Not the two that chance may bring at a start: they come before anybody looks.
            if len(later) >= 3:
                done.append(pending.number)
                pending.error = KafkaError(KafkaError._MSG_TIMED_OUT)
        reported(self, pending)

    SpoolingSink.reported = wrongly  # type: ignore[method-assign]


SABOTAGES: dict[str, tuple[str, Callable[[], None]]] = {
    "dedupe": ("consumer", no_dedupe),
    "ack": ("gateway", early_answer),
    "order": ("gateway", overtake),
}

if __name__ == "__main__":
    SABOTAGES[sys.argv[1]][1]()
    main(sys.argv[2:])
