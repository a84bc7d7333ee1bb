"""Hookline with a promise broken on purpose, to see that the checker notices.

`python -m tests.chaos.sabotage dedupe consumer --config …` runs the command with the note that an
event is done taken out; `ack gateway` answers before Kafka has the event.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from consumer.stores.sqlite_commit import SqliteCommit
from hookline.command import main
from producer.publish.publisher import Acknowledged, KafkaPublisher


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


SABOTAGES: dict[str, tuple[str, Callable[[], None]]] = {
    "dedupe": ("consumer", no_dedupe),
    "ack": ("gateway", early_answer),
}

if __name__ == "__main__":
    SABOTAGES[sys.argv[1]][1]()
    main(sys.argv[2:])
