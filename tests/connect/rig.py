"""The connect service on a real broker and a sealed file, beside a vendor on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Producer

from credentials.resolver import Resolver
from credentials.seal_key import new_seal_key
from credentials.sealed import SealedBackend, SealedWriter
from credentials.sealed_file import SealedFile
from producer.connect.arrivals import Arrivals
from producer.connect.connection_records import ConnectionRecords
from producer.connect.effects import Effects
from producer.connect.oauth import OAuthApp
from producer.connect.service import Action, ActionKind, ConnectService, View, WantedSession
from producer.connect.session_store import SessionStore
from producer.connect.system import System
from producer.connect.system_calls import Place, SystemCalls
from producer.connect.systems import Catalogue
from producer.connections.clients import TopicAccess
from producer.outgoing.client import OutgoingClient
from producer.outgoing.policy import OutgoingPolicy
from schemas.event import HEADER_REQUEST_ID
from tests.connect.vendor import Vendor
from tests.parts.kafka import KafkaBroker

SECRET = "right-token"


class Rig:
    """Topics and a file that several services may share, as replicas of the console do."""

    def __init__(self, broker: KafkaBroker, folder: Path, systems: Sequence[System]) -> None:
        unique = uuid4().hex[:10]
        self.broker = broker
        self.sessions = broker.create_topic(f"connect-{unique}", 1, cleanup_policy="compact,delete")
        self.connections = broker.create_topic(f"conn-{unique}", 1, cleanup_policy="compact")
        self.events = broker.create_topic(
            f"events-{unique}", 2, message_timestamp_type="LogAppendTime"
        )
        self.receptions = ""
        self.key = new_seal_key()
        self.path = folder / "sealed"
        self.file = SealedFile(self.path, lambda: self.key)
        self.resolver = Resolver([SealedBackend(self.file)])
        self.catalogue = Catalogue(systems)
        self.vendor = Vendor(SECRET)
        #: How far our clock is ahead.
        self.ahead_us = 0
        self.gateway_url = self.vendor.url
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers})

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self.ahead_us

    def service(self) -> ConnectService:
        """A replica, not started."""
        servers = self.broker.bootstrap_servers
        outgoing = OutgoingClient(
            OutgoingPolicy(allow_networks=("127.0.0.0/8",), https_only=False, timeout_s=5.0)
        )
        apps = {
            name: OAuthApp(client_id="hookline-client", app_secret="")
            for name in ("consent", "bare")
        }
        records = ConnectionRecords(TopicAccess(servers, self.connections), "test")
        calls = SystemCalls(
            requests=outgoing,
            writer=SealedWriter(self.file),
            resolve=self.resolver.resolve,
            apps=apps,
            place=Place(
                gateway_url="https://hooks.example",
                gateway_check_url=self.gateway_url,
                redirect_uri="https://console.example/connect/callback",
                gateway_wait_s=5.0,
            ),
        )
        return ConnectService(
            environment="test",
            catalogue=self.catalogue,
            store=SessionStore(
                TopicAccess(servers, self.sessions, about="connect-sessions"), "test", self.now_us
            ),
            records=records,
            effects=Effects(
                gateway=outgoing,
                calls=calls,
                records=records,
                arrivals=Arrivals(servers, self.events, receptions=self.receptions),
                now_us=self.now_us,
            ),
            now_us=self.now_us,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ConnectService]:
        """A replica that runs."""
        service = self.service()
        service.start()
        try:
            await until(lambda: service.ready()[0] and _known(service))
            yield service
        finally:
            await service.close()
            service.stop()

    def event(self, key: str, request_id: str = "ab" * 16) -> None:
        """One on the events topic, as the gateway would have put it there."""
        self._producer.produce(
            self.events, b"an event", key, headers=[(HEADER_REQUEST_ID, request_id.encode())]
        )
        self._producer.flush(10)

    def names(self) -> list[str]:
        """Of the secrets there are."""
        return self.file.names()


def _known(service: ConnectService) -> bool:
    try:
        service._records.there("none")
    except Exception:
        return False
    return True


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for something to come to pass."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def reach(service: ConnectService, session_id: str, wanted: Callable[[View], bool]) -> View:
    """The first view that is as wanted."""
    async with asyncio.timeout(30):
        async for view in service.changes(session_id):
            if wanted(view):
                return view
    raise AssertionError(f"the flow ended: {view.step} {view.problem}")


async def act(service: ConnectService, session_id: str, kind: ActionKind, **more: object) -> View:
    """An action on the view as it is now."""
    view = await service.view(session_id)
    action = Action(kind=kind, revision=view.revision, **more)  # type: ignore[arg-type]
    return await service.act(session_id, action)


def wanted(system: str = "", **more: object) -> WantedSession:
    """Of tenant acme."""
    return WantedSession(tenant="acme", system=system, **more)  # type: ignore[arg-type]
