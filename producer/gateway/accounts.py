"""What the log file, the spans and `Server-Timing` tell of a request: ids and times, no content."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from producer.gateway.connections import Entry
from producer.gateway.envelopes import Arrival
from producer.gateway.outbox import Position
from producer.providers.provider import Identity, Part, Unreadable

log = logging.getLogger("hookline.gateway")

_STEPS: Final = ("read", "verify", "identify", "encode", "publish")


def server_timing(marks: tuple[int, ...]) -> str:
    """The header of a request's six marks: began, read, verified, identified, encoded, ended."""
    began_ns, read_ns, verified_ns, identified_ns, encoded_ns, ended_ns = marks
    # A third less than an f-string with four formats costs.
    return "verify;dur=%.3f, encode;dur=%.3f, publish;dur=%.3f, total;dur=%.3f" % (  # noqa: UP031
        (verified_ns - read_ns) / 1e6,
        (encoded_ns - identified_ns) / 1e6,
        (ended_ns - encoded_ns) / 1e6,
        (ended_ns - began_ns) / 1e6,
    )


def about(entry: Entry) -> dict[str, str | int]:
    """A span's attributes about the connection."""
    connection = entry.connection
    return {
        "hookline.connection": connection.id,
        "hookline.tenant": connection.tenant,
        "hookline.provider": connection.provider,
    }


def about_parts(parts: Sequence[Part]) -> dict[str, str | int]:
    """A span's attributes about the events of a request."""
    if len(parts) != 1:
        return {"hookline.events": len(parts)}
    only = parts[0].identity
    if isinstance(only, Unreadable):
        return {"hookline.quarantine.reason": only.reason}
    return {"hookline.event_type": only.event_type}


def accepted(
    key: str, identity: Identity, arrival: Arrival, position: Position, marks: tuple[int, ...]
) -> None:
    """The DEBUG line of an event that is safe."""
    steps = zip(_STEPS, marks, marks[1:], strict=False)
    log.debug(
        "accepted",
        extra={
            "request_id": arrival.request.request_id.hex(),
            "data": {
                "connection": arrival.entry.connection.id,
                "event_id": identity.event_id,
                "event_type": identity.event_type,
                "resource_key": key,
                "secret_name": arrival.secret_name,
                "partition": position.partition,
                "offset": position.offset,
                "steps": {f"{step}_ms": round((to - of) / 1e6, 3) for step, of, to in steps}
                | {"total_ms": round((marks[-1] - marks[0]) / 1e6, 3)},
            },
        },
    )


def quarantined(why: Unreadable, arrival: Arrival, position: Position) -> None:
    """The WARNING line of an event that a person has to look at."""
    log.warning(
        "quarantined: authentic, but the provider's rules cannot read it",
        extra={
            "request_id": arrival.request.request_id.hex(),
            "data": {
                "connection": arrival.entry.connection.id,
                "reason": why.reason,
                "detail": why.detail,
                "partition": position.partition,
                "offset": position.offset,
            },
        },
    )
