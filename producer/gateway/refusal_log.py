"""One INFO line per refused request, but bounded: a flood of forgeries must not fill a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

LINES_A_SECOND: Final = 20


class RefusalLog:
    """Writes up to 20 lines a second, then says how many it left out."""

    def __init__(self, log: logging.Logger, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock_s = clock_s
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def refused(self, request_id: str, data: dict[str, Any]) -> None:
        """Log a refusal; `data` holds nothing that the sender sent."""
        second = int(self._clock_s())
        if second != self._second:
            self._second, self._lines = second, 0
            if self._left_out:
                self._log.info("refused, not shown", extra={"data": {"count": self._left_out}})
                self._left_out = 0
        self._lines += 1
        if self._lines > LINES_A_SECOND:
            self._left_out += 1
            return
        self._log.info("refused", extra={"request_id": request_id, "data": data})
