"""`hookline consumer`: one replica of a consumer group, wired from the settings."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import click

from consumer.core.backoff import Backoff
from consumer.core.disposition import Policy
from consumer.engine.commands import Limits
from consumer.engine.engine import ConsumerEngine, kafka_protocols
from consumer.stores.contract import Store
from consumer.stores.sqlite import open_sqlite
from hookline.handler_loading import load_handlers
from hookline.health_server import HealthServer
from hookline.process import set_up
from hookline.settings import Settings, load
from schemas.errors import ConfigurationError

log = logging.getLogger("hookline.consumer")

_SQLITE = "sqlite:///"


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
    handlers = load_handlers(consumer.handlers)
    store = open_store(consumer.store, consumer.group)
    properties = settings.kafka.resolved_properties(process.resolver)
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
        ),
        backoff=Backoff(
            initial_s=consumer.retry.initial_ms / 1000,
            max_s=consumer.retry.max_ms / 1000,
            budget_s=consumer.retry.budget_ms / 1000,
        ),
        policy=Policy(consumer.on_failure),
        tracing_enabled=telemetry.sampling_bound > 0,
    )
    host, _, port = consumer.listen.rpartition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with HealthServer(
        host, int(port), live=engine.live, ready=engine.ready, metrics=telemetry.metrics_text
    ):
        engine.start()
        log.info(
            "consumer started",
            extra={"data": {"group": consumer.group, "handlers": len(handlers)}},
        )
        while not stop.wait(0.2) and not engine.failed.is_set():
            pass
        clean = engine.stop()
        telemetry.shutdown(5.0)
    if engine.failed.is_set():
        return 1
    log.info("consumer stopped", extra={"data": {"clean": clean}})
    return 0 if clean else 1


def open_store(url: str, group: str) -> Store:
    """The store that `consumer.store` names."""
    if url.startswith(_SQLITE):
        return open_sqlite(url.removeprefix(_SQLITE), group)
    raise ConfigurationError(
        f"consumer.store: {url.partition(':')[0]!r} is no store; write sqlite:///path/to/file.db"
    )
