"""Every topic as data: its shape, who writes it and who reads it."""

from __future__ import annotations

from typing import Final

import msgspec

DAY_MS: Final = 86_400_000


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. `retention_ms` is -1 for a compacted one, which keeps the last of each key."""

    name: str
    partitions: int
    retention_ms: int
    cleanup: str
    max_message_bytes: int
    key: str
    value: str
    written_by: str
    read_by: str
    purpose: str
    #: Its records carry the time at which the broker had them, not when the client was asked.
    append_time: bool = False

    def settings(self) -> dict[str, str]:
        """The broker's topic settings that `hookline topics` creates it with and checks."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime" if self.append_time else "CreateTime",
        }


EVENTS: Final = Topic(
    name="hookline.events",
    partitions=12,
    retention_ms=7 * DAY_MS,
    cleanup="delete",
    max_message_bytes=4 * 1024 * 1024,
    key="resource key",
    value="Event, Avro single-object",
    written_by="gateway",
    read_by="consumer",
    purpose="every accepted webhook, in order per resource",
    # So that waiting in Kafka begins when it is there: publishing, and the spool, come before.
    append_time=True,
)

QUARANTINE: Final = Topic(
    name="hookline.quarantine",
    partitions=1,
    retention_ms=30 * DAY_MS,
    cleanup="delete",
    max_message_bytes=4 * 1024 * 1024,
    key="connection id",
    value="DeadLetter, Avro single-object",
    written_by="gateway",
    read_by="operators",
    purpose="authentic webhooks that their provider's rules could not read",
)

DEAD_LETTERS: Final = Topic(
    name="hookline.dead-letters",
    partitions=4,
    retention_ms=30 * DAY_MS,
    cleanup="delete",
    max_message_bytes=4 * 1024 * 1024,
    key="the event's own key",
    value="DeadLetter, Avro single-object",
    written_by="consumer",
    read_by="operators",
    purpose="events that a consumer group gave up on, with their reason; its store has them, too",
)

CONNECTIONS: Final = Topic(
    name="hookline.connections",
    # One, so that what is written last is last for everybody.
    partitions=1,
    retention_ms=-1,
    cleanup="compact",
    max_message_bytes=1024 * 1024,
    key="environment/connection; /access or /revoked[/secret] behind it",
    value="Connection, ConnectionAccess or Revocation, Avro single-object",
    written_by="operators, console",
    read_by="gateway",
    purpose="which connections there are; the last word on each is kept",
)

EXECUTIONS: Final = Topic(
    name="hookline.executions",
    partitions=4,
    retention_ms=2 * DAY_MS,
    cleanup="delete",
    max_message_bytes=4 * 1024 * 1024,
    key="none",
    value="Executions or Receptions, Avro single-object",
    written_by="gateway, consumer",
    read_by="monitor",
    purpose="how each request was taken and each event applied, with the time of every step",
    # One clock for all its writers: what is looked for by time is found.
    append_time=True,
)

TOKENS: Final = Topic(
    name="hookline.tokens",
    partitions=1,
    retention_ms=-1,
    cleanup="compact",
    max_message_bytes=1024 * 1024,
    key="environment/token id, with /revoked or /used",
    value="ApiToken, TokenRevocation or TokenUse, Avro single-object",
    written_by="operators, console",
    read_by="console",
    purpose="which API tokens there are, by digest; the last word on each is kept",
)

AUDIT: Final = Topic(
    name="hookline.audit",
    partitions=1,
    retention_ms=400 * DAY_MS,
    cleanup="delete",
    max_message_bytes=1024 * 1024,
    key="change id",
    value="Audit, Avro single-object",
    written_by="operators, console",
    read_by="operators",
    purpose="who changed what, when and from where: the intent, and how it ended",
)

CONNECT_SESSIONS: Final = Topic(
    name="hookline.connect-sessions",
    # One, so that of two that change a session at once the same one is first for everybody.
    partitions=1,
    # Half an hour is what a session lasts; who cleans up after one has two days for it.
    retention_ms=2 * DAY_MS,
    cleanup="compact,delete",
    max_message_bytes=1024 * 1024,
    key="environment/session id; environment/answers/digest",
    value="ConnectSession, ApiAnswer; Avro single-object",
    written_by="console, operators",
    read_by="console",
    purpose="customers on their way through the connect flow, the API's kept answers; no secret",
)

ALL: Final = (
    EVENTS,
    QUARANTINE,
    DEAD_LETTERS,
    CONNECTIONS,
    EXECUTIONS,
    TOKENS,
    AUDIT,
    CONNECT_SESSIONS,
)
