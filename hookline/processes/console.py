"""The console's process: its pages over the stores of the monitor and the consumer, by uvicorn."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar, cast

import uvicorn

from console.access import Gate, GateRules
from console.app import build
from console.directory import FollowedDirectory
from console.redaction import PayloadRedactor
from console.visit import Parts
from consumer.monitor.alerts.contract import AlertStore
from consumer.monitor.contract import Questions
from consumer.stores.operations import Operations
from credentials.resolver import Resolver
from hookline.processes.access import TokenFollower, audit_log, now_us
from hookline.processes.alerting import open_alert_store
from hookline.processes.connect import (
    connect_http,
    connect_service,
    connect_writer,
    public_url,
)
from hookline.processes.console_api import ConsoleApi
from hookline.processes.gateway_registry import both, topic_access
from hookline.processes.monitor_stores import open_questions
from hookline.processes.process import Process, set_up
from hookline.processes.stores import open_operations
from hookline.settings.loading import Settings
from producer.connect.service import ConnectService
from producer.connections.followed import Together
from producer.connections.follower import Follower
from schemas.errors import ConfigurationError

log = logging.getLogger("hookline.console")

T = TypeVar("T")

#: Requests and listeners at a time; more are answered 503.
MAX_CONNECTIONS: Final = 400
_STOP_S: Final = 3


class Late(Generic[T]):
    """Opens a store at its first use, and again after that failed: what it is read from may be
    made after the console has started."""

    def __init__(self, open_it: Callable[[], T]) -> None:
        self._open = open_it
        self._lock = threading.Lock()
        self._opened: T | None = None

    def get(self) -> T:
        """The store; its own error while it cannot be opened."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self.get(), name)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    process = set_up("hookline-console", settings, os.environ)
    tokens = TokenFollower(settings, process.resolver, "console")
    directory = FollowedDirectory(settings.environment)
    writer = connect_writer(settings, process.resolver, process.redactor.register)
    service = connect_service(settings, process.resolver, writer)
    connect = connect_http(settings, service) if service is not None else None
    api = ConsoleApi(
        settings,
        process.resolver,
        service=service,
        writer=writer,
        public_url=public_url(settings),
        origin_allowed=connect.origins.allows if connect is not None else lambda origin: False,
    )
    connections = Follower(topic_access(settings, process.resolver), Together(directory, api.book))
    api.book.reason = lambda: connections.problem
    gate = Gate(
        tokens.tokens,
        GateRules(public_url=settings.console.public_url, proxies=tuple(settings.console.proxies)),
        audit=audit_log(settings, process.resolver, process.redactor.redact),
        used=tokens.used,
        now_us=now_us,
    )
    parts = parts_of(settings, process, directory)

    def live() -> tuple[bool, str]:
        others = both(api.live(), service.live() if service is not None else (True, ""))
        return both(tokens.live(), others)

    def ready() -> tuple[bool, str]:
        return both(tokens.ready(), service.ready() if service is not None else (True, ""))

    app = build(parts, gate, live=live, ready=ready, connect=connect, api=api.api)
    host, _, port = settings.console.listen.rpartition(":")
    server = _Server(
        service,
        uvicorn.Config(
            app,
            host=host,
            port=int(port),
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            # Ours: its lines go where those of the other processes go.
            log_config=None,
            access_log=False,
            server_header=False,
            # A client's address is the socket's: no header of a sender's is believed.
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_S,
        ),
    )
    # uvicorn raises the signals that it got again when it has ended.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    tokens.start()
    connections.start()
    api.start()
    if service is not None:
        service.start()
    app.state.warmer.start()
    try:
        log.info("console started", extra={"data": {"listen": settings.console.listen}})
        try:
            server.run()
        except SystemExit:
            raise ConfigurationError(
                f"console.listen: {settings.console.listen} cannot be listened on; choose another "
                "port or stop what uses it"
            ) from None
    finally:
        app.state.warmer.stop()
        connections.stop(2.0)
        api.stop(2.0)
        if service is not None:
            service.stop(2.0)
        tokens.close()
        process.telemetry.shutdown(5.0)
    log.info("console stopped")
    return 0


class _Server(uvicorn.Server):
    """With what the connect service does on the event loop, from the first request to the last."""

    def __init__(self, service: ConnectService | None, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._service is not None:
            await self._service.begin()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self._service is not None:
            await self._service.close()


def parts_of(settings: Settings, process: Process, directory: FollowedDirectory) -> Parts:
    """What the pages ask, wired from the settings."""
    resolver = process.resolver
    questions = Late(lambda: open_questions(settings.monitor, resolver))
    return Parts(
        questions=cast(Questions, questions),
        operations=_operations(settings, resolver),
        directory=directory,
        now_us=lambda: time.time_ns() // 1000,
        redactor=PayloadRedactor(settings.console.redact.rules()),
        trace_url=settings.telemetry.trace_url,
        logs_url=settings.console.logs_url,
        alerts=_alerts(settings, resolver) if settings.monitor.scrape else None,
    )


def _operations(settings: Settings, resolver: Resolver) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Operations]:
        store = open_operations(settings.consumer, resolver)
        try:
            yield store
        finally:
            store.close()

    return opened


def _alerts(settings: Settings, resolver: Resolver) -> Callable[[], Any]:
    late = Late(lambda: open_alert_store(settings, resolver))
    # One of these is for one thread at a time.
    turn = threading.Lock()

    @contextmanager
    def opened() -> Iterator[AlertStore]:
        with turn:
            yield late.get()

    return opened
