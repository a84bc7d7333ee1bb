"""The places of external handlers: how many are called at once, and who is next.

Rule: as many again as may run are looked up ahead of their call. Otherwise handlers wait for
commits: a look-up is part of the next transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from consumer.core.lanes import Work
from consumer.engine.apply_runs import RecordRun
from consumer.stores.contract import Partition


class Calls:
    """External runs from their look-up to the end of their call.

    Not to their mark, which waits for a commit as well; marks do not pile up, as a store that
    does not take them answers no look-up, either.
    """

    def __init__(self, places: Mapping[Work, int]) -> None:
        """`places`: how many handlers of each sort may run at once."""
        self._places = places
        self.works = tuple(places)
        self._ahead: dict[Work, set[RecordRun]] = {work: set() for work in places}
        self._looked_up: dict[Work, deque[RecordRun]] = {work: deque() for work in places}
        self._running: dict[Work, set[RecordRun]] = {work: set() for work in places}

    @property
    def running(self) -> Iterable[RecordRun]:
        """The runs whose handler has been called and has not ended."""
        return [run for runs in self._running.values() for run in runs]

    def room(self, work: Work) -> int:
        """How many more may be looked up."""
        return self._places[work] - len(self._ahead[work])

    def look_up(self, run: RecordRun, work: Work) -> None:
        """A run is to be looked up."""
        self._ahead[work].add(run)

    def looked_up(self, run: RecordRun) -> None:
        """A run needs its call, as soon as there is a place."""
        for work, runs in self._ahead.items():
            if run in runs:
                self._looked_up[work].append(run)

    def take(self) -> list[RecordRun]:
        """The runs to call now: what their lanes still want, as far as there are places."""
        taken: list[RecordRun] = []
        for work, waiting in self._looked_up.items():
            ahead, running, places = self._ahead[work], self._running[work], self._places[work]
            while waiting and len(running) < places:
                run = waiting.popleft()
                ahead.discard(run)
                if not run.lane.dropped:
                    running.add(run)
                    taken.append(run)
        return taken

    def withdraw(self, partition: Partition) -> list[RecordRun]:
        """Take back the runs of a partition that wait for a place."""
        withdrawn: list[RecordRun] = []
        for work, waiting in self._looked_up.items():
            gone = [run for run in waiting if run.partition == partition]
            if gone:
                self._looked_up[work] = deque(r for r in waiting if r.partition != partition)
                self._ahead[work].difference_update(gone)
                withdrawn += gone
        return withdrawn

    def remove(self, run: RecordRun) -> None:
        """A run is over: its call has ended, or it needs none."""
        for work, running in self._running.items():
            if run in running:
                running.discard(run)
                return
            self._ahead[work].discard(run)
