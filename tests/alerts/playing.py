"""Plays a plant to the evaluator, and keeps what it showed for a Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from consumer.monitor.alerts.exposed import UP
from consumer.monitor.alerts.rules import Rule, horizons_s
from consumer.monitor.alerts.series import Labels, Sample, SeriesStore, labels_of
from consumer.monitor.alerts.states import Alert, State
from consumer.monitor.alerts.watch import Watch
from tests.alerts.faults import Scenario
from tests.alerts.plant import Fault, Plant


class Recorded(NamedTuple):
    """A scenario's run: every sample, and which alerts fired at each step."""

    step_s: int
    #: By name and labels, a value a step; None where it was not on its page.
    samples: dict[tuple[str, Labels], list[float | None]]
    firing: list[tuple[Alert, ...]]

    def fired_s(self) -> float | None:
        """When anything fired first."""
        return next((n * self.step_s for n, alerts in enumerate(self.firing) if alerts), None)

    def resolved_s(self) -> float | None:
        """When nothing fired any more, for good."""
        last = max((n for n, alerts in enumerate(self.firing) if alerts), default=None)
        if last is None or last + 1 >= len(self.firing):
            return None
        return (last + 1) * self.step_s


def play(scenario: Scenario, rules: Sequence[Rule], seed: int = 1) -> Recorded:
    """Step by step: the plant, the series, the rules."""
    plant = Plant(seed, steady=True)
    series = SeriesStore(horizons_s(rules))
    watch = Watch(rules, series, runbook_url="docs/alerts.md")
    samples: dict[tuple[str, Labels], list[float | None]] = defaultdict(list)
    firing: list[tuple[Alert, ...]] = []
    total_s = scenario.warm_s + scenario.fault_s + scenario.after_s
    for n in range(total_s // scenario.step_s):
        at_s = n * scenario.step_s
        broken = scenario.warm_s <= at_s < scenario.warm_s + scenario.fault_s
        plant.fault = scenario.fault(at_s) if broken else Fault()
        if n:
            plant.step(scenario.step_s)
        for (job, instance), page in plant.pages().items():
            show(series, job, instance, page, at_s, samples, n)
        watch.look(at_s * 1000)
        firing.append(tuple(a for a in watch.alerts if a.state is State.FIRING))
    for values in samples.values():
        values.extend([None] * (len(firing) - len(values)))
    wanted = series.metrics
    return Recorded(scenario.step_s, {k: v for k, v in samples.items() if k[0] in wanted}, firing)


def show(
    series: SeriesStore,
    job: str,
    instance: str,
    page: list[Sample] | None,
    at_s: float,
    samples: dict[tuple[str, Labels], list[float | None]] | None = None,
    n: int = 0,
) -> None:
    """One page to the evaluator, as the scraper does it; `samples` takes step `n` of it."""
    up = Sample(UP, labels_of({"job": job, "instance": instance}), float(page is not None))
    shown = [*(page or ()), up]
    series.add(instance, shown, int(at_s * 1000))
    if samples is None:
        return
    for name, labels, value in shown:
        values = samples[name, labels]
        values.extend([None] * (n - len(values)))
        values.append(value)
