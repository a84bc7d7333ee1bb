"""How many dead letters the store keeps, as a metric: by a look now and then."""

from __future__ import annotations

from typing import Final, Protocol

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from consumer.stores.operations import Filter
from schemas import metrics as names


class CountedLetters(Protocol):
    """What of a store's operator's side is needed."""

    def count(self, wanted: Filter) -> int: ...
    def close(self) -> None: ...


class KeptLetters:
    """`run` looks; until the first look the metric is not there."""

    EVERY_S: Final = 30.0

    def __init__(self, store: CountedLetters) -> None:
        self._store = store
        self._count: int | None = None
        metrics.get_meter("hookline.consumer").create_observable_gauge(
            names.DEAD_LETTERS_KEPT,
            callbacks=[lambda _: [] if self._count is None else [Observation(self._count)]],
        )

    def run(self) -> bool:
        """Count anew; never more to do at once."""
        self._count = self._store.count(Filter())
        return False

    def close(self) -> None:
        """Release the store."""
        self._store.close()
