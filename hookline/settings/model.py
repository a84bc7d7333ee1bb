"""The settings as models: what `hookline.yaml` may hold, with its bounds and descriptions."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from credentials.reference import parse_reference
from credentials.resolver import Resolver
from hookline.settings.addresses import secret_in_query
from hookline.settings.connect import ConnectSettings
from hookline.settings.console import AuditSettings, ConsoleSettings
from hookline.settings.credentials import CredentialSettings
from hookline.settings.handlers import ForwardSettings, UpsertSettings
from hookline.settings.limits import LimitSettings
from hookline.settings.monitor import MonitorSettings
from hookline.settings.probe import ProbeSettings
from hookline.settings.telemetry import TelemetrySettings
from producer.providers.registry import PROVIDERS
from schemas import topics
from schemas.connection import Connection, ConnectionState, SecretReference
from schemas.errors import SecretError

SLUG: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG)]
TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Listen = Annotated[str, StringConstraints(pattern=r"^\S*:\d{1,5}$")]
_SCHEMED: Final = re.compile(r"(env|file|vault|aws-sm|azure-kv|sealed):")
# librdkafka properties that hold a secret: only as a reference.
SECRET_PROPERTIES: Final = frozenset(
    {
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.username",
    }
)
_OURS: Final = {
    "acks": "Hookline answers 200 only when all in-sync replicas have the event",
    "request.required.acks": "Hookline answers 200 only when all in-sync replicas have the event",
    "enable.idempotence": "without it, retries of the client would break the order",
    "partitioner": "all producers of a topic must agree where a key goes",
    "enable.auto.commit": "the store's progress is the authority",
    "enable.auto.offset.store": "the store's progress is the authority",
    "group.id": "write it at consumer.group",
    "bootstrap.servers": "write it at kafka.bootstrap_servers",
    "metadata.broker.list": "write it at kafka.bootstrap_servers",
    "isolation.level": "events of an aborted transaction never happened",
    "auto.offset.reset": "the store says where to start",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(_Model):
    """How to reach Kafka."""

    bootstrap_servers: str = Field("localhost:9092", min_length=1, description="host:port, …")
    properties: dict[str, str | int | float | bool] = Field(
        {}, description="librdkafka's own properties; one that holds a secret as a reference."
    )

    @field_validator("properties")
    @classmethod
    def _may_be_set(cls, properties: dict[str, Any]) -> dict[str, Any]:
        for name, value in properties.items():
            if name in _OURS:
                raise ValueError(f"{name} may not be set: {_OURS[name]}")
            if name in SECRET_PROPERTIES and name != "sasl.username":
                _check_reference(str(value))
        return properties

    def resolved_properties(self, resolver: Resolver) -> dict[str, Any]:
        """The properties with their secrets in place of the references."""
        return {
            name: resolver.resolve(str(value)).reveal()
            if name in SECRET_PROPERTIES and self.is_reference(value)
            else value
            for name, value in self.properties.items()
        }

    @staticmethod
    def is_reference(value: object) -> bool:
        """Whether a property that may hold a secret names one; sasl.username may be plain."""
        return _SCHEMED.match(str(value)) is not None


class SecretSettings(_Model):
    """One signing secret of a connection."""

    name: Slug = Field(description="What metrics and logs call it, such as 2026-11.")
    ref: str = Field(description="Where it is, such as env:NAME; docs/secrets.md.")
    not_before: datetime | None = Field(None, description="From when on it counts.")
    not_after: datetime | None = Field(None, description="Until when it counts.")
    environment: Slug | None = Field(
        None, description="The only environment that may use it; another refuses it."
    )

    @field_validator("ref")
    @classmethod
    def _is_reference(cls, ref: str) -> str:
        return _check_reference(ref)

    @field_validator("not_before", "not_after")
    @classmethod
    def _has_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("write the time with its zone, such as 2026-11-24T09:00:00Z")
        return moment


class ConnectionSettings(_Model):
    """One customer's link to one system."""

    id: Slug = Field(description="Its name in the URL: /webhooks/{id}.")
    tenant: Slug = Field(description="The customer.")
    provider: str = Field(description=f"One of {', '.join(sorted(PROVIDERS))}.")
    secrets: list[SecretSettings] = Field(min_length=1, max_length=8)
    options: dict[str, Any] = Field({}, description="The provider's own options.")
    state: ConnectionState = Field(ConnectionState.ACTIVE, description="paused takes nothing.")

    def to_connection(self, environment: str) -> Connection:
        """As the rest of Hookline knows it."""
        return Connection(
            id=self.id,
            tenant=self.tenant,
            provider=self.provider,
            environment=environment,
            secrets=tuple(
                SecretReference(
                    name=secret.name,
                    ref=secret.ref,
                    not_before_s=secret.not_before.timestamp() if secret.not_before else None,
                    not_after_s=secret.not_after.timestamp() if secret.not_after else None,
                    environment=secret.environment or "",
                )
                for secret in self.secrets
            ),
            options=self.options,
            state=self.state,
        )


