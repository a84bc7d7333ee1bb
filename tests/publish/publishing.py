"""A publisher on a Kafka, ready to publish, in an event loop that counts its wake-ups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from producer.publish.publisher import KafkaPublisher


class CountingLoop(asyncio.SelectorEventLoop):
    """`wake_ups`: how often it has come back from waiting."""

    wake_ups = 0

    def _run_once(self) -> None:
        self.wake_ups += 1
        super()._run_once()  # type: ignore[misc]


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop that counts."""
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(asyncio.wait_for(test, 60))


def wake_ups() -> int:
    """The running loop's count."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    return loop.wake_ups


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait for it; TimeoutError when it does not come."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  it is a fact of another thread or process
            await asyncio.sleep(0.005)


@asynccontextmanager
async def publishing(
    bootstrap_servers: str, *topics: str, ready: bool = True, **settings: Any
) -> AsyncIterator[KafkaPublisher]:
    """A publisher to these topics, closed in the end."""
    publisher = KafkaPublisher(
        bootstrap_servers=bootstrap_servers,
        topics=topics,
        **{"linger_ms": 0, **settings},
    )
    try:
        if ready:
            await until(lambda: publisher.ready()[0])
        yield publisher
    finally:
        await publisher.close(0.5)
