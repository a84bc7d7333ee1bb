"""What Hookline's consumer runs in the benchmark: one row an effect, in the consumer's transaction.

Nothing in the table would hide a second effect of an event.
"""

from __future__ import annotations

import os

from benchmarks.consumer.progress import Progress
from hookline import Event, Handlers, Transaction

_INSERT_SQLITE = "INSERT INTO effects (event_id, resource_key) VALUES (?, ?)"
_INSERT_POSTGRES = (
    "INSERT INTO effects (event_id, resource_key) SELECT * FROM unnest(%s::text[], %s::text[])"
)
_INSERT_ONE_POSTGRES = "INSERT INTO effects (event_id, resource_key) VALUES (%s, %s)"

sqlite_batch = Handlers()
sqlite_single = Handlers()
postgres_batch = Handlers()
postgres_single = Handlers()

progress = Progress(os.environ["BENCH_PROGRESS"], int(os.environ["BENCH_EXPECTED"]))


@sqlite_batch.batch("hmac.order.*", max_size=2_000)
def insert_sqlite(events: list[Event], tx: Transaction) -> None:
    tx.executemany(_INSERT_SQLITE, [(event.event_id, event.resource_key) for event in events])
    progress.add(len(events))


@sqlite_single.on("hmac.order.*")
def insert_one_sqlite(event: Event, tx: Transaction) -> None:
    tx.execute(_INSERT_SQLITE, (event.event_id, event.resource_key))
    progress.add(1)


@postgres_batch.batch("hmac.order.*", max_size=2_000)
def insert_postgres(events: list[Event], tx: Transaction) -> None:
    tx.execute(
        _INSERT_POSTGRES,
        ([event.event_id for event in events], [event.resource_key for event in events]),
    )
    progress.add(len(events))


@postgres_single.on("hmac.order.*")
def insert_one_postgres(event: Event, tx: Transaction) -> None:
    tx.execute(_INSERT_ONE_POSTGRES, (event.event_id, event.resource_key))
    progress.add(1)
