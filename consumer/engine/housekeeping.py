"""A thread for what is done now and then: expiry, the outbox, a look at the handlers' loop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from schemas.errors import StoreError

log = logging.getLogger("hookline.consumer")

_BREATH_S: Final = 0.05


class Chore(msgspec.Struct, frozen=True):
    """Something to do every so often; `run` says whether there may be more to do at once."""

    name: str
    every_s: float
    run: Callable[[], bool]


class Housekeeping:
    """Runs chores in turn from `start` to `stop`; one that fails is tried again at its time."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hookline-chores", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it after the chore in hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(15.0)

    def _run(self) -> None:
        due = {chore.name: time.monotonic() for chore in self._chores}
        failing: set[str] = set()
        while not self._stopping.is_set():
            for chore in self._chores:
                if due[chore.name] > time.monotonic() or self._stopping.is_set():
                    continue
                more = self._do(chore, failing)
                due[chore.name] = time.monotonic() + (_BREATH_S if more else chore.every_s)
            self._stopping.wait(max(_BREATH_S, min(due.values()) - time.monotonic()))

    def _do(self, chore: Chore, failing: set[str]) -> bool:
        try:
            more = chore.run()
        # The chore's top: none of them may end the thread. Events do not depend on them.
        except Exception as error:
            if chore.name not in failing:
                failing.add(chore.name)
                log.warning(
                    "a chore failed; it is tried again",
                    extra={"data": {"chore": chore.name, "detail": str(error)}},
                    exc_info=None if isinstance(error, StoreError) else error,
                )
            return False
        failing.discard(chore.name)
        return more
