"""The limit: take messages from Kafka and drop them."""

from __future__ import annotations

import os

from confluent_kafka import Consumer
from progress import Progress

_MESSAGES = 500


def main() -> None:
    """Until it is killed."""
    progress = Progress(os.environ["BENCH_PROGRESS"], int(os.environ["BENCH_EXPECTED"]))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "group.id": os.environ["BENCH_GROUP"],
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 20,
        }
    )
    consumer.subscribe([os.environ["BENCH_TOPIC"]])
    while True:
        if (first := consumer.poll(1.0)) is None:
            continue
        messages = [first, *consumer.consume(_MESSAGES - 1, 0)]
        progress.add(len(messages))
        if progress.complete:
            consumer.commit(messages[-1], asynchronous=False)


if __name__ == "__main__":
    main()
