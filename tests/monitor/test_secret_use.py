"""Which secret verifies: from two looks at the gateways' counters to the console's column."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumer.monitor.alerts.series import Sample, SeriesStore, labels_of
from consumer.monitor.contract import Gauge
from consumer.monitor.secret_use import COUNTER, SECRET_VERIFIED, SecretUse
from schemas.errors import StoreError


class Stage:
    """A gateway's page, looked at every 15 s."""

    def __init__(self) -> None:
        self.series = SeriesStore({COUNTER: 0})
        self.recorded: list[Gauge] = []
        self.broken = False
        self.at_ms = 1_764_000_000_000
        self.use = SecretUse(self._record, "test")

    def _record(self, gauges: Sequence[Gauge]) -> None:
        if self.broken:
            raise StoreError("away")
        self.recorded += gauges

    def page(self, *, instance: str = "a", **counts: float) -> list[tuple[str, float]]:
        """What is recorded of this page: secret and Unix time."""
        self.at_ms += 15_000
        self.series.add(
            instance,
            [
                Sample(
                    COUNTER,
                    labels_of({"connection": "shop", "secret_name": name, "instance": instance}),
                    count,
                )
                for name, count in counts.items()
            ],
            self.at_ms,
        )
        self.recorded.clear()
        self.use.look(self.series, self.at_ms)
        for gauge in self.recorded:
            assert (gauge.environment, gauge.name) == ("test", SECRET_VERIFIED)
            assert gauge.labels["connection"] == "shop"
            assert gauge.at_us == gauge.value * 1_000_000
        return [(gauge.labels["secret_name"], gauge.value) for gauge in self.recorded]


def test_a_secret_is_used_when_its_counter_grows() -> None:
    stage = Stage()
    assert stage.page(old=7, new=0) == []
    assert stage.page(old=8, new=0) == [("old", stage.at_ms / 1000)]
    assert stage.page(old=8, new=3) == [("new", stage.at_ms / 1000)]
    assert stage.page(old=8, new=3) == []


def test_a_restart_that_has_counted_since_is_a_use_and_an_idle_one_is_none() -> None:
    stage = Stage()
    stage.page(old=7)
    assert stage.page(old=2) == [("old", stage.at_ms / 1000)]
    assert stage.page(old=0) == []


def test_two_gateways_are_told_apart() -> None:
    stage = Stage()
    stage.page(instance="a", old=7)
    assert stage.page(instance="b", old=100) == []
    assert stage.page(instance="a", old=7) == []
    assert stage.page(instance="b", old=101) == [("old", stage.at_ms / 1000)]


def test_what_a_store_did_not_take_is_told_at_the_next_look() -> None:
    stage = Stage()
    stage.page(old=7)
    stage.broken = True
    with pytest.raises(StoreError):
        stage.page(old=8)
    stage.broken = False
    assert stage.page(old=8) == [("old", stage.at_ms / 1000)]


def test_what_is_remembered_does_not_grow_with_gateways_that_are_gone() -> None:
    stage = Stage()
    for number in range(1_000):
        stage.page(instance=f"pod-{number}", old=1)
        stage.series.add(f"pod-{number}", [], stage.at_ms + 1)
    assert len(stage.use._before) <= 2 + 100 + 1
