"""`hookline gateway`: the HTTP receiver, wired from the settings."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

import click

from credentials.key_ring import KeyRing
from credentials.resolver import Resolver
from hookline.config_command import config_option
from hookline.process import Process, set_up
from hookline.settings import Settings, load
from producer.gateway.body import BodyReader
from producer.gateway.connections import ConnectionTable, Entry
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.receiver import Receiver
from producer.gateway.rsgi import GatewayApp
from producer.gateway.server import GatewayServer
from producer.gateway.tracing import GatewayTracing
from producer.providers.registry import build
from producer.publish.publisher import KafkaPublisher
from schemas.errors import ConfigurationError, SecretError

log = logging.getLogger("hookline.gateway")


@click.command("gateway")
@config_option
def command(config: Path | None) -> None:
    """Receive webhooks until a signal ends it."""
    settings = load(config, os.environ)
    process = set_up("hookline-gateway", settings, os.environ)
    entries = load_connections(settings, process.resolver)
    try:
        import uvloop
    except ImportError:
        code = asyncio.run(serve(settings, process, entries))
    else:
        code = uvloop.run(serve(settings, process, entries))
    sys.exit(code)


def load_connections(settings: Settings, resolver: Resolver) -> list[Entry]:
    """The connections with their providers and keys; ConfigurationError names all that fail."""
    entries: list[Entry] = []
    problems: list[str] = []
    for item in settings.connections:
        connection = item.to_connection(settings.environment)
        provider = build(connection.provider, connection.options)
        try:
            keys = KeyRing.load(connection.secrets, resolver.resolve, provider.load_key)
        except SecretError as error:
            problems.append(f"connection {connection.id}: {error}")
            continue
        entries.append(Entry(connection, provider, keys))
    if problems:
        raise ConfigurationError(problems)
    return entries


async def serve(settings: Settings, process: Process, entries: list[Entry]) -> int:
    """Serve until SIGTERM, SIGINT or a fatal error; the exit code: 0 after a clean stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    publish, gateway, topics = settings.publish, settings.gateway, settings.topics
    publisher = KafkaPublisher(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        topics=(topics.events, topics.quarantine),
        properties=settings.kafka.resolved_properties(process.resolver),
        ack_deadline_s=publish.ack_deadline_ms / 1000,
        max_in_flight_events=publish.max_in_flight_events,
        max_in_flight_bytes=publish.max_in_flight_bytes,
        linger_ms=publish.linger_ms,
        fatal=lambda reason: stop.set(),
    )
    receiver = Receiver(
        environment=settings.environment,
        connections=ConnectionTable(settings.environment, entries),
        sink=publisher,
        events_topic=topics.events,
        quarantine_topic=topics.quarantine,
        tracing=GatewayTracing(process.telemetry.sampling_bound),
        metrics=GatewayMetrics(publisher),
    )
    app = GatewayApp(
        receiver=receiver,
        bodies=BodyReader(
            max_body_bytes=gateway.max_body_bytes,
            max_reading_bytes=gateway.max_reading_bytes,
            read_timeout_s=gateway.read_timeout_ms / 1000,
        ),
        live=publisher.live,
        ready=publisher.ready,
        metrics=process.telemetry.metrics_text,
    )
    host, _, port = gateway.listen.rpartition(":")
    server = GatewayServer(
        app,
        host=host.strip("[]") or "0.0.0.0",
        port=int(port),
        header_timeout_ms=gateway.header_timeout_ms,
    )
    server.start()
    log.info(
        "gateway started",
        extra={"data": {"listen": gateway.listen, "connections": len(entries)}},
    )
    # What was made until here lives as long as the process: no collection need look at it.
    gc.collect()
    gc.freeze()
    stopping = loop.create_task(stop.wait())
    await asyncio.wait({server.serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    until_s = loop.time() + gateway.shutdown_deadline_ms / 1000
    broke_off = server.serving.done()
    answered = await server.stop(until_s - loop.time())
    acknowledged = await publisher.close(until_s - loop.time())
    live, reason = publisher.live()
    await loop.run_in_executor(None, process.telemetry.shutdown, 5.0)
    clean = answered and acknowledged and live and not broke_off
    log.info("gateway stopped", extra={"data": {"clean": clean, "reason": reason}})
    return 0 if clean else 1
