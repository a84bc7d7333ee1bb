"""What to do about an event whose attempt failed: when to try again, or that it is given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from consumer.core.backoff import Backoff
from consumer.core.disposition import Action, Outcome, Policy, dispose
from consumer.engine.engine_metrics import EngineMetrics
from consumer.engine.group_commit import classify
from consumer.engine.record import Record
from schemas.codec import EVENT
from schemas.dead_letter import DeadLetter
from schemas.errors import CodecError, RetryLater

log = logging.getLogger("hookline.consumer")


class Failures:
    """The disposition table applied to records; `draw` is uniform in [0, 1)."""

    def __init__(
        self,
        *,
        group: str,
        backoff: Backoff,
        policy: Policy,
        metrics: EngineMetrics,
        draw: Callable[[], float],
    ) -> None:
        self._group = group
        self._backoff = backoff
        self._policy = policy
        self._metrics = metrics
        self._draw = draw

    def decide(self, record: Record, error: Exception) -> float | None:
        """When to try again (monotonic s); None if it is given up, and then `letter` is set."""
        now = time.monotonic()
        record.attempts += 1
        if record.attempts == 1:
            record.first_failure_s = now
        outcome = classify(error)
        if outcome is Outcome.TRANSIENT and self._backoff.exhausted(record.first_failure_s, now):
            outcome = Outcome.EXHAUSTED
        action = dispose(outcome, self._policy)
        _log_failure(record, error, outcome, action)
        if action is Action.DEAD_LETTER:
            record.letter = self._letter(record, error, outcome)
            return None
        self._metrics.retried(outcome)
        delay_s = self._backoff.delay_s(record.attempts, self._draw())
        if isinstance(error, RetryLater) and error.after_s is not None:
            delay_s = max(delay_s, error.after_s)
        return now + delay_s

    def _letter(self, record: Record, error: Exception, outcome: Outcome) -> DeadLetter:
        event = record.event
        reason = error.reason if isinstance(error, CodecError) else outcome.value
        return DeadLetter(
            stage="CONSUMER",
            reason=reason,
            # An error of ours says what happened; a handler's may quote the payload.
            detail=str(error) if isinstance(error, CodecError) else type(error).__qualname__,
            request_id=event.request_id if event else None,
            connection=event.connection if event else "",
            group=self._group,
            attempts=record.attempts,
            died_at_us=int(time.time() * 1e6),
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            key=record.key,
            # The envelope, not the payload: a redrive needs all of it.
            value=record.value if event is None else EVENT.encode(event),
            headers=event.headers if event else {},
        )


def _log_failure(record: Record, error: Exception, outcome: Outcome, action: Action) -> None:
    handler = record.handler.name if record.handler else None
    data = {
        "request_id": record.event.request_id.hex() if record.event else None,
        "handler": handler,
        "partition": str(record.partition),
        "offset": record.offset,
        "attempts": record.attempts,
        "outcome": outcome.value,
        "action": action.value,
        "error": type(error).__qualname__,
    }
    # The first failure with its traceback, the budget's end, then one line in ten attempts.
    worth = record.attempts == 1 or action is Action.DEAD_LETTER or record.attempts % 10 == 0
    if worth:
        log.warning(
            "a handler failed",
            extra={"data": data},
            exc_info=error if record.attempts == 1 and handler else None,
        )
