"""What librdkafka is told: the promises' part is fixed, the rest an operator may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from schemas.topics import EVENTS

_FIXED: Final = {
    # Promise P1 rests on these; a configuration that names them is refused before it comes here.
    "acks": "all",
    "enable.idempotence": True,
    # Java's default, so that other producers of the topic agree where a key goes.
    "partitioner": "murmur2_random",
}
#: With a spool: an event given up inside the client would let later ones of its key overtake it.
_FOR_EVER: Final = {"message.timeout.ms": 0, "message.send.max.retries": 2_147_483_647}


def client_settings(
    bootstrap_servers: str,
    linger_ms: float,
    max_in_flight_events: int,
    max_in_flight_bytes: int,
    properties: Mapping[str, Any],
    *,
    for_ever: bool,
) -> dict[str, Any]:
    """The producer's properties. `for_ever`: no event times out inside the client."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "client.id": "hookline-gateway",
        "linger.ms": linger_ms,
        "compression.type": "lz4",
        "message.max.bytes": EVENTS.max_message_bytes,
        # An event that Kafka has not taken by then was answered 503 long ago and will be sent
        # again; to keep it longer only fills memory.
        "message.timeout.ms": 30_000,
        # Our own bounds are reached first; these must only not be lower.
        "queue.buffering.max.messages": max_in_flight_events + 1,
        "queue.buffering.max.kbytes": 2 * max_in_flight_bytes // 1024 + 1,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 1_000,
        "topic.metadata.refresh.interval.ms": 30_000,
        **properties,
        **_FIXED,
        **(_FOR_EVER if for_ever else {}),
    }
