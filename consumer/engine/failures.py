"""What to do about an event whose attempt failed: when to try again, or that it is given up."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec

from consumer.core.backoff import Backoff
from consumer.core.disposition import Action, Outcome, Policy, dispose
from consumer.engine.engine_metrics import EngineMetrics
from consumer.engine.record import Record, monotonic_ns
from schemas.codec import EVENT
from schemas.dead_letter import DeadLetter
from schemas.errors import CodecError, PermanentError, RetryLater
from schemas.execution import Attempt

log = logging.getLogger("hookline.consumer")

_LONGEST_S: Final = 86_400.0
#: A parked event is tried so often as its key's first before it is given up for its age.
_TRIES_PARKED: Final = 5


class Decision(msgspec.Struct, frozen=True):
    """What is done about a failure; `delay_s` for RETRY. The record is marked for the others."""

    action: Action
    delay_s: float = 0.0


class Failures:
    """The disposition table applied to records; `draw` is uniform in [0, 1).

    `clock` is monotonic, `wall_s` Unix time, both in seconds.
    """

    def __init__(
        self,
        *,
        group: str,
        backoff: Backoff,
        policy: Policy,
        give_up_after_s: float,
        metrics: EngineMetrics,
        draw: Callable[[], float],
        clock: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        self._group = group
        self._backoff = backoff
        self._policy = policy
        self._give_up_after_s = give_up_after_s
        self._metrics = metrics
        self._draw = draw
        self._clock = clock
        self._wall_s = wall_s

    def decide(
        self, record: Record, error: Exception, *, room: bool, pressed: bool = False
    ) -> Decision:
        """The decision for a failed attempt.

        `room`: whether its key may be parked now; `pressed`: whether memory is needed for others.
        """
        now = self._clock()
        record.attempts += 1
        if record.attempts == 1 or record.first_failure_s == 0.0:
            record.first_failure_s = now
        delay_s = self._delay_s(record, error)
        spent = self._backoff.exhausted(record.first_failure_s, now)
        if self._policy is Policy.PARK and room:
            # Parked, it takes no memory: when that is needed, or for a wait beyond the budget.
            beyond = self._backoff.exhausted(record.first_failure_s, now + delay_s)
            spent = spent or pressed or beyond
        outcome = self._outcome(record, error, spent, room)
        action = dispose(outcome, self._policy)
        _log_failure(record, error, outcome, action)
        _forget_frames(error)
        if record.problem is None:
            record.note_failure(self._attempt(record, error, outcome))
        if action is Action.DEAD_LETTER:
            record.letter = self._letter(record, error, outcome)
            return Decision(action)
        self._metrics.retried(outcome)
        if action is Action.PARK:
            record.park_reason = "exhausted"
            return Decision(action)
        return Decision(action, delay_s)

    def _delay_s(self, record: Record, error: Exception) -> float:
        delay_s = self._backoff.delay_s(record.attempts, self._draw())
        if isinstance(error, RetryLater) and error.after_s is not None:
            # Whatever a handler makes of a header: milliseconds, infinity, no number at all.
            wanted_s = error.after_s
            if wanted_s > delay_s:
                delay_s = min(wanted_s, _LONGEST_S)
        return delay_s

    def _outcome(self, record: Record, error: Exception, spent: bool, room: bool) -> Outcome:
        outcome = classify(error)
        if outcome is not Outcome.TRANSIENT:
            return outcome
        if record.parked_at_ms:
            parked_s = self._wall_s() - record.parked_at_ms / 1000
            # Its time began when it was parked, perhaps far behind; it gets its tries all the same.
            over = 0 < self._give_up_after_s <= parked_s and record.attempts >= _TRIES_PARKED
            return Outcome.PARKED_EXHAUSTED if over else Outcome.PARKED_TRANSIENT
        if spent:
            if self._policy is Policy.PARK and not room:
                return Outcome.NO_ROOM
            return Outcome.EXHAUSTED
        return outcome

    def _attempt(self, record: Record, error: Exception, outcome: Outcome) -> Attempt:
        """The call that has just failed; 0 ns where it was none, but the store that refused."""
        duration_ns = max(0, record.handled_ns - record.started_ns) if record.started_ns else 0
        ago_ns = monotonic_ns() - record.started_ns if record.started_ns else 0
        return Attempt(
            number=record.attempts,
            began_at_us=int(self._wall_s() * 1e6) - ago_ns // 1000,
            duration_ns=duration_ns,
            outcome=outcome.value,
            error_type=type(error).__qualname__,
        )

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
            died_at_us=int(self._wall_s() * 1e6),
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            key=record.key,
            # The envelope, not the payload: a redrive needs all of it.
            value=record.value if event is None else EVENT.encode(event),
            headers=event.headers if event else {},
        )


def classify(error: Exception) -> Outcome:
    """Whether an error of a handler can pass by itself."""
    if isinstance(error, CodecError):
        return Outcome.POISON
    return Outcome.PERMANENT if isinstance(error, PermanentError) else Outcome.TRANSIENT


def _log_failure(record: Record, error: Exception, outcome: Outcome, action: Action) -> None:
    handler = record.handler.name if record.handler else None
    data: dict[str, Any] = {
        "request_id": record.event.request_id.hex() if record.event else None,
        "handler": handler,
        "partition": str(record.partition),
        "offset": record.offset,
        "attempts": record.attempts,
        "outcome": outcome.value,
        "action": action.value,
        "error": type(error).__qualname__,
    }
    # An error's message may quote the payload or a secret: its type and place say enough.
    if handler and record.attempts == 1:
        data["at"] = _places(error)
    # The first failure with its place, each change of course, then one line in ten attempts.
    worth = record.attempts == 1 or action is not Action.RETRY or record.attempts % 10 == 0
    if worth:
        log.warning(
            "a handler failed" if handler else "an event could not be handled",
            extra={"data": data},
        )


def _places(error: BaseException) -> list[str]:
    """The last frames of an error and of what it came from, without any message."""
    places: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)[-3:]
        places += [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        places.append(type(current).__qualname__)
        current = current.__cause__ or current.__context__
    return places


def _forget_frames(error: BaseException) -> None:
    """Let go of an error's frames: they hold the event, in a cycle that is collected late."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        current.__traceback__ = None
        current = current.__cause__ or current.__context__
