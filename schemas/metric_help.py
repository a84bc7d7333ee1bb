"""What each metric says, in a sentence; Prometheus shows it as HELP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas import metrics as names

HELP: Final[Mapping[str, str]] = MappingProxyType(
    {
        names.WEBHOOKS: "Requests to /webhooks by connection and how they were answered.",
        names.WEBHOOK_SECONDS: "From a request's first byte to its answer.",
        names.SIGNATURE_VERIFIED: "Requests that a secret has verified, by its name.",
        names.QUARANTINED: "Authentic requests that could not be read, by reason.",
        names.PUBLISH_IN_FLIGHT: "Events that Kafka has not acknowledged yet.",
        names.PUBLISH_IN_FLIGHT_BYTES: "The size of the events that are not acknowledged yet.",
        names.PUBLISH_FAILED: "Events that Kafka did not take, by reason.",
        names.CONNECTION_IN_FLIGHT_EVENTS: "Events of a connection that are not safe yet.",
        names.CONNECTIONS: "Connections that this gateway knows, by state.",
        names.CONNECTIONS_LAG_RECORDS: "Records of the connections topic that are not read yet.",
        names.CONNECTIONS_AGE_SECONDS: "How old the knowledge of the connections is.",
        names.SECRET_BACKEND_SILENT_SECONDS: "For how long a secret backend has not answered.",
        names.SECRETS_END_SECONDS: "When the last secret of a connection ends, in Unix time.",
        names.SPOOL_EVENTS: "Events that wait in the spool.",
        names.SPOOL_BYTES: "The size of the events that wait in the spool.",
        names.SPOOL_OLDEST_SECONDS: "For how long the oldest event has been in the spool.",
        names.SPOOL_REFUSED_EVENTS: "Events that Kafka refused for good, set aside in the spool.",
        names.SPOOL_CIRCUIT_OPEN: "1 while events go to the spool instead of Kafka.",
        names.SPOOLED: "Events that went to the spool.",
        names.SPOOL_DRAINED: "Events that went from the spool to Kafka.",
        names.SPOOL_POSSIBLE_DUPLICATES: "Spooled events that may be in the log twice, at most.",
        names.SPOOL_OVERTAKEN: "Spooled events that a later one of their key overtook: 0.",
        names.WORKER_UP: "1 while a worker of the gateway serves.",
        names.WORKER_RESTARTS: "How often a worker of the gateway was started again.",
        names.EVENTS: "Events of a consumer by outcome.",
        names.EVENT_END_TO_END_SECONDS: "From the gateway to its commit: the oldest event of each.",
        names.HANDLER_RETRIES: "Failed attempts of handlers that are tried again, by outcome.",
        names.COMMIT_SECONDS: "How long a group commit takes.",
        names.EVENTS_PER_COMMIT: "How many events a group commit holds.",
        names.LANES: "Resources with events in flight.",
        names.BUFFERED_EVENTS: "Events in a consumer's memory.",
        names.BUFFERED_BYTES: "The size of the events in a consumer's memory.",
        names.LAG_EVENTS: "Events of an assigned partition that are not done.",
        names.OLDEST_UNFINISHED_SECONDS: "How long the oldest event that is not done has waited.",
        names.LAG_SECONDS: "The same without what is parked: how far behind the group is.",
        names.DEAD_LETTERS_KEPT: "Dead letters in the consumer's store.",
        names.PARKED_KEYS: "Resources whose events are parked.",
        names.PARKED_EVENTS: "Events that are parked.",
        names.FENCED: "Commits refused because another owner has the partition.",
        names.EXECUTIONS_DROPPED: "Rows of the execution log that were lost, by writer and reason.",
        names.MONITOR_ROWS: "Rows of the execution log that the monitor has taken in, by kind.",
        names.MONITOR_SKIPPED: "Messages of the execution log that could not be read, by reason.",
        names.MONITOR_APPEND_SECONDS: "How long the monitor's store takes for a batch.",
        names.MONITOR_STORE_FAILED: "Batches that the monitor's store did not take at once.",
        names.MONITOR_FENCED: "Batches that another monitor had written.",
        names.MONITOR_FOLLOWER_FAILED: "Batches that a follower of the monitor failed at.",
        names.MONITOR_LAG_MESSAGES: "Messages of the execution log that are not taken in yet.",
        names.CONNECTION_SILENT_SECONDS: "For how long nothing has come by a connection.",
        names.CONNECTION_LONGEST_PAUSE_SECONDS: "A connection's longest pause in its last days.",
        names.ALERTS: "Alerts by name, severity and state.",
        names.ALERT_NOTIFICATIONS: "Messages about alerts by notifier and result.",
        names.ALERT_SERIES: "Series that the evaluator of the alerts keeps.",
        names.SCRAPES: "Pages of metrics that the monitor has read, by job and result.",
        names.TAIL_ROWS: "Rows that deserve a trace of their own, by what came of them.",
        names.TAIL_SPANS: "Spans made from the execution log.",
        names.PROBES: "Probes by connection and outcome.",
        names.PROBE_ROUND_TRIP_SECONDS: "A probe's way to its answer, with the network.",
        names.PROBE_EFFECT_SECONDS: "From sending a probe to its effect.",
        names.PROBE_STEP_SECONDS: "The steps of the last probe that was answered.",
        names.PROBE_SUCCESS_TIMESTAMP_SECONDS: "When a probe last succeeded, in Unix time.",
    }
)
