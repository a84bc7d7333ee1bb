"""What is asked of the monitor's store is asked once, and again when it may have changed."""

from __future__ import annotations

import threading
from typing import cast

from console.pages.overview import questions_of
from console.remembering import HEALTH_AGE_S, MAX_KEPT, Remembered
from console.warming import Warmer
from consumer.monitor.contract import Bucket, Counts, Questions, Range, Scope
from tests.console.stage import NOW_US, Stage

SCOPE = Scope(environment="production")
_US = 1_000_000
DAY_S = 86_400


class Counted:
    """Questions that count how often they are asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = threading.Event()
        self.go.set()

    def total(self, scope: Scope, range: Range, *, measures: tuple[str, ...] = ()) -> Bucket:
        self.asked += 1
        self.go.wait(5)
        return Bucket(at_us=range.since_us, counts=Counts(events=self.asked), latencies={})

    def health(self, environment: str, now_us: int) -> list[str]:
        self.asked += 1
        return [environment]


class Clock:
    us = 1_795_536_000 * _US


def remembered() -> tuple[Remembered, Counted, Clock]:
    clock, counted = Clock(), Counted()
    return Remembered(cast(Questions, counted), lambda: clock.us), counted, clock


def of(clock: Clock, length_s: int) -> Range:
    return Range(clock.us - length_s * _US, clock.us)


def test_a_long_range_is_asked_once_a_minute_and_a_short_one_each_time() -> None:
    questions, counted, clock = remembered()
    for _ in range(3):
        questions.total(SCOPE, of(clock, 30 * DAY_S))
    assert counted.asked == 1
    clock.us += 61 * _US
    assert questions.total(SCOPE, of(clock, 30 * DAY_S)).counts.events == 2
    for _ in range(3):
        questions.total(SCOPE, of(clock, 900))
    assert counted.asked == 5


def test_answers_are_kept_apart_by_scope_range_and_measures() -> None:
    questions, counted, clock = remembered()
    week = of(clock, 7 * DAY_S)
    questions.total(SCOPE, week)
    questions.total(Scope(environment="production", connection="a"), week)
    questions.total(SCOPE, week, measures=("queue",))
    questions.total(SCOPE, of(clock, 30 * DAY_S))
    questions.total(SCOPE, week.earlier(7 * DAY_S))
    assert counted.asked == 5


def test_the_health_of_connections_is_asked_every_ten_seconds() -> None:
    questions, counted, clock = remembered()
    questions.health("production", clock.us)
    clock.us += (HEALTH_AGE_S - 1) * _US
    questions.health("production", clock.us)
    assert counted.asked == 1
    clock.us += 1 * _US
    questions.health("production", clock.us)
    assert questions.health("staging", clock.us) == ["staging"]
    assert counted.asked == 3


def test_who_asks_at_the_same_time_waits_for_one_answer() -> None:
    questions, counted, clock = remembered()
    counted.go.clear()
    answers: list[Bucket] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(questions.total(SCOPE, of(clock, 30 * DAY_S)))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    counted.go.set()
    for thread in threads:
        thread.join()
    assert {answer.counts.events for answer in answers} == {1}


def test_a_bounded_number_is_kept() -> None:
    questions, _, clock = remembered()
    for number in range(MAX_KEPT + 50):
        questions.total(Scope(environment="e", connection=str(number)), of(clock, 30 * DAY_S))
    assert len(questions._kept) == MAX_KEPT
    assert questions._asking == {}


def test_a_range_that_ends_now_is_the_same_question_a_moment_later_and_a_week_before() -> None:
    questions, counted, clock = remembered()
    clock.us += 59 * _US
    questions.total(SCOPE, of(clock, 30 * DAY_S))
    questions.total(SCOPE, of(clock, 30 * DAY_S).earlier(7 * DAY_S))
    clock.us += 2 * _US
    questions.total(SCOPE, of(clock, 30 * DAY_S))
    questions.total(SCOPE, of(clock, 30 * DAY_S).earlier(7 * DAY_S))
    assert counted.asked == 2


def test_what_the_overview_asks_is_asked_beforehand(stage: Stage) -> None:
    counted = Counting(stage.monitor)
    questions = cast(Questions, Remembered(cast(Questions, counted), lambda: NOW_US))
    Warmer(questions, "production", lambda: NOW_US).warm()
    asked = counted.asked
    assert asked == 1 + 3 * 4
    questions_of(questions, "production", Range(NOW_US - 30 * DAY_S * _US, NOW_US))
    questions_of(questions, "production", Range(NOW_US - 7 * DAY_S * _US, NOW_US))
    assert counted.asked == asked


class Counting:
    """Counts what reaches a store."""

    def __init__(self, questions: object) -> None:
        self._questions = questions
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        self.asked += 1
        return getattr(self._questions, name)
