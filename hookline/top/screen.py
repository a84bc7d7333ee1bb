"""The figures as text: the same for a live terminal and for a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hookline.top.figures import ConsumerFigures, Figures, GatewayFigures, Latency

_CONNECTIONS: Final = 12
_QUIET: Final = 0.005


def screen(figures: Figures, targets: Mapping[str, str], head: str = "") -> Group:
    """Everything; `targets` says of each address how it is, empty for well."""
    parts: list[Text | Table] = []
    if head:
        parts.append(Text(head, style="dim"))
    for url, trouble in targets.items():
        if trouble:
            parts.append(Text(f"{url} does not answer: {trouble}", style="red"))
    parts += _gateway(figures.gateway) if figures.gateway else []
    parts += _consumer(figures.consumer) if figures.consumer else []
    if figures.gateway is None and figures.consumer is None:
        parts.append(Text("no gateway and no consumer answers; --target names others"))
    return Group(*parts)


def _gateway(of: GatewayFigures) -> list[Text | Table]:
    table = Table(box=None, show_header=False, pad_edge=False)
    _line(table, "GATEWAY", f"{_rate(of.requests)} webhooks/s", _outcomes(of.by_outcome))
    _line(table, "", f"answered {_latency(of.answered)}", "")
    _line(
        table,
        "",
        f"in flight {of.in_flight_events:,.0f} events, {_bytes(of.in_flight_bytes)}",
        f"spool {of.spool_events:,.0f} events, oldest {_seconds(of.spool_oldest_s)}"
        if of.spool_in_use or of.spool_events
        else "spool empty",
        "red" if of.spool_in_use else "",
    )
    parts: list[Text | Table] = [table]
    if of.connections:
        rows = Table(box=None, header_style="dim", pad_edge=False)
        rows.add_column("connection", min_width=24)
        rows.add_column("accepted/s", justify="right")
        rows.add_column("refused/s", justify="right")
        for item in of.connections[:_CONNECTIONS]:
            rows.add_row(
                Text(item.connection),
                _rate(item.accepted),
                Text(_rate(item.refused), style="red" if item.refused > _QUIET else ""),
            )
        parts.append(rows)
        if len(of.connections) > _CONNECTIONS:
            parts.append(Text(f"… and {len(of.connections) - _CONNECTIONS} more", style="dim"))
    return parts


def _consumer(of: ConsumerFigures) -> list[Text | Table]:
    table = Table(box=None, show_header=False, pad_edge=False)
    _line(table, "CONSUMER", f"{_rate(of.events)} events/s", _outcomes(of.by_outcome))
    _line(table, "", f"end to end {_latency(of.end_to_end)}", f"commit {_latency(of.commit)}")
    _line(
        table,
        "",
        f"lag {of.lag_events:,.0f} events, oldest {_seconds(of.oldest_s)}",
        f"lanes {of.lanes:,.0f}, buffered {of.buffered_events:,.0f} events, "
        f"{_bytes(of.buffered_bytes)}",
    )
    _line(
        table,
        "",
        f"retries {_rate(of.retries)}/s",
        f"parked events {of.parked_events:,.0f}, of keys {of.parked_keys:,.0f}",
        "yellow" if of.parked_keys else "",
    )
    style = "yellow" if of.dead_letters else ""
    _line(table, "", "", f"dead letters {of.dead_letters:,.0f}", style)
    return [table]


def _line(table: Table, name: str, first: str, second: str, style: str = "") -> None:
    table.add_row(Text(name, style="bold"), Text(first), Text(second, style=style))


def _outcomes(rates: Mapping[str, float]) -> str:
    return "  ".join(
        f"{outcome} {_rate(rate)}"
        for outcome, rate in sorted(rates.items(), key=lambda item: -item[1])
        if rate > _QUIET
    )


def _latency(latency: Latency) -> str:
    return f"p50 {_seconds(latency.p50_s)}  p99 {_seconds(latency.p99_s)}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:,.1f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
