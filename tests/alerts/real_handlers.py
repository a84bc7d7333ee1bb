"""Handlers that do as a file says: `fail`, `permanent`, `slow`, or nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hookline import Event, Handlers, PermanentError

handlers = Handlers()
_MOOD = Path(os.environ["HANDLERS_MOOD"])


@handlers.on("*")
async def apply(event: Event) -> None:
    mood = _mood()
    if mood == "fail":
        raise ConnectionError("it is down")
    if mood == "permanent":
        raise PermanentError("never")
    if mood == "slow":
        await asyncio.sleep(6)


def _mood() -> str:
    return _MOOD.read_text()
