"""A gathering whose moods the simulation draws."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from producer.publish.gathering import Gathering
from producer.publish.pending import Pending


class MoodyGathering(Gathering):
    """Holds for as long as it likes, whatever the load."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        produce: Callable[[Pending], None],
        max_hold_s: float,
        draw: Random,
    ) -> None:
        super().__init__(loop, produce, max_hold_s)
        self._draw = draw

    def look(self, elapsed_s: float) -> None:
        self._hold_s = self._draw.choice((0.0, 0.001, 0.01, self._max_hold_s))
