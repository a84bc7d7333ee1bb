"""The bounded series: what is kept, what a counter's restart costs, when a value is no longer."""

from __future__ import annotations

import pytest

from consumer.monitor.alerts.scraping import parsed
from consumer.monitor.alerts.series import LOOKBACK_MS, Sample, Series, SeriesStore

LABELS = (("job", "j"),)


def test_a_counter_that_began_anew_goes_on_growing() -> None:
    series = Series()
    for at_s, value in enumerate((10, 20, 30, 5, 15)):
        series.append(at_s * 1000, value, 10**9)
    assert series.increase(0, 4000) == 35


def test_growth_is_stretched_as_prometheus_does_it_and_never_below_zero() -> None:
    series = Series()
    # Samples from 10 s to 40 s of a window of a minute: half a distance more on each side.
    for at_s, value in ((10, 100), (20, 110), (30, 120), (40, 130)):
        series.append(at_s * 1000, value, 10**9)
    assert series.increase(0, 60_000) == pytest.approx(30 * (30 + 10 + 5) / 30)
    young = Series()
    for at_s, value in ((10, 1), (20, 11)):
        young.append(at_s * 1000, value, 10**9)
    # At its own pace it was at 0 a second before its first sample.
    assert young.increase(0, 20_000) == pytest.approx(11)


def test_a_value_is_no_longer_one_when_it_left_its_page_or_is_too_old() -> None:
    store = SeriesStore({"a": 60})
    store.add("p", [Sample("a", LABELS, 3.0)], 1_000)
    series = store.of("a")[LABELS]
    assert series.now(2_000) == 3.0
    assert series.now(1_000 + LOOKBACK_MS) is None
    store.add("p", [], 2_000)
    assert series.now(2_000) is None
    store.add("p", [Sample("a", LABELS, 4.0)], 3_000)
    assert series.now(3_000) == 4.0


def test_old_samples_get_fewer_and_what_they_say_of_growth_stays() -> None:
    day_s = 86_400
    series = Series()
    for at_s in range(0, 3 * day_s, 15):
        series.append(at_s * 1000, at_s / 15, 3 * day_s * 1000)
    assert len(series) < 2_000
    until_ms = series.last_ms
    for over_s in (600, 3_600, day_s, 2 * day_s):
        growth = series.increase(until_ms - over_s * 1000, until_ms)
        assert growth == pytest.approx(over_s / 15, rel=0.002)


def test_series_are_bounded_and_metrics_of_no_rule_are_not_kept() -> None:
    store = SeriesStore({"a": 60}, max_series=10)
    store.add("p", [Sample("a", (("n", str(n)),), 1.0) for n in range(30)], 1)
    store.add("p", [Sample("b", LABELS, 1.0)], 2)
    assert (len(store), store.refused) == (10, 20)
    store.forget_old(10**9)
    assert len(store) == 0


def test_a_page_is_read_with_its_targets_labels() -> None:
    page = """# HELP hookline_webhooks_total x
# TYPE hookline_webhooks_total counter
hookline_webhooks_total{connection="",outcome="not_found"} 3.0
hookline_webhooks_total{connection="a\\"b",job="own",outcome="accepted"} 4.0
# TYPE hookline_lanes gauge
hookline_lanes 7.0
"""
    wanted = frozenset({"hookline_webhooks_total"})
    assert list(parsed(page, {"job": "j"}, wanted)) == [
        Sample("hookline_webhooks_total", (("job", "j"), ("outcome", "not_found")), 3.0),
        Sample(
            "hookline_webhooks_total",
            (("connection", 'a"b'), ("exported_job", "own"), ("job", "j"), ("outcome", "accepted")),
            4.0,
        ),
    ]
