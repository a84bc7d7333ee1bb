"""What is on each dashboard. A query names metrics as /metrics shows them; a test asks each of a
real Prometheus that scraped a real run.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Unit = Literal["short", "reqps", "s", "bytes", "percentunit", "ops"]
_RATE: Final = "[$__rate_interval]"
_ERRORS: Final = 'outcome=~"unavailable|overloaded|internal|not_served"'
_TAKEN: Final = (
    'outcome=~"accepted|quarantined|handshake|unavailable|overloaded|internal|not_served"'
)
_UNPROVEN: Final = 'outcome=~"signature_.*|timestamp_.*|no_active_secret|handshake_refused"'


class Query(NamedTuple):
    """One PromQL query and what its lines are called."""

    promql: str
    legend: str = ""


class Panel(NamedTuple):
    """One panel; `stat` shows the last value, `graph` a line for each series."""

    title: str
    queries: tuple[Query, ...]
    unit: Unit = "short"
    kind: Literal["graph", "stat"] = "graph"
    about: str = ""


class Board(NamedTuple):
    """One dashboard. With `by_connection` it is of those that are chosen at its top."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    by_connection: bool = False


def _quantiles(metric: str) -> tuple[Query, ...]:
    return tuple(
        Query(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{_RATE})))", name)
        for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def _rate(metric: str, by: str = "", where: str = "") -> str:
    selected = f"{metric}{{{where}}}" if where else metric
    return f"sum {f'by ({by}) ' if by else ''}(rate({selected}{_RATE}))"


def _errors_of(over: str) -> str:
    part = f"sum(rate(hookline_webhooks_total{{{_ERRORS}}}[{over}]))"
    return f"{part} / sum(rate(hookline_webhooks_total{{{_TAKEN}}}[{over}]))"


def _late(over: str) -> str:
    name = "hookline_event_end_to_end_seconds"
    return f'1 - sum(rate({name}_bucket{{le="60.0"}}[{over}])) / sum(rate({name}_count[{over}]))'


_WEBHOOKS: Final = Panel(
    "Webhooks", (Query(_rate("hookline_webhooks_total", "outcome"), "{{outcome}}"),), "reqps"
)
_EVENTS: Final = Panel(
    "Events", (Query(_rate("hookline_events_total", "outcome"), "{{outcome}}"),), "ops"
)
_LATENCY: Final = Panel(
    "From the webhook to its effect", _quantiles("hookline_event_end_to_end_seconds"), "s"
)
_LAG: Final = Panel(
    "How far behind", (Query("max(hookline_lag_seconds)", "oldest that is not applied"),), "s"
)
_PARKED: Final = Panel(
    "Parked and dead",
    (
        Query("sum(hookline_parked_keys)", "parked keys"),
        Query("sum(hookline_parked_events)", "parked events"),
        Query("max(hookline_dead_letters_kept)", "dead letters"),
    ),
)

