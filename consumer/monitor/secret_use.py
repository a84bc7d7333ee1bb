"""When each secret last verified a webhook, by the gateways' counters: is an old one still used?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consumer.monitor.alerts.series import Labels, SeriesStore
from consumer.monitor.contract import Gauge
from schemas.metrics import SIGNATURE_VERIFIED

#: The metric that must be among the series.
COUNTER: Final = f"{SIGNATURE_VERIFIED}_total"
#: The gauge: Unix seconds, by connection and secret_name.
SECRET_VERIFIED: Final = "secret_verified"


class SecretUse:
    """Looks after each scrape; `record` is the monitor's store's."""

    def __init__(self, record: Callable[[Sequence[Gauge]], None], environment: str) -> None:
        self._record = record
        self._environment = environment
        self._before: dict[Labels, float] = {}

    def look(self, series: SeriesStore, at_ms: int) -> None:
        """Note which counters have grown since the last look; StoreError leaves them for the next.

        Of a counter that is seen for the first time nobody knows when it grew.
        """
        values = {
            labels: value
            for labels, one in series.of(COUNTER).items()
            if (value := one.now(at_ms)) is not None
        }
        used = {
            (names.get("connection", ""), names.get("secret_name", ""))
            for labels, value in values.items()
            # Another value is growth, also after a restart, which begins at 0.
            if value and value != self._before.get(labels, value)
            for names in (dict(labels),)
        }
        if used:
            self._record(
                [
                    Gauge(
                        environment=self._environment,
                        name=SECRET_VERIFIED,
                        at_us=at_ms * 1000,
                        value=at_ms / 1000,
                        labels={"connection": connection, "secret_name": secret_name},
                    )
                    for connection, secret_name in sorted(used)
                ]
            )
        # Those of a gateway that is away for a moment are still known.
        self._before |= values
        if len(self._before) > 2 * len(values) + 100:
            self._before = values