class GatewaySettings(_Model):
    """The HTTP receiver."""

    listen: Listen = Field("0.0.0.0:8080", description="host:port to take webhooks on.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the port, each with its own limits, spool file and "
        "producer; see docs/operations.md.",
    )
    admin_listen: Listen = Field(
        "127.0.0.1:8082",
        description="host:port of health and metrics of all workers; used with more than one.",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, le=3_500_000)
    max_reading_bytes: int = Field(
        134_217_728, ge=1_048_576, description="All bodies in memory together."
    )
    read_timeout_ms: int = Field(10_000, ge=100, le=120_000, description="For a whole body.")
    header_timeout_ms: int = Field(5_000, ge=100, le=120_000)
    idle_timeout_ms: int = Field(
        75_000, ge=100, le=3_600_000, description="For a connection without a request."
    )
    max_connections: int = Field(
        20_000, ge=1, le=1_000_000, description="Open at a time; more are closed at once."
    )
    shutdown_deadline_ms: int = Field(15_000, ge=0, le=600_000)
    connections_snapshot: str | None = Field(
        None,
        min_length=1,
        description="A file for what is known of the connections, for a start while Kafka is away; "
        "if not given, beside spool.path, and none without a spool.",
    )
    snapshot_after_ms: int = Field(
        2_000,
        ge=100,
        le=600_000,
        description="How long an answer of Kafka is waited for before it is used.",
    )
    snapshot_max_age_ms: int = Field(
        86_400_000,
        ge=0,
        le=2_592_000_000,
        description="Older than this it is not used: revocations since then are not known.",
    )
    limits: LimitSettings = LimitSettings()


class PublishSettings(_Model):
    """How events get into Kafka."""

    ack_deadline_ms: int = Field(
        2_000, ge=100, le=25_000, description="Later goes to the spool, or is answered 503."
    )
    max_in_flight_events: int = Field(20_000, ge=1, le=1_000_000)
    max_in_flight_bytes: int = Field(67_108_864, ge=4_194_304)
    linger_ms: float = Field(1.0, ge=0, le=1000, description="How long to gather a batch.")
    max_linger_ms: float = Field(
        5.0,
        ge=0,
        le=1000,
        description="How long at most under load: a millisecond for each 400 events/s. Fewer and "
        "larger requests to Kafka. 0: never longer than linger_ms.",
    )


class SpoolSettings(_Model):
    """The gateway's local queue while Kafka is away; see docs/operations.md."""

    path: str | None = Field(
        None,
        min_length=1,
        description="A file on a local disk that outlives the process, one for each gateway. "
        "Without it webhooks are answered 503 while Kafka is away.",
    )
    max_bytes: int = Field(
        1_073_741_824,
        ge=1_048_576,
        description="Keys, values and headers together; beyond, 503. The disk needs half as much "
        "again.",
    )


class TopicSettings(_Model):
    """Names and shape of the topics."""

    events: TopicName = "hookline.events"
    quarantine: TopicName = "hookline.quarantine"
    dead_letters: TopicName = "hookline.dead-letters"
    connections: TopicName = "hookline.connections"
    executions: TopicName = "hookline.executions"
    tokens: TopicName = "hookline.tokens"
    audit: TopicName = "hookline.audit"
    connect_sessions: TopicName = "hookline.connect-sessions"
    partitions: int = Field(12, ge=1, le=10_000, description="Of the events topic.")
    replication_factor: int = Field(1, ge=1, le=15)

    def resolved(self) -> tuple[topics.Topic, ...]:
        """Every topic with these names and this many partitions."""
        return (
            replace(topics.EVENTS, name=self.events, partitions=self.partitions),
            replace(topics.QUARANTINE, name=self.quarantine),
            replace(topics.DEAD_LETTERS, name=self.dead_letters),
            replace(topics.CONNECTIONS, name=self.connections),
            replace(topics.EXECUTIONS, name=self.executions),
            replace(topics.TOKENS, name=self.tokens),
            replace(topics.AUDIT, name=self.audit),
            replace(topics.CONNECT_SESSIONS, name=self.connect_sessions),
        )


class RetrySettings(_Model):
    """How a failing event is tried again: full jitter, inside a budget."""

    initial_ms: int = Field(100, ge=1, le=60_000)
    max_ms: int = Field(30_000, ge=1, le=3_600_000)
    budget_ms: int = Field(300_000, ge=0)


