"""Tries the same events under many schedules and compares where each ends."""

from __future__ import annotations

import difflib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from hookline.testing.events import by_key
from hookline.testing.replay import HandlersOrMaker, replay
from hookline.testing.report import Report
from hookline.testing.schedule import Schedule, Shake, crash_once, plain, shaken
from schemas.errors import PermanentError
from schemas.event import Event

#: What is compared: queries, or a function of the database; None: all tables of the handlers.
State = str | Sequence[str] | Callable[[sqlite3.Connection], object] | None

_MAX_LINES: Final = 40


class ScheduleMatters(AssertionError):
    """The end depends on the schedule. `seed` replays it: `check(…, seed=…)`."""

    def __init__(self, message: str, seed: int, report: Report) -> None:
        super().__init__(message)
        self.seed = seed
        self.report = report


def check(
    handlers: HandlersOrMaker,
    events: Sequence[Event],
    *,
    seeds: int = 200,
    seed: int | None = None,
    setup: str = "",
    state: State = None,
    shake: Shake | None = None,
    on_failure: str = "park",
) -> Report:
    """Assert that no schedule changes the end, and give the report of the plain one.

    The plain schedule has each event once, in order. Every second seed ends the consumer at one
    step of it, first to last, until each was tried; the others send copies, mix the events of
    different resources, crash several times and let statements fail. Each must leave the same
    tables (`state` chooses what is compared), the same dead letters, and the same external calls
    once those with an `Idempotency-Key` seen before are left out. ScheduleMatters names the seed.
    """
    reference = replay(handlers, plain(events), setup=setup, on_failure=on_failure)
    _worth_checking(reference)
    expected = _end(reference, state)
    for number in range(seeds) if seed is None else [seed]:
        schedule = _schedule(events, number, shake or Shake(), reference)
        with _quiet():
            report = replay(handlers, schedule, setup=setup, on_failure=on_failure)
        found = _end(report, state)
        if found != expected:
            raise ScheduleMatters(_message(number, expected, found, report), number, report)
        report.connection.close()
    return reference


def _schedule(events: Sequence[Event], seed: int, shake: Shake, reference: Report) -> Schedule:
    if shake.crashes and seed % 2 == 0 and seed // 2 < reference.steps:
        return crash_once(events, seed // 2 + 1)
    return shaken(events, seed, shake, reference.steps, reference.statements)


def _worth_checking(reference: Report) -> None:
    """A check that could not fail proves nothing."""
    if not reference.outcomes["applied"] and not reference.outcomes["dead_lettered"]:
        raise AssertionError(
            f"no handler took any of these events ({dict(reference.outcomes)}): are the patterns "
            "of the handlers and the types of the events the right ones?"
        )
    unexpected = [error for error in reference.errors if not isinstance(error, PermanentError)]
    if reference.dead_letters and unexpected:
        raise AssertionError(
            f"in order and undisturbed, {len(reference.dead_letters)} events became dead letters; "
            f"the first error was {type(unexpected[0]).__name__}: {unexpected[0]}"
        ) from unexpected[0]


def _end(report: Report, state: State) -> dict[str, list[str]]:
    """Everything that must not depend on the schedule, as lines."""
    end: dict[str, list[str]] = {}
    if state is None:
        for table, rows in report.tables.items():
            end[f"table {table}"] = [repr(row) for row in rows]
    elif callable(state):
        end["state"] = [repr(state(report.connection))]
    else:
        for query in [state] if isinstance(state, str) else state:
            end[query] = [repr(row) for row in report.rows(query)]
    end["dead letters"] = sorted(
        f"{letter.reason}, {letter.detail}, of {letter.key!r}" for letter in report.dead_letters
    )
    taken: dict[bytes, Event] = {}
    for call in report.external_calls:
        if call.error is None:
            taken.setdefault(call.events[0].dedupe_id, call.events[0])
    for key, lane in sorted(by_key(list(taken.values())).items()):
        end[f"external calls for {key}"] = [f"{each.event_type} {each.event_id}" for each in lane]
    return end


def _message(
    seed: int, expected: dict[str, list[str]], found: dict[str, list[str]], report: Report
) -> str:
    lines = [
        f"the end depends on the schedule: seed {seed} ends differently from the same events "
        "in order, each once",
    ]
    for name in sorted(expected.keys() | found.keys()):
        before, after = expected.get(name, []), found.get(name, [])
        if before != after:
            lines.append(f"{name} (- in order, + seed {seed})")
            changed = difflib.ndiff(before, after)
            lines += [f"  {line}" for line in changed if line[0] in "-+"][:_MAX_LINES]
    lines.append(f"what the schedule of seed {seed} did")
    lines += [f"  {line}" for line in report.story[:_MAX_LINES]] or ["  mixed the resources"]
    order = ", ".join(f"{d.event.resource_id}:{d.event.event_id}" for d in report.deliveries[:20])
    lines.append(f"  ended in the order {order}")
    lines.append(f"replay it with check(…, seed={seed})")
    lines.append(
        "Often the cause is something kept outside the transaction (a global, a file, a client "
        "called directly), a row that events of several resources write, or a clock or a random "
        "number in a row; for the last, choose with state= what is compared."
    )
    return "\n".join(lines)


@contextmanager
def _quiet() -> Iterator[None]:
    """Failures that we make ourselves are no news."""
    log = logging.getLogger("hookline.consumer")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
