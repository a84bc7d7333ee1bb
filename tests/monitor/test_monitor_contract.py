"""What every store of the monitor must do; its answers are held against those from all rows."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from consumer.monitor.contract import (
    MEASURES,
    EventFilter,
    MonitorStore,
    Range,
    RequestFilter,
    Scope,
    Span,
)
from schemas.errors import Fenced
from schemas.execution import Attempt, Execution, Reception
from tests.monitor import plain
from tests.monitor.conftest import Place, append
from tests.monitor.made_up import TOPIC
from tests.monitor.plain import NOW_US, Row

_US = 1_000_000
_HOUR_US = 3600 * _US


_SCOPES = [
    Scope(environment="production"),
    Scope(environment="staging"),
    Scope(environment="elsewhere"),
    Scope(environment="production", connection="acme-github-0"),
    Scope(environment="production", connection=""),
    Scope(environment="production", provider="stripe"),
    Scope(environment="production", provider="stripe", connection="acme-github-0"),
    Scope(environment="production", event_type="push"),
    Scope(environment="production", event_type="push", provider="github"),
    Scope(environment="production", event_type="push", connection="acme-github-0"),
    Scope(environment="production", group="hookline"),
    Scope(environment="production", group="another", connection="acme-github-0"),
]


@pytest.mark.parametrize("scope", _SCOPES, ids=lambda scope: str(scope)[6:])
def test_an_overview_is_what_the_rows_say(
    filled: MonitorStore, rows: list[Row], scope: Scope
) -> None:
    for hours in (1, 7, 30, 49):
        found = filled.overview(scope, Range(NOW_US - hours * _HOUR_US, NOW_US), last_week=False)
        assert found.total.counts == plain.counts(plain.in_scope(rows, scope, found.range))
        for bucket in found.buckets:
            within = Range(bucket.at_us, bucket.at_us + found.bucket_s * _US)
            some = plain.in_scope(rows, scope, within)
            assert bucket.counts == plain.counts(some)
            assert tuple(bucket.latencies) == MEASURES
            for measure, latency in bucket.latencies.items():
                exact = plain.values(some, measure, typed=scope.event_type is not None)
                assert plain.agrees(latency, exact), (measure, latency)


@pytest.mark.parametrize("scope", _SCOPES[:6], ids=lambda scope: str(scope)[6:])
def test_a_total_is_what_the_rows_say(filled: MonitorStore, rows: list[Row], scope: Scope) -> None:
    for length_us in (60 * _US, 3 * _HOUR_US, 47 * _HOUR_US):
        # A whole number of every grain that may be used.
        within = Range(NOW_US // _HOUR_US * _HOUR_US - length_us, NOW_US // _HOUR_US * _HOUR_US)
        some = plain.in_scope(rows, scope, within)
        total = filled.total(scope, within, measures=("end_to_end",))
        assert total.counts == plain.counts(some)
        exact = plain.values(some, "end_to_end", typed=False)
        assert plain.agrees(total.latencies["end_to_end"], exact)


def test_last_week_is_the_week_before_bucket_for_bucket(store: MonitorStore) -> None:
    rows = plain.some_rows(800, days=9.0)
    append(store, rows)
    for hours in (24, 24 * 8):
        found = store.overview(
            Scope(environment="production"), Range(NOW_US - hours * _HOUR_US, NOW_US)
        )
        assert found.last_week is not None
        assert found.last_week.bucket_s == found.bucket_s
        assert found.last_week.range == found.range.earlier(7 * 86_400)
        for bucket, before in zip(found.buckets, found.last_week.buckets, strict=True):
            assert bucket.at_us - before.at_us == 7 * 86_400 * _US
        within = found.last_week.range
        some = plain.in_scope(rows, Scope(environment="production"), within)
        assert found.last_week.total.counts == plain.counts(some)
        assert found.last_week.total.counts.events > 0


def test_connection_totals_add_up_to_the_overview(filled: MonitorStore, rows: list[Row]) -> None:
    within = Range(NOW_US // _HOUR_US * _HOUR_US - 40 * _HOUR_US, NOW_US // _HOUR_US * _HOUR_US)
    totals = filled.connection_totals("production", within)
    for total in totals:
        scope = Scope(environment="production", connection=total.connection)
        some = plain.in_scope(rows, scope, within)
        assert total.counts == plain.counts(some)
        assert {total.provider} == {row.provider for row in some}
        assert {total.tenant} == {row.tenant for row in some}
    everything = plain.in_scope(rows, Scope(environment="production"), within)
    assert {total.connection for total in totals} == {row.connection for row in everything}


def test_messages_are_counted_once(store: MonitorStore, rows: list[Row]) -> None:
    store.append(rows[:10], TOPIC, {0: Span(None, 5), 3: Span(None, 2)})
    assert store.offsets(TOPIC) == {0: 5, 3: 2}
    assert store.offsets("another.topic") == {}
    for spans in ({0: Span(None, 5)}, {0: Span(4, 9)}, {0: Span(5, 9), 3: Span(1, 9)}):
        with pytest.raises(Fenced, match="another monitor"):
            store.append(rows[:10], TOPIC, spans)
    assert store.offsets(TOPIC) == {0: 5, 3: 2}
    store.append(rows[10:20], TOPIC, {0: Span(5, 9)})
    total = store.overview(
        Scope(environment=rows[0].environment), Range(NOW_US - 48 * _HOUR_US, NOW_US)
    ).total
    assert total.counts == plain.counts(rows[:20])


def test_what_fails_half_way_leaves_nothing_and_the_next_batch_is_right(
    store: MonitorStore, rows: list[Row]
) -> None:
    # Its row can be written, and its sums not.
    broken = replace(rows[1], weight="no number")
    for _ in range(2):
        with pytest.raises(TypeError):
            store.append([rows[0], broken], TOPIC, {0: Span(None, 3)})
        assert store.offsets(TOPIC) == {}
    append(store, rows[:500])
    asked = Scope(environment="production"), Range(NOW_US - 49 * _HOUR_US, NOW_US)
    some = plain.in_scope(rows[:500], asked[0], asked[1])
    assert store.overview(*asked).total.counts == plain.counts(some)
    assert store.events(EventFilter(environment="production")).rows


def test_a_store_opened_again_goes_on(place: Place, rows: list[Row]) -> None:
    first = place.open()
    append(first, rows[:1000])
    offsets = first.offsets(TOPIC)
    first.close()
    second = place.open()
    assert second.offsets(TOPIC) == offsets
    append(second, rows[1000:])
    asked = Scope(environment="production"), Range(NOW_US - 49 * _HOUR_US, NOW_US)
    found = place.ask().overview(*asked)
    assert found.total.counts == plain.counts(plain.in_scope(rows, asked[0], found.range))


_FILTERS = [
    EventFilter(environment="production"),
    EventFilter(environment="staging"),
    EventFilter(environment="production", connection="acme-github-0"),
    EventFilter(environment="production", tenant="globex"),
    EventFilter(environment="production", provider="slack", resource_type="channel"),
    EventFilter(environment="production", event_type="push"),
    EventFilter(environment="production", event_type="issues.*"),
    EventFilter(environment="production", event_type="issues%"),
    EventFilter(environment="production", resource_id="1"),
    EventFilter(environment="production", resource_id="1", connection="acme-stripe-1"),
    EventFilter(environment="production", outcomes=("parked", "dead_lettered")),
    EventFilter(environment="production", outcomes=("applied", "duplicate")),
    EventFilter(environment="production", outcomes=("duplicate",), connection="acme-github-0"),
    EventFilter(environment="production", outcomes=("never heard of",)),
    EventFilter(environment="production", retried=True),
    EventFilter(environment="production", group="hookline"),
    EventFilter(environment="production", group="another"),
    EventFilter(environment="production", range=Range(NOW_US - 9 * _HOUR_US, NOW_US - _HOUR_US)),
    EventFilter(
        environment="production",
        provider="github",
        outcomes=("applied",),
        range=Range(NOW_US - 30 * _HOUR_US, NOW_US - _HOUR_US),
    ),
]


def test_searches_find_what_the_rows_say_page_by_page(
    filled: MonitorStore, rows: list[Row]
) -> None:
    events = [row for row in rows if isinstance(row, Execution)]
    filters = [*_FILTERS, EventFilter(environment="production", event_id=events[4].event_id)]
    for wanted in filters:
        found: list[Execution] = []
        after = ""
        while True:
            page = filled.events(wanted, after=after, limit=97)
            found += page.rows
            after = page.next
            if not after:
                break
            assert len(page.rows) == 97
        expected = plain.search(rows, wanted)
        assert [row.committed_at_us for row in found] == [r.committed_at_us for r in expected]
        by_place = {(row.partition, row.offset, row.environment): row for row in expected}
        assert {(r.partition, r.offset, r.environment): r for r in found} == by_place, wanted


def test_a_page_is_not_disturbed_by_what_comes_after_it(
    store: MonitorStore, rows: list[Row]
) -> None:
    append(store, rows[:1000])
    wanted = EventFilter(environment="production")
    page = store.events(wanted, limit=50)
    append(store, rows[1000:])
    following = store.events(wanted, after=page.next, limit=500)
    assert not {row.event_id for row in page.rows} & {row.event_id for row in following.rows}


@pytest.mark.parametrize("cursor", ["x", "1-2-3", "-", "1' OR 1=1", "1-"])
def test_a_cursor_of_nobody_is_refused(filled: MonitorStore, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        filled.events(EventFilter(environment="production"), after=cursor)


def test_requests_are_found(filled: MonitorStore, rows: list[Row]) -> None:
    requests = [r for r in rows if isinstance(r, Reception) and r.environment == "production"]
    # Of one time, the last one first.
    requests.reverse()
    requests.sort(key=lambda row: -row.received_at_us)
    for wanted, takes in (
        (RequestFilter(environment="production"), lambda row: True),
        (RequestFilter(environment="production", refused=True), lambda row: row.status >= 400),
        (RequestFilter(environment="production", connection=""), lambda row: not row.connection),
        (
            RequestFilter(environment="production", outcomes=("signature_refused",)),
            lambda row: row.outcome == "signature_refused",
        ),
        (RequestFilter(environment="production", tenant="acme"), lambda row: row.tenant == "acme"),
    ):
        found: list[Reception] = []
        page = filled.requests(wanted, limit=500)
        found += page.rows
        while page.next:
            page = filled.requests(wanted, after=page.next, limit=500)
            found += page.rows
        assert found == [row for row in requests if takes(row)]


def test_a_request_id_tells_the_whole_story(store: MonitorStore, rows: list[Row]) -> None:
    append(store, rows)
    row = next(r for r in rows if isinstance(r, Execution) and len(r.attempts) == 3)
    again = replace(
        row,
        group="another",
        outcome="applied",
        committed_at_us=row.committed_at_us + 5,
        reason="naïve ☃",
        was_parked=True,
        sampled=True,
        attempts=(
            Attempt(number=9, began_at_us=1, duration_ns=2, outcome="transient", error_type="X"),
        ),
    )
    first = store.offsets(TOPIC)[0]
    store.append([again], TOPIC, {0: Span(first, first + 1)})
    story = store.request(row.environment, row.request_id)
    assert story.executions == (row, again)
    assert story.receptions == tuple(
        r for r in rows if isinstance(r, Reception) and r.request_id == row.request_id
    )
    assert len(story.receptions) == 1
    other = "staging" if row.environment == "production" else "production"
    assert store.request(other, row.request_id).executions == ()
    assert store.request(row.environment, bytes(16)).receptions == ()


def test_the_names_that_occur_are_known(filled: MonitorStore, rows: list[Row]) -> None:
    known = filled.known("staging")
    mine = [row for row in rows if row.environment == "staging"]
    assert known.connections == tuple(sorted({row.connection for row in mine} - {""}))
    assert known.event_types == tuple(
        sorted({row.event_type for row in mine if isinstance(row, Execution)})
    )
    assert known.groups == ("hookline",)
    assert filled.known("elsewhere").connections == ()
