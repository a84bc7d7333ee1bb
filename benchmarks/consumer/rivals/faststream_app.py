"""FastStream: event ids and effects in PostgreSQL, a transaction a batch, acknowledged after it.

`FASTSTREAM_BATCH` is how many messages a batch may have; 0 commits each message on its own.
FastStream has no dedupe, so this is what its users write: a table of ids, and the effects of those
that were not in it, in one transaction. It is given no validation of types and no logging.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

import psycopg
from envelope import decoder
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaMessage
from progress import Progress

_BATCH: Final = int(os.environ["FASTSTREAM_BATCH"])
_TABLE: Final = "CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY)"
_SEEN: Final = (
    "INSERT INTO seen SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING RETURNING event_id"
)
_INSERT: Final = (
    "INSERT INTO effects (event_id, resource_key) SELECT * FROM unnest(%s::text[], %s::text[])"
)

decode = decoder()
broker = KafkaBroker(
    os.environ["BENCH_KAFKA"],
    apply_types=False,
    logger=None,
    config={"fetch.queue.backoff.ms": 20},
)
progress = Progress(os.environ["BENCH_PROGRESS"], int(os.environ["BENCH_EXPECTED"]))
#: Opened before the broker starts.
connections: list[psycopg.AsyncConnection] = []


def decoded_batch(message: KafkaMessage) -> list[tuple[dict[str, Any], bytes]]:
    """The events of a batch, each with its key."""
    return [(decode(raw.value()), raw.key()) for raw in message.raw_message]


def decoded_one(message: KafkaMessage) -> list[tuple[dict[str, Any], bytes]]:
    """The event of a message with its key, as a batch of one."""
    return [(decode(message.raw_message.value()), message.raw_message.key())]


async def apply(events: list[tuple[dict[str, Any], bytes]]) -> None:
    """The effects of the events that are new, and their ids, in one transaction."""
    keys: dict[str, str] = {}
    for event, key in events:
        keys.setdefault(event["event_id"], key.decode())
    (connection,) = connections
    async with connection.transaction():
        cursor = await connection.execute(_SEEN, (list(keys),), prepare=True)
        new = [row[0] for row in await cursor.fetchall()]
        if new:
            await connection.execute(_INSERT, (new, [keys[i] for i in new]), prepare=True)
    if new:
        progress.add(len(new))


#: What both kinds of subscriber have.
_COMMON: Final = {
    "group_id": os.environ["BENCH_GROUP"],
    "auto_offset_reset": "earliest",
    "ack_policy": AckPolicy.NACK_ON_ERROR,
}
if _BATCH:
    broker.subscriber(
        os.environ["BENCH_TOPIC"], batch=True, max_records=_BATCH, decoder=decoded_batch, **_COMMON
    )(apply)
else:
    broker.subscriber(os.environ["BENCH_TOPIC"], decoder=decoded_one, **_COMMON)(apply)


async def main() -> None:
    """Until a signal ends it."""
    connection = await psycopg.AsyncConnection.connect(os.environ["BENCH_STORE"], autocommit=True)
    await connection.execute(_TABLE)
    connections.append(connection)
    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
