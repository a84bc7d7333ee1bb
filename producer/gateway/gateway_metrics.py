"""The gateway's metrics. Counts are plain integers on the hot path, read when scraped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from schemas import metrics as names
from schemas.histogram import Exemplar, Histogram

#: Outcomes that every connection with any request shows, those that alerts look at.
_ZEROS: Final = ("accepted", "signature_wrong", "unavailable", "not_found")


class PublisherGauges(Protocol):
    """What of the publisher is measured."""

    in_flight: int
    in_flight_bytes: int
    failures: Counter[str]


class GatewayMetrics:
    """One per process. A label's values come from configuration, never from a request."""

    def __init__(self, publisher: PublisherGauges) -> None:
        self._webhooks: Counter[tuple[str, str]] = Counter()
        self._verified: Counter[tuple[str, str]] = Counter()
        self._quarantined: Counter[tuple[str, str]] = Counter()
        self._gone: set[str] = set()
        meter = metrics.get_meter("hookline.gateway")
        self._seconds = Histogram(names.HISTOGRAM_BOUNDS[names.WEBHOOK_SECONDS])
        for name, counts, labels in (
            (names.WEBHOOKS, self._webhooks, ("connection", "outcome")),
            (names.SIGNATURE_VERIFIED, self._verified, ("connection", "secret_name")),
            (names.QUARANTINED, self._quarantined, ("connection", "reason")),
        ):
            zeros = _ZEROS if name == names.WEBHOOKS else ()
            meter.create_observable_counter(
                name, callbacks=[_counts(counts, labels, self._gone, zeros)]
            )
        meter.create_observable_counter(
            names.PUBLISH_FAILED,
            callbacks=[
                lambda _: [
                    Observation(count, {"reason": reason})
                    for reason, count in publisher.failures.copy().items()
                ]
            ],
        )
        meter.create_observable_gauge(
            names.PUBLISH_IN_FLIGHT, callbacks=[lambda _: [Observation(publisher.in_flight)]]
        )
        meter.create_observable_gauge(
            names.PUBLISH_IN_FLIGHT_BYTES,
            callbacks=[lambda _: [Observation(publisher.in_flight_bytes)]],
        )

    @property
    def histograms(self) -> Mapping[str, Histogram]:
        """Name → histogram, for whoever shows them."""
        return {names.WEBHOOK_SECONDS: self._seconds}

    def forget(self, connection: str) -> None:
        """A connection was removed: labels are of those that there are. From any thread."""
        # A request that is under way is counted once more, later.
        self._gone.add(connection)
        for counts in (self._webhooks, self._verified, self._quarantined):
            for labels in [labels for labels in counts.copy() if labels[0] == connection]:
                counts.pop(labels, None)

    def known(self, connection: str) -> None:
        """A connection will be served: its labels are shown again. From any thread."""
        self._gone.discard(connection)

    def verified(self, connection: str, secret_name: str) -> None:
        """A signature was verified, by which secret."""
        self._verified[connection, secret_name] += 1

    def quarantined(self, connection: str, reason: str) -> None:
        """An authentic request could not be read."""
        self._quarantined[connection, reason] += 1

    def answered(self, connection: str, outcome: str, duration_ns: int, trace_id: str = "") -> None:
        """A request was answered; `connection` is empty where it is not a known one.

        `trace_id` is that of its trace, if it is exported.
        """
        self._webhooks[connection, outcome] += 1
        duration_s = duration_ns / 1e9
        bucket = self._seconds.add(duration_s)
        if trace_id:
            self._seconds.exemplars[bucket] = Exemplar(trace_id, duration_s, time.time())


def _counts(
    counts: Counter[tuple[str, str]],
    labels: tuple[str, str],
    gone: set[str],
    zeros: tuple[str, ...],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        first, second = labels
        # A copy: the scrape may run on another thread than the event loop.
        found = counts.copy()
        if zeros:
            # From 0 on: what is there only since its first failure has not grown by it.
            for one in {one for one, _ in found}:
                for two in zeros:
                    found.setdefault((one, two), 0)
        return [
            Observation(count, {first: one, second: two})
            for (one, two), count in found.items()
            if one not in gone
        ]

    return observe
