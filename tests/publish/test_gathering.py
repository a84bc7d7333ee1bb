"""Events wait for each other only under load, and never pass each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from producer.publish.gathering import Gathering
from tests.publish.virtual_loop import VirtualLoop


class Client:
    """What was handed over, and when."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_hold_s: float = 0.01) -> None:
        self.loop = loop
        self.sent: list[tuple[Any, float]] = []
        self.gathering = Gathering(loop, self._produce, max_hold_s)
        self.began_s = loop.time()

    def _produce(self, pending: Any) -> None:
        self.sent.append((pending, round(self.loop.time() - self.began_s, 6)))

    def put(self, *items: Any) -> None:
        for item in items:
            self.gathering.put(item)

    def busy(self, events_per_s: float) -> None:
        """The last look was a second ago, and so many have come since."""
        self.gathering._count = round(events_per_s)
        self.gathering.look(1.0)


@pytest.fixture
def loop() -> Any:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_at_rest_an_event_is_sent_at_once(loop: VirtualLoop) -> None:
    client = Client(loop)
    client.busy(100)
    client.put("a", "b")
    assert client.sent == [("a", 0.0), ("b", 0.0)]


@pytest.mark.parametrize(("events_per_s", "held_s"), [(800, 0.002), (4_000, 0.01), (90_000, 0.01)])
def test_under_load_events_wait_for_each_other_in_proportion(
    loop: VirtualLoop, events_per_s: float, held_s: float
) -> None:
    client = Client(loop)
    client.busy(events_per_s)
    client.put("a", "b")
    assert client.sent == []
    loop.run_until_complete(asyncio.sleep(1))
    assert client.sent == [("a", held_s), ("b", held_s)]


def test_what_comes_when_the_load_is_over_does_not_pass_what_waits(loop: VirtualLoop) -> None:
    client = Client(loop)
    client.busy(2_000)
    client.put("a")
    client.busy(0)
    client.put("b")
    loop.run_until_complete(asyncio.sleep(1))
    client.put("c")
    assert [item for item, _ in client.sent] == ["a", "b", "c"]


def test_what_is_put_in_while_it_is_released_comes_behind(loop: VirtualLoop) -> None:
    client = Client(loop)
    client.busy(2_000)
    produce = client.gathering._produce
    client.gathering._produce = lambda item: (  # type: ignore[assignment]
        produce(item),
        item == "a" and client.put("c"),
    )
    client.put("a", "b")
    client.gathering.release()
    assert [item for item, _ in client.sent] == ["a", "b", "c"]


def test_it_can_be_switched_off(loop: VirtualLoop) -> None:
    client = Client(loop, max_hold_s=0.0)
    client.busy(90_000)
    client.put("a")
    assert client.sent == [("a", 0.0)]
