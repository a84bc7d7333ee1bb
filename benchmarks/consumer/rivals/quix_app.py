"""Quix Streams: event ids in its RocksDB state, effects in a sink, as its own docs build it.

`QUIX_MODE` is `exactly-once` (changelog topics, Kafka transactions, effects written to PostgreSQL
by a batching sink at each checkpoint) or `local` (no changelog, at least once, effects only
counted). Its state has no part in the sink's transaction: a crash between the two repeats effects.
"""

from __future__ import annotations

import os
from typing import Any, Final

import psycopg
from envelope import decoder
from progress import Progress
from quixstreams import Application, State
from quixstreams.models import Deserializer, SerializationContext
from quixstreams.sinks import BatchingSink, SinkBatch

_INSERT: Final = (
    "INSERT INTO effects (event_id, resource_key) SELECT * FROM unnest(%s::text[], %s::text[])"
)


class EnvelopeDeserializer(Deserializer):
    """Avro's single-object encoding."""

    def __init__(self) -> None:
        super().__init__()
        self._decode = decoder()

    def __call__(self, value: bytes, ctx: SerializationContext) -> dict[str, Any]:
        return self._decode(value)


class EffectsSink(BatchingSink):
    """One row an effect: all of a checkpoint in one transaction."""

    def __init__(self, url: str, progress: Progress) -> None:
        super().__init__()
        self._url = url
        self._progress = progress
        self._connection: psycopg.Connection

    def setup(self) -> None:
        self._connection = psycopg.connect(self._url)

    def write(self, batch: SinkBatch) -> None:
        ids, keys = [], []
        for item in batch:
            ids.append(item.value["event_id"])
            keys.append(item.key.decode())
        self._connection.execute(_INSERT, (ids, keys))

    def flush(self) -> None:
        effects = sum(batch.size for batch in self._batches.values())
        super().flush()
        self._connection.commit()
        if effects:
            self._progress.add(effects)


def is_new(event: dict[str, Any], state: State) -> bool:
    """Whether an event of this id has not been seen; it has then."""
    event_id = event["event_id"]
    if state.exists(event_id):
        return False
    state.set(event_id, 1)
    return True


def main() -> None:
    """Until a signal ends it."""
    exactly_once = os.environ["QUIX_MODE"] == "exactly-once"
    progress = Progress(os.environ["BENCH_PROGRESS"], int(os.environ["BENCH_EXPECTED"]))
    app = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        state_dir=os.environ["BENCH_FOLDER"] + "/state",
        processing_guarantee="exactly-once" if exactly_once else "at-least-once",
        use_changelog_topics=exactly_once,
        # As fast as any tried (docs/benchmarks.md), in the least memory. The interval only bounds
        # how long the last, smaller checkpoint is waited for.
        commit_interval=0.25,
        commit_every=2_000,
        consumer_extra_config={"fetch.queue.backoff.ms": 20},
        loglevel="WARNING",
    )
    topic = app.topic(
        os.environ["BENCH_TOPIC"],
        key_deserializer="bytes",
        value_deserializer=EnvelopeDeserializer(),
    )
    events = app.dataframe(topic).filter(is_new, stateful=True)
    if exactly_once:
        events.sink(EffectsSink(os.environ["BENCH_STORE"], progress))
    else:
        events.update(lambda _: progress.add(1))
    app.run()


if __name__ == "__main__":
    main()