BOARDS: Final = (
    Board(
        "overview",
        "Hookline: overview",
        (
            Panel("Taken", (Query(_rate("hookline_webhooks_total", "", _TAKEN)),), "reqps", "stat"),
            Panel("Answered 5xx", (Query(_errors_of("$__rate_interval")),), "percentunit", "stat"),
            Panel("Behind", (Query("max(hookline_lag_seconds)"),), "s", "stat"),
            Panel("Parked keys", (Query("sum(hookline_parked_keys)"),), "short", "stat"),
            Panel("Processes that answer", (
                Query('sum(up{job=~"hookline.*"})'),), "short", "stat"),
            _WEBHOOKS,
            _EVENTS,
            Panel("Answer", _quantiles("hookline_webhook_duration_seconds"), "s"),
            _LATENCY,
            _LAG,
            _PARKED,
        ),
    ),
    Board(
        "gateway",
        "Hookline: gateway",
        (
            _WEBHOOKS,
            Panel("Answer", _quantiles("hookline_webhook_duration_seconds"), "s"),
            Panel("Not verified", (
                Query(_rate("hookline_webhooks_total", "outcome", _UNPROVEN), "{{outcome}}"),
            ), "reqps"),
            Panel("Way to Kafka", (
                Query("sum by (instance) (hookline_publish_in_flight)", "{{instance}}"),
            )),
            Panel("Bytes on their way", (
                Query("sum by (instance) (hookline_publish_in_flight_bytes)", "{{instance}}"),
            ), "bytes"),
            Panel("Spool", (
                Query("sum by (instance) (hookline_spool_events)", "{{instance}}"),
            )),
            Panel("Spool in use", (
                Query("max by (instance) (hookline_spool_circuit_open)", "{{instance}}"),
            )),
            Panel("Oldest in the spool", (
                Query("max by (instance) (hookline_spool_oldest_seconds)", "{{instance}}"),
            ), "s"),
            Panel("Connections", (
                Query("max by (state) (hookline_connections)", "{{state}}"),
            )),
            Panel("Connections known to be up to date", (
                Query("max by (instance) (hookline_connections_age_seconds)", "{{instance}}"),
            ), "s"),
            Panel("CPU", (
                Query(
                    "sum by (instance) (rate(process_cpu_seconds_total"
                    f'{{job=~"hookline.*"}}{_RATE}))',
                    "{{instance}}",
                ),
            )),
            Panel("Memory", (
                Query('process_resident_memory_bytes{job=~"hookline.*"}', "{{instance}}"),
            ), "bytes"),
        ),
    ),
    Board(
        "consumer",
        "Hookline: consumer",
        (
            _EVENTS,
            _LATENCY,
            _LAG,
            Panel("Events that wait", (
                Query("sum by (partition) (hookline_lag_events)", "partition {{partition}}"),
            )),
            Panel("Failed calls of handlers", (
                Query(_rate("hookline_handler_retries_total", "outcome"), "{{outcome}}"),
            ), "ops"),
            _PARKED,
            Panel("Commit", _quantiles("hookline_commit_duration_seconds"), "s"),
            Panel("Events in a commit", _quantiles("hookline_events_per_commit")),
            Panel("In memory", (
                Query("sum(hookline_buffered_events)", "events"),
                Query("sum(hookline_lanes)", "lanes"),
            )),
            Panel("Bytes in memory", (Query("sum(hookline_buffered_bytes)"),), "bytes"),
        ),
    ),
    Board(
        "connection",
        "Hookline: connection",
        (
            Panel("Webhooks", (
                Query(
                    _rate("hookline_webhooks_total", "connection, outcome",
                          'connection=~"$connection"'),
                    "{{connection}} {{outcome}}",
                ),
            ), "reqps"),
            Panel("Which secret verifies", (
                Query(
                    _rate("hookline_signature_verified_total", "connection, secret_name",
                          'connection=~"$connection"'),
                    "{{connection}} {{secret_name}}",
                ),
            ), "reqps"),
            Panel("Share that is not verified", (
                Query(
                    _rate("hookline_webhooks_total", "connection",
                          f'connection=~"$connection", {_UNPROVEN}')
                    + " / "
                    + _rate("hookline_webhooks_total", "connection", 'connection=~"$connection"'),
                    "{{connection}}",
                ),
            ), "percentunit"),
            Panel("Silent for", (
                Query(
                    'max by (connection) (hookline_connection_silent_seconds{connection=~'
                    '"$connection"})',
                    "{{connection}}",
                ),
            ), "s", about="From the monitor."),
            Panel("Its last secret ends in", (
                Query(
                    "min by (connection) (hookline_connection_secrets_end_timestamp_seconds{"
                    'connection=~"$connection"}) - time()',
                    "{{connection}}",
                ),
            ), "s", about="Only of connections whose secrets all end."),
        ),
        by_connection=True,
    ),
    Board(
        "slo",
        "Hookline: SLO",
        (
            Panel("Receiving: answered 5xx, of 0.1 %", tuple(
                Query(_errors_of(over), over) for over in ("5m", "1h", "6h", "3d")
            ), "percentunit"),
            Panel("Receiving: how fast its budget goes (1: just used up in 30 days)", (
                Query(f"({_errors_of('1h')}) / 0.001", "1h"),
                Query(f"({_errors_of('6h')}) / 0.001", "6h"),
            )),
            Panel("Freshness: later than a minute, of 1 %", tuple(
                Query(_late(over), over) for over in ("5m", "1h", "6h", "3d")
            ), "percentunit"),
            Panel("Freshness: how fast its budget goes", (
                Query(f"({_late('1h')}) / 0.01", "1h"),
                Query(f"({_late('6h')}) / 0.01", "6h"),
            )),
            Panel("Alerts", (
                Query("sum by (alertname, state) (hookline_alerts)", "{{alertname}} {{state}}"),
            ), about="As the monitor sees them."),
        ),
    ),
)  # fmt: skip
