"""`hookline topics`: the topics as `schemas/topics.py` has them, created and compared."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)
from rich.console import Console
from rich.table import Table

from hookline.commands.config import config_option
from hookline.processes.process import resolver_for
from hookline.settings.loading import Settings, load
from hookline.telemetry.redaction import Redactor
from schemas.errors import TopicError
from schemas.topics import Topic

_TIMEOUT_S: Final = 10.0


class Difference(msgspec.Struct, frozen=True):
    """What of a topic is not as it must be. `mend` says what `apply` would do, if anything."""

    topic: Topic
    problem: str
    mend: str = ""


@click.group("topics")
def command() -> None:
    """Create and check Kafka's topics."""


@command.command("check")
@config_option
def check(config: Path | None) -> None:
    """Compare; exit code 1 if something differs."""
    settings = load(config, os.environ)
    admin = _admin(settings)
    differences = compare(admin, settings)
    _show(settings, differences)
    sys.exit(1 if differences else 0)


@command.command("apply")
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--force", is_flag=True, help="Add partitions though it breaks the order per key.")
def apply(config: Path | None, dry_run: bool, force: bool) -> None:
    """Create what is missing and correct settings; never adds partitions unasked."""
    settings = load(config, os.environ)
    admin = _admin(settings)
    differences = compare(admin, settings)
    _show(settings, differences)
    if dry_run or not differences:
        return
    for difference in differences:
        _mend(admin, settings, difference, force)
    deadline_s = time.monotonic() + _TIMEOUT_S
    # Brokers learn of a change one after the other.
    while (left := compare(admin, settings)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    if left:
        raise TopicError("\n".join(f"{d.topic.name}: {d.problem}" for d in left))
    click.echo("done")


def compare(admin: AdminClient, settings: Settings) -> list[Difference]:
    """Every difference between the cluster and what the settings ask for."""
    try:
        cluster = admin.list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise TopicError(
            f"no answer from Kafka at {settings.kafka.bootstrap_servers} within {_TIMEOUT_S:g} s "
            f"({error.args[0].name()}): is it running, and is kafka.bootstrap_servers right?"
        ) from None
    brokers = len(cluster.brokers)
    wanted_copies = settings.topics.replication_factor
    if wanted_copies > brokers:
        raise TopicError(
            f"topics.replication_factor is {wanted_copies}, but the cluster has {brokers} "
            f"broker{'s' if brokers != 1 else ''}: write {brokers} or add brokers"
        )
    differences: list[Difference] = []
    present: list[Topic] = []
    for topic in settings.topics.resolved():
        there = cluster.topics.get(topic.name)
        if there is None:
            differences.append(
                Difference(topic, "is missing", f"create with {topic.partitions} partitions")
            )
            continue
        present.append(topic)
        count = len(there.partitions)
        if count < topic.partitions:
            differences.append(
                Difference(
                    topic,
                    f"has {count} partitions, the settings say {topic.partitions}",
                    "only with --force: a key's later events would go to another partition and "
                    "could overtake its earlier ones; stop the gateways and let the consumers "
                    "drain first",
                )
            )
        elif count > topic.partitions:
            differences.append(
                Difference(
                    topic,
                    f"has {count} partitions, the settings say {topic.partitions}; Kafka cannot "
                    f"take partitions away, so write topics.partitions: {count}",
                )
            )
    differences.extend(_setting_differences(admin, present))
    return differences


def _setting_differences(admin: AdminClient, topics: list[Topic]) -> list[Difference]:
    resources = {ConfigResource(ConfigResource.Type.TOPIC, t.name): t for t in topics}
    differences: list[Difference] = []
    futures = admin.describe_configs(list(resources)) if resources else {}
    for resource, future in futures.items():
        topic = resources[resource]
        found = {name: entry.value for name, entry in future.result(_TIMEOUT_S).items()}
        for name, value in topic.settings().items():
            if found.get(name) != value:
                differences.append(
                    Difference(topic, f"{name} is {found.get(name)}", f"set {name} to {value}")
                )
    return differences


def _mend(admin: AdminClient, settings: Settings, difference: Difference, force: bool) -> None:
    topic = difference.topic
    if difference.problem == "is missing":
        new = NewTopic(
            topic.name,
            topic.partitions,
            settings.topics.replication_factor,
            config=topic.settings(),
        )
        _wait(admin.create_topics([new]), f"topic {topic.name} could not be created")
    elif difference.mend.startswith("set "):
        # One by one: what an operator has set besides stays.
        resource: Any = ConfigResource(
            ConfigResource.Type.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic.settings().items()
            ],
        )
        changed = admin.incremental_alter_configs([resource])
        _wait(changed, f"topic {topic.name} could not be changed")
    elif difference.mend and force:
        partitions = [NewPartitions(topic.name, topic.partitions)]
        _wait(admin.create_partitions(partitions), f"topic {topic.name} could not be extended")
    else:
        raise TopicError(f"{topic.name} {difference.problem}: {difference.mend or 'left alone'}")


def _wait(futures: dict[Any, Any], what: str) -> None:
    for future in futures.values():
        try:
            future.result(_TIMEOUT_S * 3)
        except KafkaException as error:
            raise TopicError(f"{what}: {error.args[0].str()}") from None


def _show(settings: Settings, differences: list[Difference]) -> None:
    table = Table(box=None, header_style="dim")
    for column in ("topic", "partitions", "retention", "written by", "read by", "state"):
        table.add_column(column, overflow="fold")
    for topic in settings.topics.resolved():
        state = [f"{d.problem} → {d.mend}" if d.mend else d.problem for d in differences
                 if d.topic.name == topic.name]  # fmt: skip
        table.add_row(
            topic.name,
            str(topic.partitions),
            f"{topic.retention_ms // 86_400_000} days" if topic.retention_ms > 0 else topic.cleanup,
            topic.written_by,
            topic.read_by,
            "[yellow]" + "; ".join(state) + "[/]" if state else "[green]as it should be[/]",
        )
    Console().print(table)


def _admin(settings: Settings) -> AdminClient:
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    properties = settings.kafka.resolved_properties(resolver)
    for name in ("group.protocol",):
        properties.pop(name, None)
    return AdminClient(
        {"bootstrap.servers": settings.kafka.bootstrap_servers, "log_level": 0, **properties}
    )
