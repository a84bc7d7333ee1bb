"""The numbers that say whether a connection may send more: a bucket, and what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credentials.key_ring import Key, KeyRing
from hookline.settings.limits import LimitSettings
from producer.gateway import answers
from producer.gateway.answers import Answer
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.limits import ConnectionLimits, Limits, Usage
from producer.gateway.receiver import Receiver
from producer.gateway.taken import Taken
from producer.gateway.tracing import GatewayTracing
from producer.providers.registry import build
from schemas.connection import Connection, SecretReference
from schemas.errors import PublishError
from tests.gateway.test_vendors import Position, Sink, body_of
from tests.providers.http_request import RepeatableHeaders

SECOND_NS = 1_000_000_000
RATES = st.sampled_from([0.01, 0.5, 1.0, 3.0, 8.0, 1000.0, 30_000.0, 1_000_000.0])
STEPS_NS = st.lists(
    st.one_of(st.integers(0, 3 * SECOND_NS), st.integers(0, 1000), st.just(0)), max_size=200
)


def retry_after_s(usage: Usage, now_ns: int) -> int:
    """0 if it may send; takes the token."""
    refusal = usage.over(now_ns)
    if refusal is None:
        return 0
    assert (refusal.status, refusal.code) == (429, "rate_limited")
    return int(dict(refusal.headers)["retry-after"])


@given(RATES, st.integers(1, 50), STEPS_NS, st.integers(0, 10**18))
def test_it_takes_just_what_a_bucket_of_tokens_would(
    rate_per_s: float, burst: int, steps_ns: list[int], now_ns: int
) -> None:
    usage = Usage(Limits(rate_per_s=rate_per_s, burst=burst))
    interval_ns = round(SECOND_NS / rate_per_s)
    tokens, then_ns = Fraction(burst), now_ns
    for step_ns in steps_ns:
        now_ns += step_ns
        tokens = min(Fraction(burst), tokens + Fraction(now_ns - then_ns, interval_ns))
        then_ns = now_ns
        taken = retry_after_s(usage, now_ns) == 0
        assert taken == (tokens >= 1)
        tokens -= taken


@given(RATES, st.integers(1, 20), st.integers(0, 40), st.integers(0, 2 * SECOND_NS))
def test_who_waits_as_told_is_taken_and_the_wait_is_no_second_too_long(
    rate_per_s: float, burst: int, refused: int, later_ns: int
) -> None:
    usage = Usage(Limits(rate_per_s=rate_per_s, burst=burst))
    for _ in range(burst):
        assert retry_after_s(usage, 0) == 0
    for _ in range(refused):
        # Being refused costs nothing.
        retry_after_s(usage, 0)
    wait_s = retry_after_s(usage, later_ns)
    if wait_s:
        assert wait_s >= 1
        if wait_s > 1:
            assert retry_after_s(usage, later_ns + (wait_s - 1) * SECOND_NS) == 1
        assert retry_after_s(usage, later_ns + wait_s * SECOND_NS) == 0


def test_without_a_burst_a_second_is_the_burst() -> None:
    usage = Usage(Limits(rate_per_s=8))
    assert [retry_after_s(usage, 0) for _ in range(10)] == [0] * 8 + [1] * 2
    slow = Usage(Limits(rate_per_s=0.01))
    assert [retry_after_s(slow, 0) for _ in range(2)] == [0, 100]


@pytest.mark.parametrize(
    ("limits", "events", "size_bytes"),
    [(Limits(max_in_flight_events=3), 3, 0), (Limits(max_in_flight_bytes=3), 0, 3)],
    ids=["events", "bytes"],
)
def test_what_is_in_flight_bounds_it_until_it_is_safe(
    limits: Limits, events: int, size_bytes: int
) -> None:
    usage = Usage(limits)
    usage.events, usage.size_bytes = max(0, events - 1), max(0, size_bytes - 1)
    assert usage.over(0) is None
    usage.events, usage.size_bytes = events, size_bytes
    assert usage.over(0) is answers.TOO_MANY
    usage.events = usage.size_bytes = 0
    assert usage.over(0) is None


def test_too_much_in_flight_takes_no_token() -> None:
    usage = Usage(Limits(rate_per_s=1, burst=1, max_in_flight_events=1))
    usage.events = 1
    assert usage.over(0) is answers.TOO_MANY
    usage.events = 0
    assert usage.over(0) is None


def test_without_limits_nothing_is_over() -> None:
    usage = Usage(Limits())
    usage.events = usage.size_bytes = 10**12
    assert all(usage.over(0) is None for _ in range(10_000))


def test_each_connection_has_its_own_numbers_and_those_that_are_gone_have_none() -> None:
    limits = ConnectionLimits(Limits(rate_per_s=1, burst=1), {"b": Limits(rate_per_s=1, burst=2)})
    assert [limits.usage("a").over(0) is None for _ in range(3)] == [True, False, False]
    assert [limits.usage("b").over(0) is None for _ in range(3)] == [True, True, False]
    old = limits.usage("a")
    old.events = 2
    limits.usage("b").events = 0
    assert limits.in_flight() == {"a": 2}
    limits.forget("a")
    limits.forget("never there")
    assert len(limits) == 1
    assert limits.in_flight() == {}
    # What it had in flight ends on its own numbers, not on those of its successor.
    old.events -= 2
    assert limits.usage("a") is not old
    assert limits.usage("a").events == 0


def test_an_override_says_only_what_is_other() -> None:
    settings = LimitSettings.model_validate(
        {
            "rate_per_s": 100,
            "burst": 300,
            "overrides": {
                "more": {"rate_per_s": 500},
                "free": {"rate_per_s": None, "max_in_flight_events": None},
                "bursts": {"burst": 7},
            },
        }
    )
    made = settings.limits()
    assert made is not None
    common = Limits(
        rate_per_s=100, burst=300, max_in_flight_events=10_000, max_in_flight_bytes=33_554_432
    )
    assert made.limits_of("another") == common
    # The burst was meant for the other rate.
    assert made.limits_of("more") == Limits(
        rate_per_s=500, max_in_flight_events=10_000, max_in_flight_bytes=33_554_432
    )
    assert made.limits_of("free") == Limits(max_in_flight_bytes=33_554_432)
    assert made.limits_of("bursts").burst == 7


def test_unless_it_is_said_otherwise_one_connection_has_at_most_half_of_the_publisher_s_room() -> (
    None
):
    def of(settings: LimitSettings, name: str = "a") -> tuple[int | None, int | None]:
        made = settings.limits(publish_events=3_000, publish_bytes=4_194_304)
        assert made is not None
        limits = made.limits_of(name)
        return limits.max_in_flight_events, limits.max_in_flight_bytes

    assert of(LimitSettings()) == (1_500, 2_097_152)
    given = {"max_in_flight_events": 2_000, "overrides": {"b": {"max_in_flight_bytes": 3_000_000}}}
    assert of(LimitSettings.model_validate(given)) == (2_000, 2_097_152)
    assert of(LimitSettings.model_validate(given), "b") == (2_000, 3_000_000)
    one = LimitSettings().limits(publish_events=1, publish_bytes=4_194_304)
    assert one is not None
    assert one.limits_of("a").max_in_flight_events == 1


def test_all_limits_off_is_no_limits_at_all() -> None:
    off = {"max_in_flight_events": None, "max_in_flight_bytes": None}
    assert LimitSettings.model_validate(off).limits() is None
    one = {**off, "overrides": {"a": {"rate_per_s": 1}}}
    assert LimitSettings.model_validate(one).limits() is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"burst": 5},
        {"overrides": {"a": {"burst": 5}}},
        {"rate_per_s": 1, "overrides": {"a": {"rate_per_s": None, "burst": 5}}},
        {"rate_per_s": 0},
        {"rate_per_s": 0.001},
        {"rate_per_s": float("nan")},
        {"rate_per_s": float("inf")},
        {"overrides": {"A/b": {}}},
        {"max_in_flight_events": 0},
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"burst|rate_per_s|overrides|max_in_flight"):
        LimitSettings.model_validate(wrong)


# The receiver, with acknowledgements that come as the test says.


EVENTS = {
    ("microsoft_graph", "three_notifications.json"): 3,
    ("microsoft_graph", "message.created.json"): 1,
    ("shopify", "orders.create.json"): 1,
}


def sending(
    sink: Sink, limits: ConnectionLimits, provider_name: str, payload: str
) -> Callable[[], Answer | Taken]:
    """A receiver that gets the same request again and again."""
    reference = SecretReference(name="2026-11", ref="env:X")
    provider = build(provider_name, {})
    key = provider.load_key("s")
    ring = KeyRing([(reference, Key("2026-11", key))])
    connection = Connection(
        id="c", tenant="t", provider=provider_name, environment="test", secrets=(reference,)
    )
    receiver = Receiver(
        environment="test",
        connections=ConnectionTable("test", [Entry(connection, provider, ring)]),
        sink=sink,
        events_topic="events",
        quarantine_topic="quarantine",
        tracing=GatewayTracing(0),
        metrics=GatewayMetrics(sink),
        limits=limits,
    )
    sent = provider.outgoing(
        body_of(provider_name, payload), key, event_id="e", event_type="orders/create", now_s=0
    )
    headers = RepeatableHeaders(sent.headers.items())
    return lambda: receiver.receive("c", headers, sent.body, 0)


@pytest.mark.parametrize("request_of", EVENTS, ids=str)
@pytest.mark.parametrize("error", [None, PublishError("lost"), ZeroDivisionError()], ids=str)
def test_whatever_becomes_of_an_event_it_is_in_flight_no_more(
    request_of: tuple[str, str], error: Exception | None
) -> None:
    async def run() -> None:
        events = EVENTS[request_of]
        sink, limits = Sink(), ConnectionLimits(Limits(max_in_flight_events=events))
        usage = limits.usage("c")
        send = sending(sink, limits, *request_of)
        taken = send()
        assert not isinstance(taken, Answer)
        assert usage.events == events
        assert usage.size_bytes > 0
        refused = send()
        assert isinstance(refused, Answer)
        assert refused.status == 429
        assert usage.events == events
        await asyncio.sleep(0)
        for future in sink.futures:
            if error is None:
                future.set_result(Position())
            else:
                future.set_exception(error)
        with contextlib.suppress(ZeroDivisionError):
            assert (await answer_of(taken)).status == (200 if error is None else 503)
        assert (usage.events, usage.size_bytes) == (0, 0)

    asyncio.run(run())


@pytest.mark.parametrize("request_of", EVENTS, ids=str)
def test_an_event_that_the_publisher_has_no_room_for_is_in_flight_no_more(
    request_of: tuple[str, str],
) -> None:
    async def run() -> None:
        limits = ConnectionLimits(Limits(max_in_flight_events=1))
        send = sending(Sink(full_at=0), limits, *request_of)
        for _ in range(3):
            assert (await answer_of(send())).status == 503
        assert (limits.usage("c").events, limits.usage("c").size_bytes) == (0, 0)

    asyncio.run(run())


async def answer_of(taken: Answer | Taken) -> Answer:
    if isinstance(taken, Answer):
        return taken
    await asyncio.wait([taken.future])
    return taken.answer()
