"""Handlers of the consumers' chaos: one effect an event, with failures of every passing kind.

Which events fail, and how often, is told by their ids, so a run can be repeated; that they do
not fail for ever is told by the clock of the process.
"""

from __future__ import annotations

import os
import random
import time
from hashlib import blake2b

from hookline import Event, Handlers, RetryLater, Transaction

handlers = Handlers()

_STORE = os.environ.get("CHAOS_STORE", "sqlite")
_FAILING = float(os.environ.get("CHAOS_FAILING", "0.01"))
_PARKING = float(os.environ.get("CHAOS_PARKING", "0.0005"))
_LASTS_S = 4.0
_INSERT = {
    "sqlite": "INSERT INTO effects (event_id, resource_key, at_ms) VALUES (?, ?, ?)",
    "postgres": "INSERT INTO effects (event_id, resource_key, at_ms) VALUES (%s, %s, %s)",
}
_first_seen_s: dict[str, float] = {}


@handlers.on("*")
def apply(event: Event, tx: Transaction) -> None:
    now_ms = time.time_ns() // 1_000_000
    if _STORE == "redis":
        tx.execute("RPUSH", ("effects", f"{event.event_id} {event.resource_key} {now_ms}"))
    else:
        tx.execute(_INSERT[_STORE], (event.event_id, event.resource_key, now_ms))
    share = int.from_bytes(blake2b(event.event_id.encode(), digest_size=4).digest()) / 2**32
    if share < _PARKING:
        # Longer than the retry budget: its key is parked, and comes back.
        first_s = _first_seen_s.setdefault(event.event_id, time.monotonic())
        if time.monotonic() - first_s < _LASTS_S:
            raise ConnectionError("for a while")
    elif random.random() < _FAILING:
        raise random.choice([ConnectionError, TimeoutError, ValueError, RetryLater])("once")
