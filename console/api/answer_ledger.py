"""What the topic says of requests that came with an Idempotency-Key: pure, bounded, no clock.

Every replica reads the same records in the same order, so of two that take one key at once all
agree on which was first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from schemas.api_answer import AnswerKey, AnswerPhase, ApiAnswer
from schemas.connect_codec import API_ANSWER
from schemas.errors import CodecError

#: How long an answer is given again.
KEPT_US: Final = 24 * 3_600_000_000
#: A process that has begun and not answered for so long has died: another may begin.
TAKEN_OVER_US: Final = 120_000_000
MAX_ANSWERS: Final = 50_000
MAX_BYTES: Final = 64 * 1_048_576
#: What an entry costs besides its sealed answer, roughly.
_OVERHEAD_BYTES: Final = 600


class AnswerLedger:
    """The record of each key that counts. Beyond its bounds the oldest are forgotten."""

    def __init__(
        self, environment: str, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.environment = environment
        self.next_offset = 0
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._bytes = 0
        self._found: OrderedDict[str, ApiAnswer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take a record of the topic; what is none of ours is passed over."""
        self.next_offset = max(self.next_offset, offset + 1)
        parsed = AnswerKey.decode(key)
        if parsed is None or parsed.environment != self.environment:
            return
        if value is None:
            self._drop(parsed.id)
            return
        try:
            record = API_ANSWER.decode(value)
        except CodecError:
            # Of a later build: as if there were none, which at worst does a thing twice.
            return
        if (record.environment, record.id) == (parsed.environment, parsed.id):
            self._take(record)

    def get(self, answer_id: str, now_us: int) -> ApiAnswer | None:
        """What counts of this key now; None if it is free."""
        found = self._found.get(answer_id)
        return None if found is None or _over(found, now_us) else found

    def _take(self, record: ApiAnswer) -> None:
        before = self.get(record.id, record.at_us)
        if record.phase is AnswerPhase.STARTED:
            # Whoever was first has it.
            if before is not None and before.writer != record.writer:
                return
        elif before is not None and before.writer != record.writer:
            # Of one that was given up and came late.
            return
        self._drop(record.id)
        if record.phase is AnswerPhase.RELEASED:
            return
        self._found[record.id] = record
        self._bytes += len(record.sealed) + _OVERHEAD_BYTES
        while len(self._found) > self._max_answers or self._bytes > self._max_bytes:
            self._drop(next(iter(self._found)))

    def _drop(self, answer_id: str) -> None:
        found = self._found.pop(answer_id, None)
        if found is not None:
            self._bytes -= len(found.sealed) + _OVERHEAD_BYTES


def _over(record: ApiAnswer, now_us: int) -> bool:
    age_us = now_us - record.at_us
    return age_us > (TAKEN_OVER_US if record.phase is AnswerPhase.STARTED else KEPT_US)
