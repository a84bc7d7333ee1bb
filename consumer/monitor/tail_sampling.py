"""Which events have their whole trace made afterwards, and the joining of their two rows.

A request's row comes from the gateway and its events' rows from consumers, in no order and in
messages of their own. So a remarkable event waits until its request's row is surely in the store,
and asks for it once; without it, its trace is made of its own row alone. Best effort by design: a
monitor that is killed loses the traces that waited, never a webhook.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from consumer.monitor.contract import Questions
from consumer.monitor.tail_spans import (
    SpanData,
    consumer_spans,
    gateway_spans,
    is_remarkable,
    is_remarkable_request,
    request_spans,
)
from schemas.errors import StoreError
from schemas.execution import Execution, Reception

#: A gateway writes its rows within a second, and the monitor reads on all the time.
WAIT_S: Final = 3.0
#: Rows, of about 1 KB each.
MAX_WAITING: Final = 5_000
#: Requests whose gateway spans were made: two groups, or two tries, make them once.
MAX_MADE: Final = 50_000
#: In one call of `run`.
_AT_ONCE: Final = 200


class TailCounts(msgspec.Struct):
    """What has become of remarkable rows since the start."""

    #: Joined with their request.
    rows: int = 0
    spans: int = 0
    #: More in a second than `max_per_s`, or more waiting than `MAX_WAITING`.
    dropped: int = 0
    #: Their gateway's spans were made of the event's row alone.
    approximate: int = 0


class _Waiting(NamedTuple):
    due_s: float
    row: Execution | Reception


class TailSampler:
    """A follower of the monitor: `follow` takes notes, and `run`, as a chore, makes the traces.

    `export` takes finished spans; `topic` is the events topic. What is sampled already, its
    processes have exported themselves.
    """

    name = "tail sampling"

    def __init__(
        self,
        export: Callable[[Sequence[SpanData]], None],
        store: Questions,
        *,
        topic: str,
        slow_ns: int,
        max_per_s: int,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._export = export
        self._store = store
        self._topic = topic
        self._slow_ns = slow_ns
        self._max_per_s = max_per_s
        self._monotonic_s = monotonic_s
        # Appended to by the monitor's thread, taken from by the chores'.
        self._waiting: deque[_Waiting] = deque()
        self._made: OrderedDict[bytes, None] = OrderedDict()
        self._tokens = float(max_per_s)
        self._filled_s = monotonic_s()
        self.counts = TailCounts()

    def follow(self, rows: Sequence[Execution | Reception]) -> None:
        """Note what is remarkable among rows that the store has now; no I/O."""
        due_s = self._monotonic_s() + WAIT_S
        for row in rows:
            # What could not be decoded may have no id, and so no trace.
            if row.sampled or not any(row.request_id):
                continue
            if isinstance(row, Execution):
                remarkable = is_remarkable(row, self._slow_ns)
            else:
                remarkable = is_remarkable_request(row, self._slow_ns)
            if remarkable:
                if len(self._waiting) < MAX_WAITING and self._may():
                    self._waiting.append(_Waiting(due_s, row))
                else:
                    self.counts.dropped += 1

    def run(self) -> bool:
        """Make the traces that are due; whether there are more. Call it about once a second.

        What the store raises comes through, and its row is tried again by the next call.
        """
        return self._make(self._monotonic_s())

    def close(self) -> None:
        """Make the traces of all that waits, if the store answers: the monitor stops."""
        with suppress(StoreError):
            while self._make(float("inf")):
                pass

    def _make(self, until_s: float) -> bool:
        spans: list[SpanData] = []
        try:
            for _ in range(_AT_ONCE):
                if not self._waiting or self._waiting[0].due_s > until_s:
                    return False
                spans += self._spans(self._waiting[0].row)
                self._waiting.popleft()
        finally:
            if spans:
                self.counts.spans += len(spans)
                self._export(spans)
        return True

    def _spans(self, row: Execution | Reception) -> list[SpanData]:
        if isinstance(row, Reception):
            self.counts.rows += 1
            return request_spans(row, self._topic) if self._first(row.request_id) else []
        spans = list(consumer_spans(row))
        if row.request_id in self._made:
            self.counts.rows += 1
            return spans
        story = self._store.request(row.environment, row.request_id)
        self._first(row.request_id)
        if story.receptions:
            self.counts.rows += 1
            request = story.receptions[0]
            # Sampled: the gateway exports, and this consumer does not.
            return spans if request.sampled else [*request_spans(request, self._topic), *spans]
        self.counts.approximate += 1
        return [*gateway_spans(row), *spans]

    def _first(self, request_id: bytes) -> bool:
        """Whether a request's spans have not been made yet; from now on they have."""
        if request_id in self._made:
            return False
        self._made[request_id] = None
        if len(self._made) > MAX_MADE:
            self._made.popitem(last=False)
        return True

    def _may(self) -> bool:
        """Whether there is room in this second: after an outage the whole backlog is slow, and
        must not drown the collector."""
        now_s = self._monotonic_s()
        gained = (now_s - self._filled_s) * self._max_per_s
        self._tokens = min(float(self._max_per_s), self._tokens + gained)
        self._filled_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
