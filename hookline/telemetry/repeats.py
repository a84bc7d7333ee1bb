"""What librdkafka says again and again is said now and then, with how often it was not.

While a broker is away each of its clients says so 20 times a second.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 30.0
#: Different lines that are remembered; of more, the one that came longest ago is forgotten.
MAX_LINES: Final = 256
#: Of clients, addresses, milliseconds: what differs between two lines that say the same.
_NUMBERS: Final = re.compile(r"\d+")


class Repeats(logging.Filter):
    """For one logger."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._lock = threading.Lock()
        #: When each was said, and how often it was not since then.
        self._said: dict[tuple[int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to say it; it then says how many were like it."""
        now_s = self._clock_s()
        text = record.getMessage()
        line = (record.levelno, _NUMBERS.sub("#", text))
        with self._lock:
            said_s, unsaid = self._said.pop(line, (-math.inf, 0))
            if now_s - said_s < PERIOD_S:
                self._said[line] = (said_s, unsaid + 1)
                return False
            self._said[line] = (now_s, 0)
            if len(self._said) > MAX_LINES:
                del self._said[next(iter(self._said))]
        if unsaid:
            record.msg = f"{text} (and {unsaid} times in the {now_s - said_s:.0f} s before)"
            record.args = ()
        return True
