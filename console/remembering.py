"""The monitor's answers, remembered for as long as a chart could not show the difference: however
many people look at a page, what it asks is worked out once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar, cast

from consumer.monitor.contract import (
    MAX_BUCKETS,
    MEASURES,
    Bucket,
    ConnectionHealth,
    Overview,
    Questions,
    Range,
    Scope,
)

T = TypeVar("T")

_US: Final = 1_000_000
#: No answer is older than this; of what ended a day ago, which does not change, than that.
MAX_AGE_S: Final = 60
MAX_OLD_AGE_S: Final = 600
HEALTH_AGE_S: Final = 10
#: A range that ends so shortly before now ends now.
_NOW_US: Final = 2 * _US
_WEEK_S: Final = 7 * 86_400
#: Overviews and totals that are kept, some 200 kB each at most.
MAX_KEPT: Final = 100


class Remembered:
    """`Questions` that are asked again only when their answer is too old. For any thread."""

    def __init__(self, questions: Questions, now_us: Callable[[], int]) -> None:
        self._questions = questions
        self._now_us = now_us
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._asking: dict[Hashable, threading.Lock] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._questions, name)

    def overview(
        self,
        scope: Scope,
        range: Range,
        *,
        measures: Sequence[str] = MEASURES,
        last_week: bool = True,
    ) -> Overview:
        """See `Questions`."""
        key = ("overview", scope, tuple(measures), last_week)
        return self._of_range(
            key,
            range,
            lambda: self._questions.overview(scope, range, measures=measures, last_week=last_week),
        )

    def total(self, scope: Scope, range: Range, *, measures: Sequence[str] = ()) -> Bucket:
        """See `Questions`."""
        key = ("total", scope, tuple(measures))
        return self._of_range(
            key, range, lambda: self._questions.total(scope, range, measures=measures)
        )

    def health(self, environment: str, now_us: int) -> list[ConnectionHealth]:
        """See `Questions`."""
        return self._remembered(
            ("health", environment),
            HEALTH_AGE_S,
            lambda: self._questions.health(environment, now_us),
        )

    def _of_range(self, key: tuple[Hashable, ...], range: Range, ask: Callable[[], T]) -> T:
        length_s = (range.until_us - range.since_us) // _US
        # A tenth of what one point of a chart stands for.
        age_s = min(MAX_AGE_S, length_s // (10 * MAX_BUCKETS))
        if self._now_us() - range.until_us > 86_400 * _US:
            age_s = MAX_OLD_AGE_S if length_s >= 86_400 else age_s
        if age_s < 1:
            return ask()
        # Until now, or until now a week ago: the same question, however often it is asked.
        past_us = (self._now_us() - range.until_us) % (_WEEK_S * _US)
        weeks = (self._now_us() - range.until_us) // (_WEEK_S * _US)
        recent = weeks <= 1 and past_us < _NOW_US
        place = (length_s, weeks, 0 if recent else range.until_us // (age_s * _US))
        return self._remembered((key, place), age_s, ask)

    def _remembered(self, key: Hashable, age_s: int, ask: Callable[[], T]) -> T:
        with self._lock:
            turn = self._asking.setdefault(key, threading.Lock())
        # Who comes while it is being worked out waits for that answer.
        with turn:
            try:
                with self._lock:
                    kept = self._kept.get(key)
                if kept is not None and 0 <= self._now_us() - kept[0] < age_s * _US:
                    return cast(T, kept[1])
                answer = ask()
                with self._lock:
                    self._kept[key] = (self._now_us(), answer)
                    self._kept.move_to_end(key)
                    while len(self._kept) > MAX_KEPT:
                        self._kept.popitem(last=False)
                return answer
            finally:
                with self._lock:
                    self._asking.pop(key, None)
