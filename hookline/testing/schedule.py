"""A schedule: in which order events come, how often, and where the consumer breaks.

Rule: a schedule follows from its seed and the events alone, so that one integer replays it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from hookline.testing.events import by_key, redelivered
from schemas.event import Event


class Shake(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule may do to the events. Order within a resource is only lost by `stale`."""

    #: Send some again, as providers do.
    duplicates: bool = True
    #: Mix the events of different resources.
    reorder: bool = True
    #: End the consumer at some steps and start it anew.
    crashes: bool = True
    #: Let some statements of handlers fail.
    failures: bool = True
    #: Let some events overtake earlier ones of their resource.
    stale: bool = False


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One way that the same events can take."""

    events: tuple[Event, ...]
    crash_at: frozenset[int] = frozenset()
    fail_at: frozenset[int] = frozenset()
    #: Seeds how many events come at once and how large a transaction gets; None: one by one.
    pace_seed: int | None = None
    story: tuple[str, ...] = ()


def plain(events: Sequence[Event]) -> Schedule:
    """In the order given, each once, one at a time, and nothing breaks."""
    return Schedule(events=tuple(events))


def crash_once(events: Sequence[Event], step: int) -> Schedule:
    """The plain one, with the consumer ending at one step."""
    return Schedule(events=tuple(events), crash_at=frozenset({step}))


def shaken(
    events: Sequence[Event], seed: int, shake: Shake, steps: int, statements: int
) -> Schedule:
    """The schedule of a seed; `steps` and `statements`: how many the plain one had."""
    draw = random.Random(seed)
    story: list[str] = []
    ordered = _mixed(events, draw) if shake.reorder else list(events)
    if shake.stale:
        _overtake(ordered, draw, story)
    if shake.duplicates:
        _repeat(ordered, draw, story)
    crash_at: list[int] = []
    fail_at: list[int] = []
    if shake.crashes:
        # Work that is done again takes steps too: hence beyond those of the plain schedule.
        crash_at = [draw.randint(1, 2 * steps + 1) for _ in range(draw.randint(0, 4))]
    if shake.failures and statements:
        fail_at = [draw.randint(1, 2 * statements) for _ in range(draw.randint(0, 3))]
    return Schedule(
        events=tuple(ordered),
        crash_at=frozenset(crash_at),
        fail_at=frozenset(fail_at),
        pace_seed=seed,
        story=tuple(story),
    )


def _mixed(events: Sequence[Event], draw: random.Random) -> list[Event]:
    """An order in which each resource's own events keep theirs."""
    lanes = by_key(events)
    turns = [key for key, lane in lanes.items() for _ in lane]
    draw.shuffle(turns)
    waiting = {key: iter(lane) for key, lane in lanes.items()}
    return [next(waiting[key]) for key in turns]


def _overtake(events: list[Event], draw: random.Random, story: list[str]) -> None:
    for lane in by_key(events).values():
        for earlier, later in pairwise(lane):
            if draw.random() < 0.3:
                a, b = events.index(earlier), events.index(later)
                events[a], events[b] = events[b], events[a]
                story.append(f"{later.event_id} overtook {earlier.event_id}")


def _repeat(events: list[Event], draw: random.Random, story: list[str]) -> None:
    for original in list(events):
        if draw.random() < 0.3:
            at = draw.randint(events.index(original) + 1, len(events))
            events.insert(at, redelivered(original, draw))
            story.append(f"{original.event_id} came twice")
