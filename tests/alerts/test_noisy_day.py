"""A day of normal traffic wakes nobody: a day's rhythm, bursts, slow requests, forgeries, failures
that pass, restarts, a hiccup of Kafka, and a scrape that failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from consumer.monitor.alerts.rules import Rule, horizons_s, load_rules
from consumer.monitor.alerts.series import SeriesStore
from consumer.monitor.alerts.states import State
from consumer.monitor.alerts.watch import Watch
from tests.alerts.plant import DAY_S, Fault, Plant
from tests.alerts.playing import show

STEP_S = 30
#: Of the day that is looked at: from when on, for how long, what.
TROUBLE: tuple[tuple[int, int, Fault], ...] = (
    (5 * 3_600, 60, Fault(kafka_away=True)),
    (8 * 3_600, 120, Fault(error_share=0.01)),
    (10 * 3_600, 180, Fault(parked=2)),
    (11 * 3_600, 240, Fault(handler_failures=0.3)),
    (13 * 3_600, 150, Fault(ack_factor=100.0)),
    (14 * 3_600, 30, Fault(down={"c1"})),
    (15 * 3_600, 300, Fault(unknown_per_s=0.1)),
    (16 * 3_600, 90, Fault(stopped=True)),
    (17 * 3_600, 300, Fault(forged_per_s={"acme-shop": 0.2})),
    (18 * 3_600, 480, Fault(backend_away=True)),
    (20 * 3_600, 300, Fault(apply_factor=40.0)),
)
RESTARTS = ((7 * 3_600, "g1"), (7 * 3_600 + 120, "g2"), (12 * 3_600, "c1"), (21 * 3_600, "c1"))


def test_a_noisy_day_fires_nothing() -> None:
    fired, pending = a_day(1, load_rules())
    assert fired == {}
    # It was noisy: rules were met, and not for long enough.
    assert pending > 0


def a_day(seed: int, rules: Sequence[Rule]) -> tuple[Counter[str], int]:
    """How often each rule fired in the second of two days, and how many looks found one pending."""
    plant = Plant(seed)
    series = SeriesStore(horizons_s(rules))
    watch = Watch(rules, series)
    fired: Counter[str] = Counter()
    pending = 0
    restarts = {DAY_S + at_s: name for at_s, name in RESTARTS}
    for n in range(2 * DAY_S // STEP_S):
        at_s = n * STEP_S
        of_day = at_s - DAY_S
        plant.fault = next((f for s, long, f in TROUBLE if s <= of_day < s + long), Fault())
        if at_s in restarts:
            plant.restart(restarts[at_s])
        plant.step(STEP_S)
        for (job, instance), page in plant.pages().items():
            show(series, job, instance, page, at_s)
        if of_day < 0:
            continue
        for alert in watch.look(at_s * 1000).changed:
            if alert.state is State.FIRING and alert.fired_ms == at_s * 1000:
                fired[alert.rule] += 1
            pending += alert.state is State.PENDING
    return fired, pending
