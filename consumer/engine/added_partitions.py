"""Partitions that were added to a live topic wait until the older ones are drained.

With more partitions a key's later events may go to another one, and could overtake its earlier
ones there. So the first replica that sees more partitions than the group knows notes where the
older ones end, and the new ones are not read before the group has done all up to there. This
keeps a key's order if nobody wrote to the older layout after the new one was in use: stop the
gateways while partitions are added (docs/operations.md); if not, the log says what was at risk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from consumer.stores.contract import Layout, Partition, Store

log = logging.getLogger("hookline.consumer")


class AddedPartitions:
    """Of one topic. `ends` gives the end offset of each of the first so many partitions."""

    def __init__(self, topic: str, store: Store, ends: Callable[[int], dict[int, int]]) -> None:
        self._topic = topic
        self._store = store
        self._ends = ends
        self._layout: Layout | None = None

    def look(self, partitions: int) -> None:
        """Compare how many partitions there are with how many the group knows of."""
        for _ in range(10):
            self._layout = known = self._store.layout(self._topic)
            if known is not None and partitions <= known.partitions:
                return
            if known is None:
                wanted = Layout(partitions)
            else:
                # If older additions still wait, their first is the first, and their bounds hold.
                first_new = known.first_new or known.partitions
                wanted = Layout(partitions, first_new, self._ends(first_new))
            if self._store.note_layout(self._topic, wanted, known):
                self._layout = wanted
                if wanted.ends:
                    log.warning(
                        "partitions were added to the topic: the new ones wait until the others "
                        "are done up to here, so that no key overtakes itself; this holds if "
                        "no gateway was running while they were added",
                        extra={
                            "data": {
                                "topic": self._topic,
                                "partitions": partitions,
                                "first_new": wanted.first_new,
                            }
                        },
                    )
                return

    def waiting(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Those of the partitions that must not be read yet."""
        layout = self._layout
        if layout is None or not layout.ends:
            return set()
        new = {p for p in partitions if p.number >= layout.first_new}
        if not new:
            return new
        progress = self._store.progress(self._topic)
        if any(progress.get(number, 0) < end for number, end in layout.ends.items()):
            return new
        drained = Layout(layout.partitions)
        if self._store.note_layout(self._topic, drained, layout):
            log.info(
                "the older partitions are drained: the new ones are read from now on",
                extra={"data": {"topic": self._topic}},
            )
        self._layout = drained
        return set()
