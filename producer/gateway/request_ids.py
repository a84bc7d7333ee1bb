"""Fresh request ids; randomness is fetched from the system for many at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from schemas import request_id as request_ids

_REFILL_BYTES: Final = 4096


class RequestIds:
    """Makes request ids, and the traceparents of requests without spans."""

    def __init__(
        self,
        unix_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._unix_ms = unix_ms
        self._random_bytes = random_bytes
        self._random = b""
        self._at = 0

    def make(self) -> bytes:
        """A request id for now."""
        return request_ids.make(self._unix_ms(), self._take(request_ids.RANDOM_BYTES))

    def unsampled_traceparent(self, request_id: str) -> str:
        """The traceparent of a request without spans: its trace id is still the request id."""
        # The span id is `send_span_id` of it.
        return f"00-{request_id}-{request_id[16:]}-00"

    def _take(self, size: int) -> bytes:
        at = self._at
        if at + size > len(self._random):
            self._random, at = self._random_bytes(_REFILL_BYTES), 0
        self._at = at + size
        return self._random[at : self._at]
