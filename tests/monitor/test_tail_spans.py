"""Spans made from rows: which rows, which spans, with which times and ids."""

from __future__ import annotations

import random

from msgspec.structs import replace

from consumer.monitor.tail_spans import (
    APPROXIMATE,
    SpanData,
    consumer_spans,
    gateway_spans,
    is_remarkable,
    is_remarkable_request,
    request_spans,
)
from schemas.execution import Attempt, Execution, Reception
from schemas.request_id import make, send_span_id, server_span_id

MS_US = 1_000
SLOW_NS = 5_000_000_000
AT_US = 1_764_000_000_000_000
RID = make(AT_US // 1000, random.Random(7).randbytes(10))
EVENT = Execution(
    request_id=RID,
    environment="test",
    tenant="acme",
    connection="acme-shop",
    provider="standard_webhooks",
    event_type="standard_webhooks.order.paid",
    event_id="msg_1",
    resource_type="order",
    resource_id="17",
    source="WEBHOOK",
    group="orders",
    instance="consumer-1:7",
    topic="hookline.events",
    partition=3,
    offset=41,
    outcome="applied",
    received_at_us=AT_US,
    in_kafka_at_us=AT_US + 4 * MS_US,
    polled_at_us=AT_US + 10 * MS_US,
    committed_at_us=AT_US + 900 * MS_US,
    read_ns=1_000_000,
    verify_ns=200_000,
    identify_ns=300_000,
    lane_ns=700_000_000,
    handler_ns=50_000_000,
    commit_ns=20_000_000,
)
REQUEST = Reception(
    request_id=RID,
    environment="test",
    connection="acme-shop",
    tenant="acme",
    provider="standard_webhooks",
    instance="gateway-1:7",
    outcome="accepted",
    status=200,
    received_at_us=AT_US,
    read_ns=1_000_000,
    verify_ns=200_000,
    identify_ns=300_000,
    encode_ns=100_000,
    publish_ns=6_000_000,
    total_ns=7_700_000,
    events=1,
    partition=3,
    offset=41,
)


def tries(count: int) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            number=number,
            began_at_us=AT_US + 100 * number * MS_US,
            duration_ns=30_000_000,
            outcome="transient",
            error_type="ConnectionError",
        )
        for number in range(1, count + 1)
    )


def process(spans: list[SpanData]) -> list[SpanData]:
    return [span for span in spans if span.name.startswith("process")]


