"""What connections have in flight, read when scraped."""

from __future__ import annotations

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from producer.gateway.limits import ConnectionLimits
from schemas import metrics as names


def measure(limits: ConnectionLimits) -> None:
    """Register the gauge, once in a process."""
    metrics.get_meter("hookline.gateway").create_observable_gauge(
        names.CONNECTION_IN_FLIGHT_EVENTS,
        callbacks=[
            lambda _: [
                Observation(events, {"connection": connection})
                for connection, events in limits.in_flight().items()
            ]
        ],
    )
