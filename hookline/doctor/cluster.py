"""Kafka as a client sees it: reachable, what version, topics, rights, and its clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
)

from hookline.commands.topics import compare
from hookline.doctor.findings import Finding, broken, ok, warning
from hookline.settings.loading import Settings
from schemas.errors import TopicError
from schemas.execution_batch import RECEPTIONS, Receptions

_TIMEOUT_S: Final = 6.0
#: A replica that was killed outright is missed after this long; docs/operations.md.
_SESSION_MS: Final = 10_000
#: Beyond this the figures of waiting in Kafka are worth nothing, and beyond the other one
#: providers' replay windows (300 s) are in danger.
_SKEW_WARNING_S: Final = 1.0
_SKEW_BROKEN_S: Final = 60.0
#: What the brokers' answers of a log-append timestamp are.
_LOG_APPEND_TIME: Final = 2


class Cluster:
    """The admin's connection; `problem` says why there is none, `errors` what the client said."""

    def __init__(self, settings: Settings, properties: Mapping[str, Any]) -> None:
        self.settings = settings
        self._errors: dict[int, str] = {}
        self._topics: set[str] = set()
        self._hidden: set[str] = set()
        self.properties: dict[str, Any] = {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            **{name: value for name, value in properties.items() if name != "group.protocol"},
            "log_level": 0,
        }
        told: dict[str, Any] = {"error_cb": self._note}
        self.admin = AdminClient(self.properties | told)

    def _note(self, error: KafkaError) -> None:
        # Its name only: the text may quote what it was configured with.
        self._errors[error.code()] = error.name()

    def reach(self) -> tuple[list[Finding], bool]:
        """Whether Kafka answers, and who."""
        servers = self.settings.kafka.bootstrap_servers
        began_s = time.monotonic()
        try:
            metadata = self.admin.list_topics(timeout=_TIMEOUT_S)
        except KafkaException as error:
            # librdkafka tells why by its callback, and of the call only that it took too long.
            self.admin.poll(0)
            names = {*self._errors.values(), error.args[0].name()}
            return [
                broken(
                    "kafka",
                    f"no answer from {servers} ({', '.join(sorted(names))})",
                    _mend_of(names),
                )
            ], False
        took_ms = (time.monotonic() - began_s) * 1000
        self._topics = set(metadata.topics)
        brokers = len(metadata.brokers)
        plural = "s" if brokers != 1 else ""
        return [
            ok("kafka", f"{brokers} broker{plural} at {servers} answered in {took_ms:.0f} ms"),
            *self._version(next(iter(metadata.brokers))),
        ], True

    def _version(self, broker_id: int) -> list[Finding]:
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker_id))
        try:
            found = self.admin.describe_configs([resource], request_timeout=_TIMEOUT_S)
            values = {name: entry.value for name, entry in found[resource].result(12).items()}
        # Best effort: no right to look is no fault.
        except (KafkaException, TimeoutError) as error:
            return [warning("kafka", f"its version cannot be told ({_name(error)})")]
        protocol = values.get("inter.broker.protocol.version")
        if protocol is not None:
            return [
                warning(
                    "kafka",
                    f"Kafka 3 (inter.broker.protocol.version {protocol}): consumers use the "
                    "classic protocol",
                    "Kafka 4 hands partitions over faster (KIP-848)",
                )
            ]
        findings = [ok("kafka", "Kafka 4 or newer (KIP-848)")]
        session_ms = int(values.get("group.consumer.session.timeout.ms") or 0)
        if session_ms > _SESSION_MS:
            findings.append(
                warning(
                    "kafka",
                    f"a consumer that is killed is missed only after {session_ms / 1000:g} s",
                    "lower group.consumer.session.timeout.ms on the brokers to 6000-10000 "
                    "(docs/operations.md)",
                )
            )
        return findings

    def topics(self) -> Iterator[Finding]:
        """Each topic against what the settings ask for."""
        try:
            differences = compare(self.admin, self.settings)
        except (TopicError, KafkaException, TimeoutError) as error:
            text = str(error) if isinstance(error, TopicError) else _name(error)
            yield broken("topics", f"cannot be compared: {text}", "hookline topics check")
            return
        for topic in self.settings.topics.resolved():
            found = [d for d in differences if d.topic.name == topic.name]
            if topic.name in self._hidden:
                continue
            for difference in found:
                say = broken if difference.problem == "is missing" else warning
                mend = "hookline topics apply" if difference.mend else ""
                yield say("topics", f"{topic.name} {difference.problem}", mend)
            if not found:
                yield ok("topics", f"{topic.name} is as it should be")

    def rights(self) -> Iterator[Finding]:
        """What the client may do, as the brokers tell it; they tell all without an authorizer.

        Before `topics`: one that may not be described looks as if it were missing.
        """
        topics = self.settings.topics
        needed: dict[str, tuple[AclOperation, ...]] = {
            topics.events: (AclOperation.READ, AclOperation.WRITE),
            topics.connections: (AclOperation.READ, AclOperation.WRITE),
            topics.executions: (AclOperation.READ, AclOperation.WRITE),
            topics.quarantine: (AclOperation.WRITE,),
            topics.dead_letters: (AclOperation.WRITE,),
        }
        found = self.admin.describe_topics(
            TopicCollection(list(needed)),
            include_authorized_operations=True,
            request_timeout=_TIMEOUT_S,
        )
        said = looked_at = 0
        for name, future in found.items():
            try:
                may = future.result(12).authorized_operations
            # A missing topic is another line's.
            except (KafkaException, TimeoutError) as error:
                if _name(error) == "TOPIC_AUTHORIZATION_FAILED":
                    said += 1
                    self._hidden.add(name)
                    yield _no_right(f"topic {name}", "Describe")
                continue
            looked_at += may is not None
            for operation in needed[name] if may is not None else ():
                if operation not in may:
                    said += 1
                    yield _no_right(f"topic {name}", operation.name.title())
        for finding in self._group_rights():
            said += 1
            yield finding
        if looked_at and not said:
            yield ok("rights", f"{looked_at} topics and the group may be used as this user")

    def _group_rights(self) -> Iterator[Finding]:
        group = self.settings.consumer.group
        found = self.admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=_TIMEOUT_S
        )
        try:
            may = found[group].result(12).authorized_operations
        except (KafkaException, TimeoutError) as error:
            if _name(error) == "GROUP_AUTHORIZATION_FAILED":
                yield _no_right(f"group {group}", "Describe")
            return
        if may is not None and AclOperation.READ not in may:
            yield _no_right(f"group {group}", "Read")

    def clock(self, wall_s: Callable[[], float] = time.time) -> Iterator[Finding]:
        """This machine's clock against the broker's: the time that it stamps an empty batch with.

        Readers of the execution log get no row of it.
        """
        topic = self.settings.topics.executions
        # Another line says so.
        if topic not in self._topics:
            return
        reports: list[tuple[KafkaError | None, Message]] = []
        producer = Producer({**self.properties, "message.timeout.ms": int(_TIMEOUT_S * 1000)})
        # The first record also pays for the connection: of the second the round trip is short.
        began_s = ended_s = 0.0
        for _ in range(2):
            reports.clear()
            began_s = wall_s()
            producer.produce(
                topic,
                RECEPTIONS.encode(_EMPTY),
                on_delivery=lambda error, message: reports.append((error, message)),
            )
            producer.flush(_TIMEOUT_S + 1)
            ended_s = wall_s()
            if not reports or reports[0][0] is not None:
                error = reports[0][0] if reports else None
                yield warning(
                    "clock",
                    f"the broker's cannot be told: topic {topic} takes no record "
                    f"({error.name() if error else 'no answer'})",
                    "hookline topics check",
                )
                return
        kind, stamp_ms = reports[0][1].timestamp()
        if kind != _LOG_APPEND_TIME:
            yield warning(
                "clock",
                f"the broker's cannot be told: topic {topic} has no LogAppendTime",
                "hookline topics apply",
            )
            return
        yield skew(stamp_ms / 1000, began_s, ended_s)