def test_only_what_failed_or_was_slow_is_remarkable() -> None:
    assert not is_remarkable(EVENT, SLOW_NS)
    for outcome in ("duplicate", "stale", "refetched", "unhandled"):
        assert not is_remarkable(replace(EVENT, outcome=outcome), SLOW_NS)
    for outcome in ("parked", "dead_lettered", "poison", "something new"):
        assert is_remarkable(replace(EVENT, outcome=outcome), SLOW_NS)
    assert is_remarkable(replace(EVENT, failures=1), SLOW_NS)
    assert is_remarkable(replace(EVENT, was_parked=True), SLOW_NS)
    slow = replace(EVENT, committed_at_us=AT_US + SLOW_NS // 1000)
    assert is_remarkable(slow, SLOW_NS)
    assert not is_remarkable(slow, SLOW_NS + 1000)


def test_a_senders_mistakes_are_not_remarkable_and_our_own_are() -> None:
    assert not is_remarkable_request(REQUEST, SLOW_NS)
    assert not is_remarkable_request(replace(REQUEST, status=401), SLOW_NS)
    assert not is_remarkable_request(replace(REQUEST, status=429), SLOW_NS)
    assert is_remarkable_request(replace(REQUEST, status=503), SLOW_NS)
    assert is_remarkable_request(replace(REQUEST, total_ns=SLOW_NS), SLOW_NS)


def test_the_gateways_spans_have_the_gateways_times_and_the_ids_of_the_traceparent() -> None:
    server, send = request_spans(REQUEST, "hookline.events")
    assert (server.span_id, server.parent, server.kind) == (server_span_id(RID), None, "server")
    assert (send.span_id, send.parent, send.kind) == (
        send_span_id(RID),
        server_span_id(RID),
        "producer",
    )
    assert server.start_ns == AT_US * 1000 - 1_000_000
    assert server.end_ns - server.start_ns == REQUEST.total_ns
    assert send.start_ns == AT_US * 1000 + 600_000
    assert send.end_ns - send.start_ns == REQUEST.publish_ns
    assert server.start_ns <= send.start_ns <= send.end_ns <= server.end_ns
    assert send.attributes["messaging.kafka.offset"] == 41
    assert server.instance == send.instance == "gateway-1:7"
    assert not server.failed


def test_a_refused_request_has_no_send_span_and_a_spooled_one_no_offset() -> None:
    (server,) = request_spans(
        replace(REQUEST, status=503, outcome="unavailable", events=0), "hookline.events"
    )
    assert server.failed
    assert server.attributes["error.type"] == "unavailable"
    _, send = request_spans(replace(REQUEST, partition=-1, offset=-1), "hookline.events")
    assert send.attributes["hookline.spooled"] is True
    assert "messaging.kafka.offset" not in send.attributes


def test_each_failed_call_and_the_one_that_worked_is_a_span() -> None:
    row = replace(EVENT, failures=2, attempts=tries(2))
    first, second, last = process(list(consumer_spans(row)))
    assert [span.attributes["hookline.attempt"] for span in (first, second, last)] == [1, 2, 3]
    assert [span.failed for span in (first, second, last)] == [True, True, False]
    assert first.attributes["error.type"] == "ConnectionError"
    assert first.start_ns == (AT_US + 100 * MS_US) * 1000
    assert first.end_ns - first.start_ns == 30_000_000
    assert last.start_ns == row.polled_at_us * 1000 + row.lane_ns
    assert last.end_ns - last.start_ns == row.handler_ns
    assert first.links == ()
    assert (second.links, last.links) == ((first.span_id,), (second.span_id,))
    for span in (first, second, last):
        assert span.parent == send_span_id(RID)


def test_the_last_call_of_an_event_that_is_given_up_on_is_not_told_twice() -> None:
    row = replace(EVENT, outcome="dead_lettered", reason="permanent", failures=2, attempts=tries(2))
    spans = list(consumer_spans(row))
    assert len(process(spans)) == 2
    commit = spans[-1]
    assert commit.name == "commit hookline.events"
    assert commit.attributes["hookline.outcome"] == "dead_lettered"
    assert commit.attributes["hookline.reason"] == "permanent"
    assert commit.end_ns == row.committed_at_us * 1000
    assert commit.end_ns - commit.start_ns == row.commit_ns


def test_the_commit_begins_when_its_handler_in_the_same_transaction_has_ended() -> None:
    *_, call, commit = consumer_spans(replace(EVENT, commit_ns=800_000_000))
    assert commit.start_ns == call.end_ns < commit.end_ns


def test_a_duplicate_has_its_commit_alone() -> None:
    (commit,) = consumer_spans(replace(EVENT, outcome="duplicate", handler_ns=5))
    assert commit.kind == "client"


def test_the_same_row_makes_the_same_spans_and_another_place_makes_others() -> None:
    row = replace(EVENT, failures=2, attempts=tries(2))
    spans = list(consumer_spans(row))
    assert list(consumer_spans(replace(row))) == spans
    ids = {span.span_id for span in spans}
    assert len(ids) == len(spans) == 4
    for other in (
        replace(row, group="mail"),
        replace(row, partition=4),
        replace(row, offset=42),
        replace(row, topic="others"),
    ):
        assert not ids & {span.span_id for span in consumer_spans(other)}


def test_a_second_round_after_parking_has_spans_of_its_own() -> None:
    parked = replace(EVENT, outcome="parked", failures=2, attempts=tries(2), handler_ns=0)
    later = [replace(t, began_at_us=t.began_at_us + 60_000_000) for t in tries(1)]
    back = replace(
        EVENT,
        was_parked=True,
        failures=1,
        attempts=tuple(later),
        committed_at_us=AT_US + 61_000_000,
    )
    first = {span.span_id for span in consumer_spans(parked)}
    assert not first & {span.span_id for span in consumer_spans(back)}


def test_without_its_request_a_trace_has_the_gateways_spans_as_near_as_its_row_says() -> None:
    server, send = gateway_spans(EVENT)
    assert server.span_id == server_span_id(RID)
    assert send.parent == server.span_id
    assert server.start_ns == AT_US * 1000 - EVENT.read_ns
    assert server.end_ns == send.end_ns == EVENT.in_kafka_at_us * 1000
    assert send.start_ns == AT_US * 1000 + 500_000
    assert server.attributes[APPROXIMATE] is True
    # A broker's clock that is behind ends nothing before its beginning.
    _, send = gateway_spans(replace(EVENT, in_kafka_at_us=AT_US - 1_000_000))
    assert send.start_ns == send.end_ns
    # It had them when it was parked.
    assert gateway_spans(replace(EVENT, was_parked=True, in_kafka_at_us=0)) == []
