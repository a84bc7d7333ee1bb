"""What the monitor's alerting shows of itself, read when scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from consumer.monitor.alerts.service import AlertService
from schemas import metrics as names


def measure(service: AlertService) -> None:
    """Register them, once in a process."""
    meter = metrics.get_meter("hookline.alerts")

    def alerts(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, {"alertname": rule, "severity": severity, "state": state})
            for (rule, severity, state), count in service.counts().items()
        ]

    meter.create_observable_gauge(names.ALERTS, callbacks=[alerts])
    meter.create_observable_gauge(
        names.ALERT_SERIES, callbacks=[lambda _: [Observation(len(service.series))]]
    )
    meter.create_observable_counter(
        names.ALERT_NOTIFICATIONS,
        callbacks=[_pairs(lambda: service.delivery.results.copy(), ("notifier", "result"))],
    )
    meter.create_observable_counter(
        names.SCRAPES, callbacks=[_pairs(lambda: dict(service.scraper.results), ("job", "result"))]
    )


def _pairs(
    counts: Callable[[], dict[tuple[str, str], int]], labels: tuple[str, str]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, dict(zip(labels, pair, strict=True)))
            for pair, count in counts().items()
        ]

    return observe
