"""What is shown of the pages: one value for each number on the screen; pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from hookline.top.pages import Windows
from schemas import metrics as names


class Latency(msgspec.Struct, frozen=True):
    """In seconds over the window; None where nothing was measured."""

    p50_s: float | None
    p99_s: float | None


class ConnectionRates(msgspec.Struct, frozen=True, kw_only=True):
    """One connection's requests a second."""

    connection: str
    accepted: float
    refused: float


class GatewayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All gateways together."""

    requests: float
    by_outcome: Mapping[str, float]
    answered: Latency
    in_flight_events: float
    in_flight_bytes: float
    spool_events: float
    spool_oldest_s: float
    spool_in_use: bool
    #: The busiest first.
    connections: tuple[ConnectionRates, ...]


class ConsumerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All replicas together."""

    events: float
    by_outcome: Mapping[str, float]
    retries: float
    end_to_end: Latency
    commit: Latency
    lag_events: float
    oldest_s: float
    lanes: float
    buffered_events: float
    buffered_bytes: float
    parked_keys: float
    parked_events: float
    dead_letters: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The whole screen; None where no process of the kind answers."""

    gateway: GatewayFigures | None
    consumer: ConsumerFigures | None


def figures(windows: Windows) -> Figures:
    """What the pages say now."""
    return Figures(gateway=_gateway(windows), consumer=_consumer(windows))


def _gateway(windows: Windows) -> GatewayFigures | None:
    if not windows.total(names.PUBLISH_IN_FLIGHT):
        return None
    rates = windows.rate(f"{names.WEBHOOKS}_total", "connection", "outcome")
    by_outcome: dict[str, float] = {}
    connections: dict[str, list[float]] = {}
    for (connection, outcome), rate in rates.items():
        by_outcome[outcome] = by_outcome.get(outcome, 0.0) + rate
        pair = connections.setdefault(connection, [0.0, 0.0])
        pair[outcome not in ("accepted", "quarantined", "handshake")] += rate
    busiest = sorted(connections.items(), key=lambda item: (-sum(item[1]), item[0]))
    return GatewayFigures(
        requests=sum(by_outcome.values()),
        by_outcome=by_outcome,
        answered=_latency(windows, names.WEBHOOK_SECONDS),
        in_flight_events=_sum(windows, names.PUBLISH_IN_FLIGHT),
        in_flight_bytes=_sum(windows, names.PUBLISH_IN_FLIGHT_BYTES),
        spool_events=_sum(windows, names.SPOOL_EVENTS),
        spool_oldest_s=windows.largest(names.SPOOL_OLDEST_SECONDS),
        spool_in_use=windows.largest(names.SPOOL_CIRCUIT_OPEN) > 0,
        connections=tuple(
            ConnectionRates(connection=name or "(none known)", accepted=accepted, refused=refused)
            for name, (accepted, refused) in busiest
        ),
    )


def _consumer(windows: Windows) -> ConsumerFigures | None:
    if not windows.total(names.LANES):
        return None
    rates = windows.rate(f"{names.EVENTS}_total", "outcome")
    by_outcome = {outcome: rate for (outcome,), rate in rates.items()}
    return ConsumerFigures(
        events=sum(by_outcome.values()),
        by_outcome=by_outcome,
        retries=sum(windows.rate(f"{names.HANDLER_RETRIES}_total").values()),
        end_to_end=_latency(windows, names.EVENT_END_TO_END_SECONDS),
        commit=_latency(windows, names.COMMIT_SECONDS),
        lag_events=_sum(windows, names.LAG_EVENTS),
        oldest_s=windows.largest(names.OLDEST_UNFINISHED_SECONDS),
        lanes=_sum(windows, names.LANES),
        buffered_events=_sum(windows, names.BUFFERED_EVENTS),
        buffered_bytes=_sum(windows, names.BUFFERED_BYTES),
        parked_keys=_sum(windows, names.PARKED_KEYS),
        parked_events=_sum(windows, names.PARKED_EVENTS),
        # Of the store, which all replicas share.
        dead_letters=windows.largest(names.DEAD_LETTERS_KEPT),
    )


def _sum(windows: Windows, name: str) -> float:
    return sum(windows.total(name).values())


def _latency(windows: Windows, name: str) -> Latency:
    return Latency(windows.quantile(name, 0.5), windows.quantile(name, 0.99))
