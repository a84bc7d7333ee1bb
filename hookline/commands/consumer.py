"""`hookline consumer`: one replica of a consumer group, wired from the settings."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.dead_letters.kept import KeptLetters
from consumer.dead_letters.outbox import DeadLetterOutbox
from consumer.engine.commands import Limits, ParkingLimits
from consumer.engine.engine import ConsumerEngine, instance, kafka_protocols
from consumer.engine.execution_columns import Origin
from consumer.engine.execution_log import ExecutionLog
from consumer.engine.execution_sender import ExecutionSender
from consumer.engine.housekeeping import Chore
from consumer.handlers.registration import Handlers
from credentials.resolver import Resolver
from hookline.processes.handler_loading import load_handlers
from hookline.processes.health_server import HealthServer
from hookline.processes.process import set_up, tune
from hookline.processes.retention_check import warn_of_short_retention
from hookline.processes.stores import open_operations, open_store
from hookline.settings.handlers import references, register
from hookline.settings.loading import Settings, load
from hookline.settings.model import ConsumerSettings
from schemas.errors import ConfigurationError, SecretError

log = logging.getLogger("hookline.consumer")


@click.command("consumer")
@click.option("--config", type=click.Path(path_type=Path), help="The settings; ./hookline.yaml.")
def command(config: Path | None) -> None:
    """Apply events: run the handlers of consumer.handlers until a signal ends it."""
    settings = load(config, os.environ)
    code = run(settings)
    # A handler that hangs on a thread would keep the interpreter from ending for ever.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def run(settings: Settings) -> int:
    """Consume until SIGTERM or SIGINT; the exit code: 0 after a clean stop."""
    process = set_up("hookline-consumer", settings, os.environ)
    telemetry = process.telemetry
    consumer = settings.consumer
    # Before any code of the user's runs: from here on the logs keep these secrets to themselves,
    # also when a handler's module fails with one of them in its error.
    properties = settings.kafka.resolved_properties(process.resolver)
    if consumer.store_password is not None:
        process.resolver.resolve(consumer.store_password)
    handlers = handlers_of(consumer, process.resolver)
    store = open_store(consumer, process.resolver)
    producing = {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        **{name: value for name, value in properties.items() if name != "group.protocol"},
    }
    outbox = DeadLetterOutbox(store, settings.topics.dead_letters, producing)
    chores = [Chore("dead letters", 1.0, outbox.run)]
    kept = kept_letters_of(consumer, process.resolver)
    if kept is not None:
        chores.append(Chore("dead letters kept", kept.EVERY_S, kept.run))
    executions, sender = execution_log_of(settings, producing)
    if sender is not None:
        chores.append(Chore("executions", 1.0, sender.look))
    engine = ConsumerEngine(
        topic=settings.topics.events,
        group=consumer.group,
        protocols=kafka_protocols(settings.kafka.bootstrap_servers, consumer.group, properties),
        store=store,
        handlers=handlers,
        limits=Limits(
            concurrency=consumer.concurrency,
            threads=consumer.threads,
            max_buffered_events=consumer.max_buffered_events,
            max_buffered_bytes=consumer.max_buffered_bytes,
            max_batch_events=consumer.max_batch_events,
            drain_deadline_s=consumer.drain_deadline_ms / 1000,
            handler_timeout_s=consumer.handler_timeout_ms / 1000,
            stall_after_s=consumer.stall_after_ms / 1000,
        ),
        parking=ParkingLimits(
            max_keys=consumer.parking.max_keys,
            max_events=consumer.parking.max_events,
            backoff=Backoff(
                initial_s=consumer.parking.initial_ms / 1000,
                max_s=consumer.parking.max_ms / 1000,
            ),
            give_up_after_s=consumer.parking.give_up_after_ms / 1000,
            scan_every_s=consumer.parking.scan_ms / 1000,
        ),
        backoff=Backoff(
            initial_s=consumer.retry.initial_ms / 1000,
            max_s=consumer.retry.max_ms / 1000,
            budget_s=consumer.retry.budget_ms / 1000,
        ),
        policy=Policy(consumer.on_failure),
        retention_s=consumer.retention_days * 86_400.0,
        retention_versions_s=consumer.retention_versions_days * 86_400.0,
        chores=chores,
        tracing_enabled=telemetry.sampling_bound > 0,
        executions=executions,
    )
    host, _, port = consumer.listen.rpartition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with HealthServer(
        host, int(port), live=engine.live, ready=engine.ready, metrics=telemetry.metrics_text
    ):
        tune()
        engine.start()
        warn_of_short_retention(settings, properties)
        log.info(
            "consumer started",
            extra={"data": {"group": consumer.group, "handlers": len(handlers)}},
        )
        while not stop.wait(0.2) and not engine.failed.is_set():
            pass
        clean = engine.stop()
        outbox.close()
        if kept is not None:
            kept.close()
        if sender is not None:
            sender.close()
        telemetry.shutdown(5.0)
    if engine.failed.is_set():
        return 1
    log.info("consumer stopped", extra={"data": {"clean": clean}})
    return 0 if clean else 1


def execution_log_of(
    settings: Settings, properties: dict[str, Any]
) -> tuple[ExecutionLog | None, ExecutionSender | None]:
    """The execution log and its way into Kafka, unless it is off."""
    sampling = settings.telemetry.executions.sampling()
    if sampling.off:
        return None, None
    sender = ExecutionSender(settings.topics.executions, properties)
    origin = Origin(settings.environment, settings.consumer.group, instance())
    return ExecutionLog(origin, sampling, sender), sender


def kept_letters_of(consumer: ConsumerSettings, resolver: Resolver) -> KeptLetters | None:
    """Counts the dead letters; None of Redis, which would have to read each of them."""
    if consumer.store.startswith("redis"):
        return None
    return KeptLetters(open_operations(consumer, resolver))


def handlers_of(settings: ConsumerSettings, resolver: Resolver) -> Handlers:
    """The user's handlers, and those that need no code."""
    # Known to the redactor before any code of the user's runs, and fails with one in its error.
    for place, ref in references(settings.forward):
        try:
            resolver.resolve(ref)
        except SecretError as error:
            raise type(error)(f"{place}: {error}") from None
    handlers = Handlers() if settings.handlers is None else load_handlers(settings.handlers)
    register(
        handlers,
        forward_to=settings.forward,
        upsert_into=settings.upsert,
        resolver=resolver,
        store_url=settings.store,
    )
    if not len(handlers):
        raise ConfigurationError(
            "consumer: there is nothing to do with events: write handlers: module:name, or "
            "forward, or upsert (see docs/handlers.md)"
        )
    return handlers
