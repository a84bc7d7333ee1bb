"""Every metric's name and unit, in one place; OpenTelemetry adds `_total` where Prometheus does.

Labels come from closed sets and configured ids only: nothing that a sender chooses is a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Gateway
WEBHOOKS: Final = "hookline_webhooks"  # {connection, outcome}
WEBHOOK_SECONDS: Final = "hookline_webhook_duration_seconds"
SIGNATURE_VERIFIED: Final = "hookline_signature_verified"  # {connection, secret_name}
QUARANTINED: Final = "hookline_quarantined"  # {connection, reason}
PUBLISH_IN_FLIGHT: Final = "hookline_publish_in_flight"
PUBLISH_IN_FLIGHT_BYTES: Final = "hookline_publish_in_flight_bytes"
PUBLISH_FAILED: Final = "hookline_publish_failed"  # {reason}
CONNECTION_IN_FLIGHT_EVENTS: Final = "hookline_connection_in_flight_events"  # {connection}
CONNECTIONS: Final = "hookline_connections"  # {state}
CONNECTIONS_LAG_RECORDS: Final = "hookline_connections_lag_records"
CONNECTIONS_AGE_SECONDS: Final = "hookline_connections_age_seconds"
SECRET_BACKEND_SILENT_SECONDS: Final = "hookline_secret_backend_silent_seconds"  # {scheme}
#: When (Unix s) the last secret of a connection ends; none for one that does not end.
SECRETS_END_SECONDS: Final = "hookline_connection_secrets_end_timestamp_seconds"  # {connection}
SPOOL_EVENTS: Final = "hookline_spool_events"
SPOOL_BYTES: Final = "hookline_spool_bytes"
SPOOL_OLDEST_SECONDS: Final = "hookline_spool_oldest_seconds"
SPOOL_REFUSED_EVENTS: Final = "hookline_spool_refused_events"
SPOOL_CIRCUIT_OPEN: Final = "hookline_spool_circuit_open"
SPOOLED: Final = "hookline_spooled"
SPOOL_DRAINED: Final = "hookline_spool_drained"
SPOOL_POSSIBLE_DUPLICATES: Final = "hookline_spool_possible_duplicates"
SPOOL_OVERTAKEN: Final = "hookline_spool_overtaken"
WORKER_UP: Final = "hookline_gateway_worker_up"  # {worker}
WORKER_RESTARTS: Final = "hookline_gateway_worker_restarts"  # {worker}

# Consumer
EVENTS: Final = "hookline_events"  # {outcome}
EVENT_END_TO_END_SECONDS: Final = "hookline_event_end_to_end_seconds"
HANDLER_RETRIES: Final = "hookline_handler_retries"
COMMIT_SECONDS: Final = "hookline_commit_duration_seconds"
EVENTS_PER_COMMIT: Final = "hookline_events_per_commit"
LANES: Final = "hookline_lanes"
BUFFERED_EVENTS: Final = "hookline_buffered_events"
BUFFERED_BYTES: Final = "hookline_buffered_bytes"
LAG_EVENTS: Final = "hookline_lag_events"  # {partition}
OLDEST_UNFINISHED_SECONDS: Final = "hookline_oldest_unfinished_seconds"
#: The same without what is parked: how far behind the group is.
LAG_SECONDS: Final = "hookline_lag_seconds"
DEAD_LETTERS_KEPT: Final = "hookline_dead_letters_kept"
PARKED_KEYS: Final = "hookline_parked_keys"
PARKED_EVENTS: Final = "hookline_parked_events"
FENCED: Final = "hookline_fenced"

# Both
EXECUTIONS_DROPPED: Final = "hookline_executions_dropped"  # {writer, reason}

# Monitor
MONITOR_ROWS: Final = "hookline_monitor_rows"  # {kind}
MONITOR_SKIPPED: Final = "hookline_monitor_skipped"  # {reason}
MONITOR_APPEND_SECONDS: Final = "hookline_monitor_append_duration_seconds"
MONITOR_STORE_FAILED: Final = "hookline_monitor_store_failed"
MONITOR_FENCED: Final = "hookline_monitor_fenced"
MONITOR_FOLLOWER_FAILED: Final = "hookline_monitor_follower_failed"  # {follower}
MONITOR_LAG_MESSAGES: Final = "hookline_monitor_lag_messages"  # {partition}
CONNECTION_SILENT_SECONDS: Final = "hookline_connection_silent_seconds"  # {connection}
#: The longest pause of a connection in the last days; only of those that have had many.
CONNECTION_LONGEST_PAUSE_SECONDS: Final = "hookline_connection_longest_pause_seconds"
ALERTS: Final = "hookline_alerts"  # {alertname, severity, state}
ALERT_NOTIFICATIONS: Final = "hookline_alert_notifications"  # {notifier, result}
ALERT_SERIES: Final = "hookline_alert_series"
SCRAPES: Final = "hookline_scrapes"  # {job, result}

TAIL_ROWS: Final = "hookline_tail_rows"  # {result}
TAIL_SPANS: Final = "hookline_tail_spans"

# Probe
PROBES: Final = "hookline_probes"  # {connection, outcome}
PROBE_ROUND_TRIP_SECONDS: Final = "hookline_probe_round_trip_seconds"
PROBE_EFFECT_SECONDS: Final = "hookline_probe_effect_seconds"
#: Of the last answer: dns, connect, tls, network, and the server's own total.
PROBE_STEP_SECONDS: Final = "hookline_probe_step_seconds"  # {connection, step}
PROBE_SUCCESS_TIMESTAMP_SECONDS: Final = "hookline_probe_success_timestamp_seconds"  # {connection}

#: Upper bounds of each histogram's buckets, in the unit that its name ends in.
HISTOGRAM_BOUNDS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        WEBHOOK_SECONDS: (
            *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
            *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        ),
        # To an hour: after an outage this is the age of the backlog.
        EVENT_END_TO_END_SECONDS: (
            *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
            *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
        ),
        PROBE_ROUND_TRIP_SECONDS: (
            *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
            *(1.0, 2.5, 5.0, 10.0, 30.0),
        ),
        PROBE_EFFECT_SECONDS: (
            *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
            *(2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
        ),
        COMMIT_SECONDS: (
            *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
            *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
        ),
        MONITOR_APPEND_SECONDS: (
            *(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
            *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        ),
        EVENTS_PER_COMMIT: (
            *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
            *(100.0, 200.0, 500.0, 1000.0, 2000.0),
        ),
    }
)
