"""`python -m tests.chaos.scaled_monitor FACTOR monitor …`: a monitor whose look at the connections
comes so many times as often, for rules whose durations are scaled. Everything else is as it is.
"""

from __future__ import annotations

import sys

from consumer.monitor.connection_metrics import ConnectionMetrics
from hookline.command import main

if __name__ == "__main__":
    ConnectionMetrics.EVERY_S /= float(sys.argv[1])  # type: ignore[misc]
    main(sys.argv[2:])
