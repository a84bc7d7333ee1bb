"""What Hookline's consumer runs where handlers wait for something outside: async, no transaction.

`sleeping` takes 2 ms an event and notes every breach of a key's order; `troubled` notes when an
event took effect, and is stuck or fails where an event's headers say so.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from benchmarks.consumer.progress import Progress
from benchmarks.consumer.trouble import EFFECTS_FILE, NOTE, TROUBLE, TROUBLED
from hookline import Event, Handlers

SLEEP_S: Final = 0.002

sleeping = Handlers()
troubled = Handlers()

_folder: Final = Path(os.environ["BENCH_FOLDER"])
_progress: Final = Progress(os.environ["BENCH_PROGRESS"], int(os.environ["BENCH_EXPECTED"]))
_notes: Final = os.open(_folder / EFFECTS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
_running: Final[set[str]] = set()
_last: Final[dict[str, int]] = {}


@sleeping.on("hmac.order.*")
async def sleep(event: Event) -> None:
    key, number = event.resource_id, event.resource_version or 0
    if key in _running or number <= _last.get(key, -1):
        with (_folder / "breaches").open("a") as file:
            print(key, number, _last.get(key), key in _running, file=file)
    _running.add(key)
    await asyncio.sleep(SLEEP_S)
    _running.discard(key)
    _last[key] = number
    _progress.add(1)


@troubled.on("hmac.order.*")
async def note(event: Event) -> None:
    if event.resource_id == TROUBLED:
        kind, _, until_us = event.headers.get(TROUBLE, "none:0").partition(":")
        left_us = int(until_us) - time.time_ns() // 1000
        if left_us > 0 and kind == "failing":
            raise ConnectionError("the other side of this key is away")
        if left_us > 0:
            await asyncio.sleep(left_us / 1e6)
        return
    os.write(_notes, NOTE.pack(event.received_at_us, time.time_ns() // 1000))
