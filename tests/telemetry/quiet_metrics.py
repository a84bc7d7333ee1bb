"""Metrics of the engine that go nowhere."""

from __future__ import annotations

from consumer.engine.engine_metrics import EngineMetrics


class QuietMetrics(EngineMetrics):
    """Counts nothing."""

    def __init__(self) -> None:
        pass

    def committed(self, *_: object) -> None:
        pass

    def retried(self, *_: object) -> None:
        pass

    def fenced(self) -> None:
        pass
