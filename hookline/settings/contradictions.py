"""Settings that are right each by itself and make no sense together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from hookline.settings.model import Settings

Location = tuple[str | int, ...]

_POLL_INTERVAL: Final = "max.poll.interval.ms"
#: librdkafka's own.
_POLL_INTERVAL_MS: Final = 300_000


class Contradiction(NamedTuple):
    """What is wrong with the first of `places`, because of the second."""

    places: tuple[Location, Location]
    message: str


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """All of them."""
    consumer = settings.consumer
    at: Location = ("consumer",)
    for name, part in (("retry", consumer.retry), ("parking", consumer.parking)):
        if part.initial_ms > part.max_ms:
            yield Contradiction(
                ((*at, name, "initial_ms"), (*at, name, "max_ms")),
                f"consumer.{name}.initial_ms ({part.initial_ms}) is above "
                f"consumer.{name}.max_ms ({part.max_ms}): the first wait is the shortest",
            )
    if consumer.handler_timeout_ms >= consumer.stall_after_ms:
        yield Contradiction(
            ((*at, "handler_timeout_ms"), (*at, "stall_after_ms")),
            f"consumer.handler_timeout_ms ({consumer.handler_timeout_ms}) is not below "
            f"consumer.stall_after_ms ({consumer.stall_after_ms}): /livez would fail, and the "
            "process be killed, while a handler still has time",
        )
    for n, connection in enumerate(settings.connections):
        for k, secret in enumerate(connection.secrets):
            if secret.environment not in (None, settings.environment):
                yield Contradiction(
                    (("connections", n, "secrets", k, "environment"), ("environment",)),
                    f"secret {secret.name} of connection {connection.id} belongs to environment "
                    f"{secret.environment}, these settings are of {settings.environment}: name a "
                    f"secret of {settings.environment}",
                )
    for n, target in enumerate(consumer.forward):
        if target.timeout_ms > consumer.handler_timeout_ms:
            yield Contradiction(
                ((*at, "forward", n, "timeout_ms"), (*at, "handler_timeout_ms")),
                f"consumer.forward[{n}].timeout_ms ({target.timeout_ms}) is above "
                f"consumer.handler_timeout_ms ({consumer.handler_timeout_ms}), which cuts the "
                "call off before",
            )
    written = str(settings.kafka.properties.get(_POLL_INTERVAL, ""))
    poll_ms = int(written) if written.isdecimal() else _POLL_INTERVAL_MS
    if consumer.drain_deadline_ms >= poll_ms:
        yield Contradiction(
            ((*at, "drain_deadline_ms"), ("kafka", "properties", _POLL_INTERVAL)),
            f"consumer.drain_deadline_ms ({consumer.drain_deadline_ms}) is not below Kafka's "
            f"{_POLL_INTERVAL} ({poll_ms}): the group would give the partitions away in the middle "
            "of a drain",
        )
