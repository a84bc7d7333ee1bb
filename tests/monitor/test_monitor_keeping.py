"""What is kept and for how long; gauges; how connections do; who may open a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from consumer.monitor import numbers as numbers_module
from consumer.monitor.contract import (
    EventFilter,
    Gauge,
    MonitorStore,
    Range,
    RequestFilter,
    Retention,
    Scope,
    Span,
)
from consumer.monitor.sqlite import SqliteMonitor, SqliteQuestions
from schemas.errors import StoreLocked, StoreUnavailable
from schemas.execution import Execution, Reception
from tests.monitor import plain
from tests.monitor.conftest import Place, SqlitePlace, append
from tests.monitor.made_up import TOPIC
from tests.monitor.plain import NOW_US, Row

_US = 1_000_000
_HOUR_US = 3600 * _US
_DAY_US = 24 * _HOUR_US
_ALL = EventFilter(environment="production")


def _expire(store: MonitorStore, retention: Retention, limit: int = 300) -> int:
    steps = 0
    while store.expire(retention, NOW_US, limit):
        steps += 1
        assert steps < 10_000
    return steps


def _pages(store: MonitorStore) -> list[Execution]:
    found: list[Execution] = []
    page = store.events(_ALL, limit=500)
    found += page.rows
    while page.next:
        page = store.events(_ALL, after=page.next, limit=500)
        found += page.rows
    return found


def test_rows_that_are_too_old_go_and_their_sums_stay(store: MonitorStore, rows: list[Row]) -> None:
    append(store, rows)
    asked = Scope(environment="production"), Range(NOW_US - 49 * _HOUR_US, NOW_US)
    before = store.overview(*asked)
    assert _expire(store, Retention(rows_s=6 * 3600)) > 1
    kept = _pages(store)
    assert min(row.committed_at_us for row in kept) >= NOW_US - 6 * _HOUR_US
    young = plain.search(rows, replace(_ALL, range=Range(NOW_US - 6 * _HOUR_US, NOW_US * 2)))
    assert len(kept) == len(young)
    assert store.overview(*asked) == before


def test_no_more_rows_are_kept_than_allowed(store: MonitorStore, rows: list[Row]) -> None:
    append(store, rows)
    _expire(store, Retention(max_rows=100))
    events = sum(
        len(store.events(EventFilter(environment=e), limit=500).rows)
        for e in ("production", "staging")
    )
    requests = sum(
        len(store.requests(RequestFilter(environment=e), limit=500).rows)
        for e in ("production", "staging")
    )
    assert (events, requests) == (100, 100)


def test_no_call_deletes_more_than_a_little(store: MonitorStore, rows: list[Row]) -> None:
    append(store, rows)
    before = len(_pages(store))
    store.expire(Retention(rows_s=0), NOW_US, 10)
    assert before - len(_pages(store)) <= 10


def test_sums_that_are_gone_are_answered_from_coarser_ones(store: MonitorStore) -> None:
    rows = plain.some_rows(400, days=9.0)
    append(store, rows)
    _expire(store, Retention(minutes_s=86_400, tens_s=2 * 86_400, hours_s=3 * 86_400))
    scope = Scope(environment="production")
    for days_ago, bucket_s in ((0.5, 60), (1.5, 600), (2.5, 3600), (8.0, 21_600)):
        until_us = int(NOW_US - days_ago * _DAY_US)
        found = store.overview(scope, Range(until_us - _HOUR_US, until_us))
        assert found.bucket_s == bucket_s
        assert found.total.counts == plain.counts(plain.in_scope(rows, scope, found.range))
        if bucket_s < 21_600:
            assert found.last_week is None


def test_gauges_are_the_lowest_highest_and_last_of_each_minute(store: MonitorStore) -> None:
    minute_us = NOW_US // (60 * _US) * 60 * _US

    def sample(after_s: int, value: float, partition: str = "0", name: str = "lag") -> Gauge:
        return Gauge(
            environment="production",
            name=name,
            at_us=minute_us + after_s * _US,
            value=value,
            labels={"partition": partition, "group": "g"},
        )

    store.record([sample(0, 5.0), sample(20, 9.0), sample(10, 1.0), sample(40, 2.5)])
    store.record([sample(70, 7.0), sample(5, 3.0, "1"), sample(5, 1.0, name="other")])
    store.record([])
    within = Range(minute_us, minute_us + 300 * _US)
    first, second = store.gauges("production", "lag", within)
    assert first.labels == {"group": "g", "partition": "0"}
    assert [(p.at_us, p.low, p.high, p.last) for p in first.points] == [
        (minute_us, 1.0, 9.0, 2.5),
        (minute_us + 60 * _US, 7.0, 7.0, 7.0),
    ]
    assert second.labels["partition"] == "1"
    assert store.gauges("staging", "lag", within) == []
    latest = store.latest_gauges("production")
    assert [(one.name, one.value) for one in latest] == [("lag", 7.0), ("lag", 3.0), ("other", 1.0)]
    month = store.gauges("production", "lag", Range(minute_us - 29 * _DAY_US, minute_us + _DAY_US))
    assert [(p.low, p.high, p.last) for p in month[0].points] == [(1.0, 9.0, 7.0)]


def _event(row: Execution, at_us: int, **other: object) -> Execution:
    return replace(row, received_at_us=at_us, committed_at_us=at_us + 1000, **other)


def test_the_health_of_a_connection(store: MonitorStore, rows: list[Row]) -> None:
    event = next(row for row in rows if isinstance(row, Execution))
    refused = next(row for row in rows if isinstance(row, Reception) and row.status == 401)
    event = replace(event, environment="production", connection="c", weight=1, outcome="applied")
    start_us = NOW_US - 8 * _DAY_US
    # One every ten minutes, and then nothing for the last 8 hours.
    events: list[Row] = [_event(event, start_us + n * 600 * _US) for n in range(8 * 144 - 48)]
    last_us = max(row.received_at_us for row in events)
    events.append(_event(event, last_us, outcome="parked"))
    events.append(
        replace(refused, environment="production", connection="c", received_at_us=NOW_US - 60 * _US)
    )
    append(store, events, batch=100)
    (health,) = store.health("production", NOW_US)
    assert health.last_received_us == last_us
    assert health.last_committed_us == health.last_error_us == last_us + 1000
    # Refused requests may be anybody's: the silence goes on.
    assert health.last_refused_us == NOW_US - 60 * _US
    assert health.silent_ns == (NOW_US - last_us) * 1000
    assert health.pauses == 8 * 144 - 49
    assert health.longest_pause_ns == 600 * 10**9
    for pause_ns in (health.usual_pause_ns, health.long_pause_ns):
        assert abs(pause_ns - 600 * 10**9) <= 6 * 10**9
    # What came in the 8 hours a week earlier, but for what is not a whole ten minutes of them.
    assert 46 <= health.expected <= 48
    assert store.health("staging", NOW_US) == []


def test_partitions_that_are_not_in_step_make_no_pauses(
    store: MonitorStore, rows: list[Row]
) -> None:
    event = next(row for row in rows if isinstance(row, Execution))
    event = replace(event, environment="production", connection="c")
    first = [_event(event, NOW_US + n * _US) for n in (0, 2, 4)]
    second = [_event(event, NOW_US + n * _US) for n in (1, 3, 5)]
    store.append(first, TOPIC, {0: Span(None, 1)})
    store.append(second, TOPIC, {1: Span(None, 1)})
    (health,) = store.health("production", NOW_US + 5 * _US)
    assert health.pauses == 3
    assert health.longest_pause_ns == 2 * 10**9


def test_more_types_than_there_may_be_are_other_types(
    place: Place, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded = lambda at: numbers_module.Numbers(at, max_kinds=20, max_series=50)  # noqa: E731
    monkeypatch.setattr("consumer.monitor.sqlite.Numbers", bounded)
    monkeypatch.setattr("consumer.monitor.postgres.Numbers", bounded)
    store = place.open()
    event = next(row for row in rows if isinstance(row, Execution))
    many: list[Row] = [
        replace(event, environment="production", connection="c", event_type=f"type-{n}")
        for n in range(100)
    ]
    append(store, many, batch=30)
    found = store.overview(Scope(environment="production"), Range(NOW_US - 49 * _HOUR_US, NOW_US))
    assert found.total.counts.events == sum(row.weight for row in many)
    known = store.known("production").event_types
    assert len(known) == 21
    assert "(other)" in known
    # Each by itself still says what it was.
    assert {row.event_type for row in _pages(store)} == {f"type-{n}" for n in range(100)}
    other = Scope(environment="production", connection="c", event_type="(other)")
    total = store.overview(other, Range(NOW_US - 49 * _HOUR_US, NOW_US)).total
    assert total.counts.events > 0
    assert total.latencies["commit"].count == total.counts.events


def test_a_reader_sees_what_the_monitor_has_written_since(place: Place, rows: list[Row]) -> None:
    store = place.open()
    questions = place.ask()
    assert questions.events(_ALL).rows == ()
    append(store, rows[:300])
    assert questions.events(_ALL).rows == store.events(_ALL).rows != ()
    questions.record([Gauge(environment="production", name="probe", at_us=NOW_US, value=1.0)])
    assert [gauge.name for gauge in store.latest_gauges("production")] == ["probe"]


def test_a_reader_says_what_to_do_where_no_monitor_has_been(place: Place) -> None:
    with pytest.raises(StoreUnavailable, match="hookline monitor"):
        place.ask()


def test_a_second_monitor_is_kept_out_of_a_file(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    store = place.open()
    with pytest.raises(StoreLocked, match="one monitor"):
        place.open()
    store.close()
    place.open()
    place.close()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    store = SqliteMonitor(path)
    store._writer.execute("UPDATE monitor_store SET version = 99")
    store.close()
    for opened in (SqliteMonitor, SqliteQuestions):
        with pytest.raises(StoreUnavailable, match="version 99"):
            opened(path)
