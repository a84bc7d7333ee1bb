"""The Kafka publisher on a mock cluster that fails on demand."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from producer.publish.publisher import Acknowledged, KafkaPublisher
from schemas.errors import NotAcknowledged, Overloaded, PublisherClosed
from tests.parts.mock_cluster import INIT_PRODUCER_ID, PRODUCE, MockCluster
from tests.publish.publishing import publishing, run, until, wake_ups

#: What Kafka's own test of Java's murmur2 (UtilsTest.testMurmur2) expects.
JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
UNSAFE = {"enable.idempotence": False, "acks": 1, "partitioner": "random"}


def test_the_answer_says_where_the_log_holds_the_event(cluster: MockCluster, topic: str) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            position = await publisher.publish(topic, b"key", b"value", [("name", "text")])
            consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "g"})
            consumer.assign([TopicPartition(topic, position.partition, position.offset)])
            message = consumer.poll(10)
            consumer.close()
            assert message is not None
            assert (message.key(), message.value()) == (b"key", b"value")
            assert message.headers() == [("name", b"text")]

    run(test())


@pytest.mark.parametrize("properties", [{}, UNSAFE], ids=["default", "configured otherwise"])
def test_a_key_goes_to_the_partition_that_java_chooses(
    cluster: MockCluster, topic: str, properties: dict[str, object]
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic, properties=properties) as publisher:
            for key, hashed in JAVA_MURMUR2.items():
                position = await publisher.publish(topic, key, b"", [])
                assert position.partition == (hashed & 0x7FFFFFFF) % 12

    run(test())


@pytest.mark.parametrize("properties", [{}, UNSAFE], ids=["default", "configured otherwise"])
def test_it_is_idempotent_and_waits_for_all_replicas_whatever_is_configured(
    cluster: MockCluster, topic: str, properties: dict[str, object]
) -> None:
    async def test() -> None:
        cluster.watch_requests()
        async with publishing(cluster.bootstrap_servers, topic, properties=properties) as publisher:
            await publisher.publish(topic, b"k", b"v", [])
        # Only an idempotent producer asks for an id, and librdkafka makes none with fewer acks.
        assert cluster.requests()[INIT_PRODUCER_ID] == 1
        with pytest.raises(KafkaException, match="acks"):
            Producer({"enable.idempotence": True, "acks": 1})

    run(test())


def test_a_passing_fault_of_the_broker_costs_a_retry_and_not_the_event(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            cluster.fail_next(PRODUCE, [KafkaError.NOT_ENOUGH_REPLICAS] * 2)
            cluster.watch_requests()
            assert (await publisher.publish(topic, b"k", b"v", [])).offset == 0
            assert cluster.requests()[PRODUCE] == 3
            assert not publisher.failures

    run(test())


def test_beyond_the_bound_on_events_it_is_overloaded_until_there_is_room(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(
            cluster.bootstrap_servers, topic, max_in_flight_events=5, ack_deadline_s=20.0
        ) as publisher:
            cluster.set_delay_ms(300)
            sent = [publisher.publish(topic, b"k", b"value", []) for _ in range(5)]
            assert (publisher.in_flight, publisher.in_flight_bytes) == (5, 25)
            with pytest.raises(Overloaded, match="5 events"):
                publisher.publish(topic, b"k", b"v", [])
            assert publisher.failures == {"overloaded": 1}
            await asyncio.gather(*sent)
            assert (publisher.in_flight, publisher.in_flight_bytes) == (0, 0)
            assert publisher.ready()[0], "to be at a bound is not to be without Kafka"
            await publisher.publish(topic, b"k", b"v", [])

    run(test())


def test_beyond_the_bound_on_bytes_it_is_overloaded(cluster: MockCluster, topic: str) -> None:
    async def test() -> None:
        async with publishing(
            cluster.bootstrap_servers, topic, max_in_flight_bytes=10_000, ack_deadline_s=20.0
        ) as publisher:
            cluster.set_delay_ms(300)
            first = publisher.publish(topic, b"k", bytes(9_999), [])
            with pytest.raises(Overloaded, match="9999 bytes"):
                publisher.publish(topic, b"k", bytes(2), [])
            second = publisher.publish(topic, b"k", bytes(1), [])
            await asyncio.gather(first, second)
            assert publisher.in_flight_bytes == 0

    run(test())


def test_without_an_acknowledgement_in_time_it_is_not_acknowledged_and_kafka_is_away(
    cluster: MockCluster, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic, ack_deadline_s=0.3) as publisher:
            cluster.set_delay_ms(1_500)
            began_s = time.monotonic()
            with pytest.raises(NotAcknowledged, match=r"within 0.3 s"):
                await publisher.publish(topic, b"k", b"v", [])
            assert 0.3 <= time.monotonic() - began_s < 0.9
            assert publisher.ready() == (False, "no acknowledgement within 0.3 s")
            assert publisher.live()[0], "a new process would not help"
            # From here on at once: nobody waits for the deadline again.
            began_s = time.monotonic()
            with pytest.raises(NotAcknowledged, match="not available"):
                publisher.publish(topic, b"k", b"v", [])
            assert time.monotonic() - began_s < 0.1
            assert publisher.in_flight == 1, "it is in flight still, and counts against the bound"
            cluster.set_delay_ms(0)
            await until(lambda: publisher.ready()[0])
            await until(lambda: not publisher.in_flight)
            await publisher.publish(topic, b"k", b"v", [])
            assert publisher.failures == {
                "ack_deadline": 1,
                "unavailable": 1,
                "late_acknowledgement": 1,
            }

    with caplog.at_level(logging.INFO, "hookline.publish"):
        run(test())
    told = [record.message for record in caplog.records if record.name == "hookline.publish"]
    assert told == [
        "Kafka is available",
        "Kafka does not take events: webhooks are answered 503 until it does",
        "Kafka is available",
    ]


def test_a_broker_that_goes_away_and_comes_back_is_noticed_both_times(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic, ack_deadline_s=0.3) as publisher:
            await sent_again_until_acknowledged(publisher, topic)
            cluster.down()
            with pytest.raises(NotAcknowledged):
                await publisher.publish(topic, b"k", b"meanwhile", [])
            assert not publisher.ready()[0]
            cluster.up()
            await until(lambda: publisher.ready()[0])
            assert (await sent_again_until_acknowledged(publisher, topic)).offset >= 1

    run(test())


async def sent_again_until_acknowledged(publisher: KafkaPublisher, topic: str) -> Acknowledged:
    """As a provider sends: the first events wait half a second for the producer's id."""
    while True:
        try:
            return await publisher.publish(topic, b"k", b"v", [])
        except NotAcknowledged:
            await asyncio.sleep(0.05)


