"""The monitor's process: reads the execution log into its store, and runs what hangs on that.

Whoever wants the rows as they come, or something done every so often, adds a line to `_followers`
or `_chores`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from consumer.engine.engine import kafka_protocols
from consumer.engine.housekeeping import Chore, Housekeeping
from consumer.engine.metadata import admin_properties
from consumer.monitor.alerts import alert_metrics
from consumer.monitor.connection_metrics import ConnectionMetrics
from consumer.monitor.contract import MonitorStore
from consumer.monitor.follower import Follower
from consumer.monitor.lag import EVERY_S, LagSampler
from consumer.monitor.reader import LogReader
from consumer.monitor.tail_sampling import TailSampler
from hookline.processes.alerting import open_alerts
from hookline.processes.health_server import HealthServer
from hookline.processes.monitor_stores import open_monitor_store
from hookline.processes.process import Process, set_up, tune
from hookline.processes.tail import tail_sampler
from hookline.settings.loading import Settings

log = logging.getLogger("hookline.monitor")

#: Rows of one step of expiry, so that the reader never waits long for it.
_EXPIRE_ROWS: Final = 2_000
_EXPIRE_EVERY_S: Final = 60.0


def run(settings: Settings) -> int:
    """Read until SIGTERM or SIGINT; the exit code: 0 after a clean stop."""
    process = set_up("hookline-monitor", settings, os.environ)
    monitor = settings.monitor
    properties = settings.kafka.resolved_properties(process.resolver)
    store = open_monitor_store(monitor, process.resolver)
    protocols = kafka_protocols(settings.kafka.bootstrap_servers, monitor.group, properties)
    tail = tail_sampler(settings, process, store)
    reader = LogReader(
        topic=settings.topics.executions,
        protocols=[{**protocol, "client.id": "hookline-monitor"} for protocol in protocols],
        store=store,
        followers=_followers(settings, process, store, tail),
    )
    chores = [*_chores(settings, process, store, protocols[0])]
    if tail is not None:
        chores.append(Chore(tail.name, 1.0, tail.run))
    housekeeping = Housekeeping(chores)
    alerts = open_alerts(settings, process.resolver, process.telemetry.metrics_text, store)
    if alerts is not None:
        alert_metrics.measure(alerts)
    host, _, port = monitor.listen.rpartition(":")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with HealthServer(
        host,
        int(port),
        live=reader.live,
        ready=reader.ready,
        metrics=process.telemetry.metrics_text,
        setting="monitor.listen",
    ):
        tune()
        reader.start()
        housekeeping.start()
        if alerts is not None:
            alerts.start()
        log.info("monitor started", extra={"data": {"group": monitor.group}})
        while not stop.wait(0.2) and not reader.failed.is_set():
            pass
        clean = reader.stop()
        housekeeping.stop()
        if tail is not None:
            tail.close()
        if alerts is not None:
            alerts.stop()
        process.telemetry.shutdown(5.0)
    store.close()
    log.info("monitor stopped", extra={"data": {"clean": clean}})
    return 1 if reader.failed.is_set() or not clean else 0


def _followers(
    settings: Settings, process: Process, store: MonitorStore, tail: TailSampler | None
) -> Sequence[Follower]:
    """Who gets the rows of each batch once they are in the store."""
    return () if tail is None else (tail,)


def _chores(
    settings: Settings, process: Process, store: MonitorStore, properties: dict[str, Any]
) -> Sequence[Chore]:
    """What is done every so often, each in its turn on one thread."""
    retention = settings.monitor.retention()
    lag = LagSampler(
        admin_properties(properties),
        settings.monitor.groups or [settings.consumer.group],
        settings.topics.events,
        settings.environment,
        store,
    )

    def expire() -> bool:
        return store.expire(retention, time.time_ns() // 1000, _EXPIRE_ROWS) > 0

    connections = ConnectionMetrics(store, settings.environment)
    return (
        Chore("expiry", _EXPIRE_EVERY_S, expire),
        Chore("lag", EVERY_S, lag.run),
        Chore("connections", connections.EVERY_S, connections.run),
    )