class ParkingSettings(_Model):
    """Keys whose event has spent its budget: held in the store, in order, and tried again."""

    max_keys: int = Field(10_000, ge=0, description="Per partition; beyond, keys wait in memory.")
    max_events: int = Field(1_000_000, ge=0, description="Per partition.")
    initial_ms: int = Field(30_000, ge=10, description="Until the first retry of a parked key.")
    max_ms: int = Field(900_000, ge=10, le=86_400_000, description="Between two retries.")
    give_up_after_ms: int = Field(
        604_800_000, ge=0, description="Parked for longer: a dead letter. 0: never."
    )
    scan_ms: int = Field(
        2_000, ge=50, le=60_000, description="How soon what an operator has asked for is noticed."
    )


class ConsumerSettings(_Model):
    """One consumer group."""

    group: str = Field("hookline", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    handlers: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:name of your Handlers; needless with `forward` or `upsert`.",
    )
    store: str = Field(
        "sqlite:///state/hookline.db",
        pattern=r"^[a-z+]+://.+",
        description="sqlite:///path, postgresql://user@host/database or redis://host:6379/0.",
    )
    store_password: str | None = Field(None, description="Of the store's server, as a reference.")
    listen: Listen = Field("127.0.0.1:8081", description="host:port of health and metrics.")
    on_failure: Literal["park", "skip", "block", "stop"] = Field(
        "park",
        description="An event whose retry budget is spent: its key is parked, or it is a dead "
        "letter, or it holds its key in memory, or the process ends.",
    )
    concurrency: int = Field(256, ge=1, le=100_000, description="External handlers at once.")
    threads: int = Field(16, ge=1, le=1_000, description="For handlers that are not async.")
    max_buffered_events: int = Field(10_000, ge=1)
    max_buffered_bytes: int = Field(67_108_864, ge=4_194_304)
    max_batch_events: int = Field(2_000, ge=1, le=100_000, description="In one transaction.")
    drain_deadline_ms: int = Field(20_000, ge=0, le=600_000)
    handler_timeout_ms: int = Field(
        60_000, ge=10, le=86_400_000, description="Of an async handler without a transaction."
    )
    stall_after_ms: int = Field(
        120_000,
        ge=1_000,
        description="Events wait and none has ended for so long: /livez fails.",
    )
    retention_days: int = Field(
        8,
        ge=1,
        le=3_650,
        description="How long an id is remembered; longer than a topic keeps events, or a "
        "provider sends one again.",
    )
    retention_versions_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="How long what is applied to a resource is remembered, so that an older event, "
        "such as a redriven one, cannot overwrite it. 0: for good.",
    )
    forward: list[ForwardSettings] = Field([], description="Targets that events are posted to.")
    upsert: list[UpsertSettings] = Field([], description="Tables that are kept from a mapping.")
    retry: RetrySettings = RetrySettings()
    parking: ParkingSettings = ParkingSettings()

    @field_validator("store")
    @classmethod
    def _holds_no_password(cls, store: str) -> str:
        try:
            parts = urlsplit(store)
            secret = secret_in_query(parts.query, whole_names=False)
        except ValueError:
            raise ValueError(
                "this is no store's URL; write one such as postgresql://user@host:5432/database"
            ) from None
        if parts.password is not None or secret:
            raise ValueError(
                "a password may not be in the URL: write it as consumer.store_password with a "
                "reference, such as env:STORE_PASSWORD"
            )
        return store

    @field_validator("store_password")
    @classmethod
    def _is_reference(cls, ref: str | None) -> str | None:
        return None if ref is None else _check_reference(ref)


class Settings(_Model):
    """All of hookline.yaml."""

    environment: Slug = Field("development", description="What these connections belong to.")
    kafka: KafkaSettings = KafkaSettings()
    connections: list[ConnectionSettings] = []
    credentials: CredentialSettings = CredentialSettings()
    gateway: GatewaySettings = GatewaySettings()
    publish: PublishSettings = PublishSettings()
    spool: SpoolSettings = SpoolSettings()
    topics: TopicSettings = TopicSettings()
    consumer: ConsumerSettings = ConsumerSettings()
    console: ConsoleSettings = ConsoleSettings()
    connect: ConnectSettings = ConnectSettings()
    audit: AuditSettings = AuditSettings()
    monitor: MonitorSettings = MonitorSettings()
    probe: ProbeSettings = ProbeSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


def _check_reference(ref: str) -> str:
    try:
        parse_reference(ref)
    except SecretError as error:
        raise ValueError(str(error)) from None
    return ref
