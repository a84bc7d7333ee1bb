"""The consumer with a promise broken on purpose, to see that the simulator notices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from consumer.core.lanes import Lanes, Run, Work
from consumer.core.watermark import Watermark
from consumer.engine.parked_lanes import ParkedLanes
from consumer.stores.contract import Claim, Partition
from consumer.stores.sqlite_commit import SqliteCommit


def no_dedupe() -> None:
    """Take the dedupe insert out of the store."""
    SqliteCommit.remember = lambda *_: None  # type: ignore[method-assign]


def no_fence() -> None:
    """Take every claim for ours, and write progress whatever the epoch."""

    def advance(self: SqliteCommit, claims: Any, positions: dict[Partition, int], *_: Any) -> None:
        for partition, position in positions.items():
            self._run(
                "UPDATE hookline_progress SET next_offset = ? WHERE topic = ? AND partition = ?",
                (position, *partition),
            )

    def owned(self: SqliteCommit, claims: Iterable[Claim]) -> set[Partition]:
        return {claim.partition for claim in claims}

    SqliteCommit.advance = advance  # type: ignore[method-assign, assignment]
    SqliteCommit.owned = owned  # type: ignore[method-assign, assignment]


def off_by_one() -> None:
    """Commit one offset more than is done, where there is one."""
    complete_all = Watermark.complete_all

    def one_more(self: Watermark, offsets: Iterable[int]) -> int:
        return min(complete_all(self, offsets) + 1, self.high)

    Watermark.complete_all = one_more  # type: ignore[method-assign]


def two_runs() -> None:
    """Let a lane hand out a second run while its first is in flight."""
    take, finish = Lanes.take, Lanes.finish

    def take_two(
        self: Lanes[Any, Any], work: Work, max_events: int, max_per_lane: int = 1
    ) -> list[Run[Any, Any]]:
        runs = take(self, work, max_events, max_per_lane)
        for run in list(runs):
            behind = list(run.lane.waiting)[len(run.items) :][:1]
            if behind and behind[0].work is work and len(run.items) == 1:
                runs.append(Run(run.lane, [behind[0].item]))
        return runs

    def finish_two(self: Lanes[Any, Any], run: Run[Any, Any], *args: Any, **kwargs: Any) -> bool:
        run.lane.in_flight = True
        return finish(self, run, *args, **kwargs)

    Lanes.take = take_two  # type: ignore[method-assign]
    Lanes.finish = finish_two  # type: ignore[method-assign]


def no_queueing() -> None:
    """Apply live events of a key although earlier ones are parked."""
    ParkedLanes.must_queue = lambda *_: ()  # type: ignore[method-assign]


SABOTAGES: Final[dict[str, Callable[[], None]]] = {
    "dedupe": no_dedupe,
    "fence": no_fence,
    "watermark": off_by_one,
    "order": two_runs,
    "parking": no_queueing,
}