def skew(stamp_s: float, began_s: float, ended_s: float) -> Finding:
    """What the broker's time within a round trip says of this clock; known as near as the trip."""
    # The stamp has whole milliseconds.
    ahead_s, behind_s = began_s - (stamp_s + 0.001), stamp_s - ended_s
    off_s = max(ahead_s, behind_s, 0.0)
    way = "ahead of" if ahead_s > behind_s else "behind"
    within_ms = math.ceil((ended_s - began_s) * 1000)
    if off_s < _SKEW_WARNING_S:
        return ok(
            "clock", f"agrees with the broker's within {math.ceil(off_s * 1000) + within_ms} ms"
        )
    text = f"this clock is {off_s:.1f} s {way} the broker's"
    mend = "let both follow a time server (chrony, systemd-timesyncd)"
    if off_s < _SKEW_BROKEN_S:
        return warning("clock", f"{text}: times of waiting in Kafka are wrong by as much", mend)
    return broken("clock", f"{text}: signatures with a replay window are refused", mend)


_EMPTY: Final = Receptions(
    environment="", instance="doctor", connections=[], outcomes=[], request_ids=b"",
    connection=[], outcome=[], statuses=[], received_at=[], read_ns=[], verify_ns=[],
    identify_ns=[], encode_ns=[], publish_ns=[], total_ns=[], events=[], partitions=[],
    offsets=[], flags=[], weights=[],
)  # fmt: skip


def _mend_of(names: set[str]) -> str:
    if "_AUTHENTICATION" in names or "SASL_AUTHENTICATION_FAILED" in names:
        return "the brokers do not believe this user: kafka.properties sasl.*, and its secret"
    if "_SSL" in names:
        return "the TLS handshake fails: kafka.properties security.protocol and ssl.*"
    if "_RESOLVE" in names:
        return (
            "a name cannot be resolved: kafka.bootstrap_servers, or the brokers' "
            "advertised.listeners"
        )
    return "is it running, and are kafka.bootstrap_servers and security.protocol right?"


def _no_right(what: str, operation: str) -> Finding:
    return broken(
        "rights",
        f"this user may not {operation} {what}",
        f"kafka-acls.sh --add --allow-principal User:… --operation {operation} for {what}; a "
        "process that does not need it can do without (docs/operations.md)",
    )


def _name(error: Exception) -> str:
    if isinstance(error, KafkaException):
        name: str = error.args[0].name()
        return name
    return type(error).__name__
