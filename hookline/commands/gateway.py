"""`hookline gateway`: the HTTP receiver, wired from the settings."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from hookline.commands.config import config_option
from hookline.processes.gateway_registry import GatewayRegistry, both
from hookline.processes.gateway_worker import Worker, until_ready
from hookline.processes.process import Process, set_up
from hookline.processes.spool_files import warn_of_leftovers
from hookline.settings.loading import Settings, load
from hookline.telemetry.logs import configure_logs
from hookline.telemetry.redaction import Redactor
from producer.gateway import limit_metrics
from producer.gateway.app import GatewayApp
from producer.gateway.gateway_metrics import GatewayMetrics
from producer.gateway.http.bodies import Bodies
from producer.gateway.http.exchange import HttpLimits
from producer.gateway.http.server import GatewayServer
from producer.gateway.receiver import Receiver
from producer.gateway.receptions import ReceptionLog
from producer.gateway.tracing import GatewayTracing
from producer.publish import spool_metrics
from producer.publish.publisher import KafkaPublisher
from producer.publish.spool import Spool
from producer.publish.spool_file import SpoolFile
from producer.publish.spooling_sink import SpoolingSink
from schemas.errors import ConfigurationError, HooklineError

log = logging.getLogger("hookline.gateway")

#: Until then a start takes no connections while it is not ready, so that a balancer tries another
#: gateway at once, where a 503 would go back to the sender; after it, health says what is missing.
_LISTEN_ANYWAY_S: Final = 2.5


@click.command("gateway")
@config_option
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Processes that share the port; gateway.workers."
)
@click.option("--worker", "number", type=click.IntRange(1), hidden=True)
@click.option("--line", "descriptor", type=click.IntRange(0), hidden=True)
def command(
    config: Path | None, workers: int | None, number: int | None, descriptor: int | None
) -> None:
    """Receive webhooks until a signal ends it."""
    settings = load(config, os.environ)
    if workers is not None:
        gateway = settings.gateway.model_copy(update={"workers": workers})
        settings = settings.model_copy(update={"gateway": gateway})
    if number is not None and descriptor is not None:
        _end(_work(settings, Worker(number, descriptor)))
    if settings.gateway.workers > 1:
        sys.exit(_supervise(settings, config))
    process = set_up("hookline-gateway", settings, os.environ)
    warn_of_leftovers(settings)
    _end(_run(settings, process))


def _end(code: int) -> NoReturn:
    """End the process now: all is said and safe.

    A thread that waits for a secret backend or for Kafka would keep the interpreter from ending
    for as long as that takes, and the orchestrator would kill it.
    """
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _supervise(settings: Settings, config: Path | None) -> int:
    # Its HTTP server is not one that a gateway of one process should load.
    from hookline.processes.gateway_supervisor import Supervisor

    telemetry = settings.telemetry
    # Its lines hold no value of a secret: it resolves none.
    configure_logs(telemetry.log_level, telemetry.log_format, sys.stdout, Redactor())
    warn_of_leftovers(settings)
    command = [sys.executable, "-m", "hookline.command", "gateway"]
    if config is not None:
        command += ["--config", str(config)]
    return Supervisor(settings, command).run()


def _work(settings: Settings, worker: Worker) -> int:
    always = {"worker": worker.number}
    process = set_up("hookline-gateway", settings, os.environ, always)
    try:
        return _run(worker.settings(settings), process, worker)
    except HooklineError as error:
        # Whatever does not let it start: the supervisor need not know which it was.
        raise ConfigurationError(f"worker {worker.number}: {error}") from error


def _run(settings: Settings, process: Process, worker: Worker | None = None) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serve(settings, process, worker))
    else:
        return uvloop.run(serve(settings, process, worker))


async def serve(settings: Settings, process: Process, worker: Worker | None = None) -> int:
    """Serve until SIGTERM, SIGINT or a fatal error; the exit code: 0 after a clean stop.

    A `worker` is one of several, and ends as well when its supervisor is gone.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    publish, gateway, topics = settings.publish, settings.gateway, settings.topics
    sink = open_spool(settings)
    publisher = KafkaPublisher(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        topics=(topics.events, topics.quarantine),
        properties=settings.kafka.resolved_properties(process.resolver),
        ack_deadline_s=publish.ack_deadline_ms / 1000,
        max_in_flight_events=publish.max_in_flight_events,
        max_in_flight_bytes=publish.max_in_flight_bytes,
        linger_ms=publish.linger_ms,
        max_linger_ms=publish.max_linger_ms,
        fatal=lambda reason: stop.set(),
        fallback=sink,
    )
    if sink is not None:
        sink.start(publisher)
        spool_metrics.measure(sink)
    way_in: SpoolingSink | KafkaPublisher = sink or publisher
    metrics = GatewayMetrics(publisher)
    process.telemetry.histograms.add(metrics.histograms)
    sampling = settings.telemetry.executions.sampling()
    receptions = None
    if not sampling.off:
        receptions = ReceptionLog(
            lambda value: publisher.aside.send(topics.executions, value),
            environment=settings.environment,
            instance=f"{socket.gethostname()}:{os.getpid()}",
            sampling=sampling,
        )
    limits = gateway.limits.limits(publish.max_in_flight_events, publish.max_in_flight_bytes)

    def forget(connection_id: str) -> None:
        metrics.forget(connection_id)
        if limits is not None:
            limits.forget(connection_id)

    if limits is not None:
        limit_metrics.measure(limits)
    registry = GatewayRegistry(settings, process.resolver, forget, metrics.known)
    receiver = Receiver(
        environment=settings.environment,
        connections=registry.table,
        sink=way_in,
        events_topic=topics.events,
        quarantine_topic=topics.quarantine,
        tracing=GatewayTracing(
            process.telemetry.sampling_bound, settings.telemetry.max_traces_per_s
        ),
        metrics=metrics,
        limits=limits,
        receptions=receptions,
        max_body_bytes=gateway.max_body_bytes,
    )

    def live() -> tuple[bool, str]:
        return both(publisher.live(), registry.live())

    def ready() -> tuple[bool, str]:
        return both(way_in.ready(), registry.ready())

    metrics_page = process.telemetry.metrics_text
    if worker is not None:
        metrics_page = worker.metrics(metrics_page)
    app = GatewayApp(
        receiver=receiver,
        live=live,
        ready=ready,
        metrics=metrics_page,
        # A worker's page has a label more, which is put in as text.
        open_metrics=process.telemetry.open_metrics_text if worker is None else None,
    )
    host, _, port = gateway.listen.rpartition(":")
    server = GatewayServer(
        app,
        host=host.strip("[]") or "0.0.0.0",
        port=int(port),
        bodies=Bodies(
            max_body_bytes=gateway.max_body_bytes, max_held_bytes=gateway.max_reading_bytes
        ),
        limits=HttpLimits(
            head_s=gateway.header_timeout_ms / 1000,
            body_s=gateway.read_timeout_ms / 1000,
            idle_s=gateway.idle_timeout_ms / 1000,
        ),
        max_connections=gateway.max_connections,
        share_port=worker is not None,
    )
    if worker is None:
        registry.start()
        await until_ready(ready, stop, _LISTEN_ANYWAY_S)
        await server.start()
    else:
        worker.answer(
            live=live,
            ready=ready,
            metrics=metrics_page,
            stop=stop,
            shutdown_deadline_s=gateway.shutdown_deadline_ms / 1000,
        )
        registry.start()
        await worker.until_ready(ready, stop)
        await server.start()
        worker.listening = True
    log.info("gateway started", extra={"data": {"listen": gateway.listen}})
    # What was made until here lives as long as the process: no collection need look at it.
    gc.collect()
    gc.freeze()
    await stop.wait()
    until_s = loop.time() + gateway.shutdown_deadline_ms / 1000
    app.draining = True
    answered = await server.stop(until_s - loop.time())
    if receptions is not None:
        receptions.close()
    acknowledged = await way_in.close(until_s - loop.time())
    alive, reason = publisher.live()
    await loop.run_in_executor(None, registry.close)
    await loop.run_in_executor(None, process.telemetry.shutdown, 5.0)
    clean = answered and acknowledged and alive
    log.info("gateway stopped", extra={"data": {"clean": clean, "reason": reason}})
    return 0 if clean else 1


def open_spool(settings: Settings) -> SpoolingSink | None:
    """The spool, if there is to be one; SpoolError if its file cannot be used."""
    if settings.spool.path is None:
        return None
    file = SpoolFile(Path(settings.spool.path))
    return SpoolingSink(Spool(file, max_bytes=settings.spool.max_bytes))
