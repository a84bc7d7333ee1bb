"""Every metric's name and unit, in one place; OpenTelemetry adds `_total` where Prometheus does."""

from __future__ import annotations

from typing import Final

# Gateway
WEBHOOKS: Final = "hookline_webhooks"  # {connection, outcome}
WEBHOOK_SECONDS: Final = "hookline_webhook_duration_seconds"  # {outcome}
SIGNATURE_VERIFIED: Final = "hookline_signature_verified"  # {connection, secret_name}
QUARANTINED: Final = "hookline_quarantined"  # {connection, reason}
PUBLISH_IN_FLIGHT: Final = "hookline_publish_in_flight"
PUBLISH_IN_FLIGHT_BYTES: Final = "hookline_publish_in_flight_bytes"
PUBLISH_FAILED: Final = "hookline_publish_failed"  # {reason}

# Consumer
EVENTS: Final = "hookline_events"  # {outcome}
EVENT_END_TO_END_SECONDS: Final = "hookline_event_end_to_end_seconds"
HANDLER_RETRIES: Final = "hookline_handler_retries"
COMMIT_SECONDS: Final = "hookline_commit_duration_seconds"
EVENTS_PER_COMMIT: Final = "hookline_events_per_commit"
LANES: Final = "hookline_lanes"
BUFFERED_EVENTS: Final = "hookline_buffered_events"
BUFFERED_BYTES: Final = "hookline_buffered_bytes"
FENCED: Final = "hookline_fenced"