def test_a_broker_that_goes_away_while_nothing_is_sent_is_noticed(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            cluster.down()
            await until(lambda: not publisher.ready()[0])

    run(test())


def test_without_kafka_it_is_never_ready_and_says_why(cluster: MockCluster, topic: str) -> None:
    async def test() -> None:
        cluster.down()
        async with publishing(cluster.bootstrap_servers, topic, ready=False) as publisher:
            assert publisher.ready() == (False, "Kafka has not answered yet")
            with pytest.raises(NotAcknowledged, match="has not answered yet"):
                publisher.publish(topic, b"k", b"v", [])
            await until(lambda: "no answer from Kafka" in publisher.ready()[1])
            cluster.up()
            await until(lambda: publisher.ready()[0])

    run(test())


def test_a_missing_topic_is_named_with_the_next_step(cluster: MockCluster, topic: str) -> None:
    async def test() -> None:
        cluster.create_topic("quarantine")
        cluster.set_topic_error("quarantine", KafkaError.UNKNOWN_TOPIC_OR_PART)
        async with publishing(
            cluster.bootstrap_servers, topic, "quarantine", ready=False
        ) as publisher:
            said = "topic quarantine is not there: run `hookline topics apply`"
            await until(lambda: publisher.ready() == (False, said))
            cluster.set_topic_error("quarantine")
            await until(lambda: publisher.ready()[0])

    run(test())


def test_one_partition_without_a_leader_is_enough_not_to_be_ready(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        cluster.set_leader(topic, 7, -1)
        async with publishing(cluster.bootstrap_servers, topic, ready=False) as publisher:
            said = f"topic {topic} has a partition without a leader"
            await until(lambda: publisher.ready() == (False, said))
            cluster.set_leader(topic, 7)
            await until(lambda: publisher.ready()[0])

    run(test())


def test_reports_wake_the_loop_once_for_a_batch(cluster: MockCluster, topic: str) -> None:
    events = 5_000

    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic, linger_ms=5) as publisher:
            batches, before = publisher.batches, wake_ups()
            sent = [
                publisher.publish(topic, b"%d" % number, b"value", []) for number in range(events)
            ]
            positions = await asyncio.gather(*sent)
            batches, woken = publisher.batches - batches, wake_ups() - before
            assert len(set(positions)) == events
            print(f"{events} events, {batches} batches of reports, {woken} wake-ups of the loop")
            assert 1 <= batches <= events / 50
            assert woken <= events / 5

    run(test())


def test_an_idle_publisher_lets_the_loop_sleep(cluster: MockCluster, topic: str) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            await publisher.publish(topic, b"k", b"v", [])
            await asyncio.sleep(0.05)
            before = wake_ups()
            await asyncio.sleep(0.5)
            # The sweep, ten times a second.
            assert wake_ups() - before <= 20

    run(test())


def test_events_of_one_key_are_in_the_log_in_the_order_of_their_calls(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            cluster.fail_next(PRODUCE, [KafkaError.NOT_LEADER_FOR_PARTITION, 0, 0] * 3)
            sent = []
            for number in range(200):
                sent.append(publisher.publish(topic, b"key", b"%d" % number, []))
                if number % 20 == 0:
                    await asyncio.sleep(0.002)
            positions = await asyncio.gather(*sent)
            assert [position.offset for position in positions] == list(range(200))
            assert len({position.partition for position in positions}) == 1

    run(test())


def test_a_close_waits_for_what_is_in_flight_and_takes_nothing_new(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            cluster.set_delay_ms(200)
            sent = publisher.publish(topic, b"k", b"v", [])
            closing = asyncio.create_task(publisher.close(5))
            await asyncio.sleep(0)
            with pytest.raises(PublisherClosed):
                publisher.publish(topic, b"k", b"v", [])
            assert publisher.ready() == (False, "stopping")
            assert await closing
            assert isinstance(sent.result(), Acknowledged)

    run(test())


def test_a_close_that_waited_long_enough_leaves_nobody_waiting(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic, ack_deadline_s=20) as publisher:
            cluster.down()
            sent = publisher.publish(topic, b"k", b"v", [])
            began_s = time.monotonic()
            assert not await publisher.close(0.3)
            assert time.monotonic() - began_s < 1
            with pytest.raises(NotAcknowledged, match="stopped before Kafka answered"):
                await sent

    run(test())


def test_a_sender_that_no_longer_waits_disturbs_nothing(cluster: MockCluster, topic: str) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            cluster.set_delay_ms(100)
            publisher.publish(topic, b"k", b"v", []).cancel()
            await publisher.publish(topic, b"k", b"v", [])
            await until(lambda: not publisher.in_flight)
            assert publisher.in_flight_bytes == 0

    run(test())


def test_an_event_that_is_too_large_is_refused_and_leaves_no_trace(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        async with publishing(cluster.bootstrap_servers, topic) as publisher:
            with pytest.raises(NotAcknowledged, match="Kafka did not take it"):
                await publisher.publish(topic, b"k", bytes(5_000_000), [])
            assert (publisher.in_flight, publisher.in_flight_bytes) == (0, 0)
            await publisher.publish(topic, b"k", b"v", [])

    run(test())


def test_an_error_that_kafka_calls_fatal_is_told_once_and_ends_its_liveness(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        told: list[str] = []
        async with publishing(
            cluster.bootstrap_servers, topic, ack_deadline_s=1, fatal=told.append
        ) as publisher:
            await publisher.publish(topic, b"k", b"v", [])
            cluster.fail_next(PRODUCE, [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER])
            with pytest.raises(NotAcknowledged):
                await publisher.publish(topic, b"k", b"v", [])
            await until(lambda: told)
            assert len(told) == 1
            assert publisher.live() == (False, told[0])
            assert publisher.ready() == (False, told[0])
            with pytest.raises(NotAcknowledged):
                publisher.publish(topic, b"k", b"v", [])

    run(test())


def test_a_publisher_whose_timer_stands_still_is_not_alive(
    cluster: MockCluster, topic: str
) -> None:
    async def test() -> None:
        now_s = 0.0
        async with publishing(
            cluster.bootstrap_servers, topic, ready=False, clock_s=lambda: now_s
        ) as publisher:
            await asyncio.sleep(0.15)
            assert publisher.live() == (True, "")
            now_s = 10.5
            assert publisher.live() == (False, "the publisher stands still: its timer has not run")
            await asyncio.sleep(0.15)
            assert publisher.live() == (True, "")

    run(test())
