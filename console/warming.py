"""Asks what the overview asks before somebody waits for it: at the start, and then again before
each answer is too old, while somebody has looked at a page lately."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from console.pages.overview import questions_of
from console.pages.ranges import RANGES
from consumer.monitor.contract import Questions, Range
from schemas.errors import HooklineError

log = logging.getLogger("hookline.console")

EVERY_S: Final = 45.0
#: Nobody has looked for so long: what is asked then is asked for nobody.
LATELY_US: Final = 900_000_000
_US: Final = 1_000_000
#: Shorter ranges are worked out faster than anybody notices.
_LEAST_S: Final = 21_600


class Warmer:
    """A thread of its own from `start` to `stop`."""

    def __init__(
        self,
        questions: Questions,
        environment: str,
        now_us: Callable[[], int],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._questions = questions
        self._environment = environment
        self._now_us = now_us
        self._every_s = every_s
        self._looked_us = now_us()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hookline-warmer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, within_s: float = 2.0) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(within_s)

    def looked(self) -> None:
        """Somebody has asked for a page."""
        self._looked_us = self._now_us()

    def warm(self) -> None:
        """Ask once; what is known already costs nothing."""
        now_us = self._now_us()
        self._questions.health(self._environment, now_us)
        for _, _, length_s in RANGES:
            if length_s >= _LEAST_S:
                wanted = Range(now_us - length_s * _US, now_us)
                questions_of(self._questions, self._environment, wanted)

    def _run(self) -> None:
        while True:
            if self._now_us() - self._looked_us < LATELY_US:
                try:
                    self.warm()
                except HooklineError as error:
                    # Whoever opens a page is told.
                    log.debug("nothing is warm", extra={"data": {"why": str(error)}})
                # The thread's top: pages are only slower without it.
                except Exception:
                    log.exception("what pages ask could not be asked before; going on")
            if self._stopping.wait(self._every_s):
                return
