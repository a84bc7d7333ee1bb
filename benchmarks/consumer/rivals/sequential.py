"""One at a time per partition: a task for each, which waits for a handler before the next event.

What most consumers are. It has no dedupe and no retries; offsets are committed every second. Each
task has a client of its own, so that none waits for the queue of another.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from envelope import decoder
from progress import Progress

_SLEEP_S: Final = 0.002
_PARTITIONS: Final = 4


async def handle(partition: int, progress: Progress) -> None:
    """The events of one partition."""
    decode = decoder()
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "group.id": os.environ["BENCH_GROUP"],
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1_000,
            "fetch.queue.backoff.ms": 20,
        }
    )
    consumer.assign([TopicPartition(os.environ["BENCH_TOPIC"], partition, OFFSET_BEGINNING)])
    while True:
        messages = consumer.consume(500, 0)
        if not messages:
            await asyncio.sleep(_SLEEP_S)
        for message in messages:
            decode(message.value())
            await asyncio.sleep(_SLEEP_S)
            consumer.store_offsets(message)
            progress.add(1)


async def main() -> None:
    """Until it is killed."""
    progress = Progress(os.environ["BENCH_PROGRESS"], int(os.environ["BENCH_EXPECTED"]))
    await asyncio.gather(*(handle(number, progress) for number in range(_PARTITIONS)))


if __name__ == "__main__":
    asyncio.run(main())
