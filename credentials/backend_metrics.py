"""How long a secret backend has been silent, read when scraped."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from schemas import metrics as names


def measure(silent_s: Callable[[], Mapping[str, float]]) -> None:
    """Register the gauge, once in a process; `silent_s` is `Resolver.silent_s`."""
    metrics.get_meter("hookline.credentials").create_observable_gauge(
        names.SECRET_BACKEND_SILENT_SECONDS,
        callbacks=[
            lambda _: [
                Observation(seconds, {"scheme": scheme}) for scheme, seconds in silent_s().items()
            ]
        ],
    )
