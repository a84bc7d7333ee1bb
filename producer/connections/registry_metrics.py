"""Metrics of the connections registry, read when scraped."""

from __future__ import annotations

from typing import Protocol

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from schemas import metrics as names


class RegistryGauges(Protocol):
    """What of the registry is measured."""

    def states(self) -> dict[str, int]:
        """Connections by state."""

    def lag_records(self) -> int:
        """Records not read yet."""

    def age_s(self) -> float:
        """Seconds since it was known that nothing is missed."""


def measure(registry: RegistryGauges) -> None:
    """Register the gauges, once in a process."""
    meter = metrics.get_meter("hookline.connections")
    meter.create_observable_gauge(
        names.CONNECTIONS,
        callbacks=[
            lambda _: [
                Observation(count, {"state": state}) for state, count in registry.states().items()
            ]
        ],
    )
    meter.create_observable_gauge(
        names.CONNECTIONS_LAG_RECORDS,
        callbacks=[lambda _: [Observation(registry.lag_records())]],
    )
    meter.create_observable_gauge(
        names.CONNECTIONS_AGE_SECONDS,
        callbacks=[lambda _: [Observation(registry.age_s())]],
    )


class SecretEnds(Protocol):
    """What of the secrets is measured."""

    def secrets_end_s(self) -> dict[str, float]:
        """When the last secret of each connection ends, where it does."""


def measure_secrets(serving: SecretEnds) -> None:
    """Register the gauge of the secrets' ends, once in a process."""
    metrics.get_meter("hookline.connections").create_observable_gauge(
        names.SECRETS_END_SECONDS,
        callbacks=[
            lambda _: [
                Observation(end_s, {"connection": connection})
                for connection, end_s in serving.secrets_end_s().items()
            ]
        ],
    )
