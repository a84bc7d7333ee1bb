"""The tail of the events topic, on a real broker."""

from __future__ import annotations

import asyncio
import threading
import time
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from producer.connect.arrivals import Arrivals
from schemas.event import HEADER_REQUEST_ID
from tests.connect.rig import until
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka


class Tail:
    """A topic of its own, and arrivals on it."""

    def __init__(self, broker: KafkaBroker) -> None:
        self.topic = broker.create_topic(
            f"tail-{uuid4().hex[:10]}", 3, message_timestamp_type="LogAppendTime"
        )
        self.arrivals = Arrivals(broker.bootstrap_servers, self.topic)
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    def put(self, key: str, number: int = 1) -> None:
        headers = [(HEADER_REQUEST_ID, f"{number:032x}".encode())]
        self._producer.produce(self.topic, b"x", key, headers=headers)
        self._producer.flush(10)

    async def wait(self, connection: str, since_us: int | None = None, for_s: float = 20.0) -> str:
        since_us = time.time_ns() // 1000 if since_us is None else since_us
        found = await self.arrivals.wait("acme", connection, since_us, for_s)
        return found.request_id[-2:] if found is not None else ""


@pytest.fixture
def tail(kafka: KafkaBroker) -> Tail:
    return Tail(kafka)


def threads() -> int:
    return sum(thread.name == "hookline-arrivals" for thread in threading.enumerate())


def test_an_event_is_seen_that_came_before_anybody_looked(tail: Tail) -> None:
    async def go() -> None:
        since_us = time.time_ns() // 1000
        tail.put("acme/shop/issue/1", 7)
        assert await tail.wait("shop", since_us) == "07"

    asyncio.run(go())


def test_only_the_events_of_this_connection_count(tail: Tail) -> None:
    async def go() -> None:
        waiting = asyncio.create_task(tail.wait("shop"))
        await until(lambda: tail.arrivals.active)
        for number, key in enumerate(
            ["acme/shop2/issue/1", "acme/sho/issue/1", "acm/shop/issue/1", "acme", "/", "acme/"]
        ):
            tail.put(key, number + 1)
        tail.put("acme/shop/issue/with/slashes", 9)
        assert await waiting == "09"

    asyncio.run(go())


def test_what_is_older_than_the_wait_does_not_count(tail: Tail) -> None:
    async def go() -> None:
        tail.put("acme/shop/issue/1")
        later_us = time.time_ns() // 1000 + 3_600_000_000
        assert await tail.wait("shop", later_us, for_s=1.5) == ""

    asyncio.run(go())


def test_one_consumer_serves_all_who_wait_and_ends_with_the_last(tail: Tail) -> None:
    async def go() -> None:
        before = threads()
        names = [f"shop-{number}" for number in range(20)]
        waiting = [asyncio.create_task(tail.wait(name)) for name in names]
        await until(lambda: tail.arrivals.active)
        assert threads() <= before + 1
        for number, name in enumerate(names):
            tail.put(f"acme/{name}/issue/1", number)
        assert await asyncio.gather(*waiting) == [f"{number:02x}" for number in range(20)]
        await until(lambda: not tail.arrivals.active)
        await until(lambda: threads() <= before)
        # And again, for the next one.
        since_us = time.time_ns() // 1000
        tail.put("acme/shop-1/issue/2", 33)
        assert await tail.wait("shop-1", since_us) in ("01", "21")

    asyncio.run(go())


def test_two_who_wait_for_the_same_connection_both_see_it(tail: Tail) -> None:
    async def go() -> None:
        both = [asyncio.create_task(tail.wait("shop")) for _ in range(2)]
        await until(lambda: tail.arrivals.active)
        tail.put("acme/shop/issue/1", 5)
        assert await asyncio.gather(*both) == ["05", "05"]

    asyncio.run(go())


def test_who_stops_waiting_is_forgotten(tail: Tail) -> None:
    async def go() -> None:
        waiting = asyncio.create_task(tail.wait("shop"))
        await until(lambda: tail.arrivals.active)
        waiting.cancel()
        await until(lambda: not tail.arrivals.active)

    asyncio.run(go())


def test_who_joins_late_sees_what_came_before_and_nobody_misses_what_comes(
    tail: Tail,
) -> None:
    async def go() -> None:
        first = asyncio.create_task(tail.wait("shop-first"))
        await until(lambda: tail.arrivals.active)
        since_us = time.time_ns() // 1000
        tail.put("acme/shop-late/issue/1", 7)
        await asyncio.sleep(1.0)
        # It has been read by then, for another.
        assert await tail.wait("shop-late", since_us) == "07"
        tail.put("acme/shop-first/issue/1", 9)
        assert await first == "09"

    asyncio.run(go())
