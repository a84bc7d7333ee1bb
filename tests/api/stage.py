"""The console's API over the scripted connect service and topics in memory: what follows them and
what writes to them is the real code, only Kafka is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from console.access.rates import Rate
from console.api import Api, ApiParts
from console.api.app import ApiRates
from console.api.kept_answers import KeptAnswers
from console.app import build
from credentials.audit_log import AuditLog
from credentials.secret import Secret
from producer.connect.flow.state import Check, CheckState
from producer.connect.search import search
from producer.connect.service import FlowRefused
from producer.connect.session import SessionRefused, parse_session_token
from producer.connect.system import System
from producer.connect.system_secrets import Told, Verdict
from producer.connect.systems import Catalogue
from producer.connect.view import View
from producer.connections.followed import FollowedConnections
from schemas.access_codec import AUDIT
from schemas.api_token import Scope
from schemas.audit import AuditRecord
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import RecordKey, Writer
from schemas.errors import NotAcknowledged
from tests.connect_page.fake_service import ENVIRONMENT, FakeService
from tests.connections.making import connection, record
from tests.console.stage import Stage

SYSTEMS = Catalogue.load().all()
PLENTY = Rate(1_000_000, 100_000)


class MemoryTopic:
    """A topic's partition: whoever listens is told in the order of the writes, before they return.
    `before` runs ahead of each write, such as to let another's come between."""

    def __init__(self, topic: str = "memory") -> None:
        self.topic = topic
        self.records: list[tuple[bytes, bytes | None]] = []
        self.listeners: list[Any] = []
        self.away = False
        self.before: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def listen(self, listener: Any) -> None:
        """Tell it all, and then each record."""
        with self._lock:
            listener.began(False)
            for offset, (key, value) in enumerate(self.records):
                listener.came(key, value, offset)
            listener.ended(len(self.records))
            self.listeners.append(listener)

    def writer(self) -> MemoryTopic:
        """As `TopicAccess.writer`."""
        return self

    def write(self, key: bytes, value: bytes | None) -> int:
        """As `TopicWriter.write`."""
        return self.write_all([(key, value)])

    def write_all(self, records: Sequence[tuple[bytes, bytes | None]]) -> int:
        """As `TopicWriter.write_all`."""
        if self.before:
            self.before.pop(0)()
        if self.away:
            raise NotAcknowledged("Kafka did not confirm")
        with self._lock:
            for key, value in records:
                self.records.append((key, value))
                for one in self.listeners:
                    one.came(key, value, len(self.records) - 1)
            return len(self.records) - 1


class MemoryWriter:
    """A secret backend."""

    scheme = "sealed"

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def write(self, name: str, secret: Secret) -> str:
        self.kept[f"sealed:{name}"] = secret.reveal()
        return f"sealed:{name}"

    def delete(self, ref: str) -> None:
        self.kept.pop(ref, None)


class Secrets:
    """A system that takes a new secret, or says what it is told to; and a gateway."""

    def __init__(self) -> None:
        self.knows = True
        self.told = Told(verdict=Verdict.TAKEN)
        self.given: list[tuple[str, Secret | None]] = []
        self.signs: list[str] = []
        #: Runs when the system is asked.
        self.meanwhile: Callable[[], None] = lambda: None

    async def served(self, connection_id: str) -> bool:
        self.signs.append(connection_id)
        return self.knows

    async def change(
        self, access: ConnectionAccess, tenant: str, system: System, secret: Secret | None
    ) -> Told:
        self.given.append((access.connection, secret))
        self.meanwhile()
        return self.told


class ApiService(FakeService):
    """With what the API asks for besides."""

    def __init__(self) -> None:
        super().__init__()
        self._catalogue = Catalogue(SYSTEMS)  # type: ignore[assignment]
        self.checks: tuple[Check, ...] = (
            Check(id="credentials", title="Credentials", state=CheckState.PASSED, took_ms=12),
        )
        self.removed: list[tuple[str, str]] = []
        self.book: FollowedConnections | None = None
        self.left: tuple[str, ...] = ()
        self.secrets = Secrets()

    async def view(self, session_id: str) -> View:
        if session_id not in self._flows:
            raise SessionRefused("unknown", "There is no such session here.")
        return self._flows[session_id].view

    async def create(self, wanted: Any) -> Any:
        if self.refuse:
            raise self.refuse.pop(0)
        token = self.make(wanted)
        return Secret(token), self._flows[parse_session_token(token).id].session

    async def check(self, connection_id: str) -> tuple[Check, ...]:
        assert self.book is not None
        if self.book.look(lambda ledger: ledger.access(connection_id)) is None:
            raise FlowRefused("not_now", "It was not made by the connect flow.")
        return self.checks

    async def remove(self, connection_id: str, by: str) -> tuple[str, ...]:
        assert self.book is not None
        self.removed.append((connection_id, by))
        self.book.revoke(connection_id, by)
        if not self.left:
            self.book.remove(connection_id)
        return self.left


class Records:
    """An audit topic."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.away = False

    def write(self, key: bytes, value: bytes | None) -> int:
        if self.away:
            raise NotAcknowledged("Kafka did not confirm")
        self.records.append(AUDIT.decode(value or b""))
        return len(self.records)


class ApiStage:
    """All of it."""

    def __init__(self, folder: Path, *, rates: ApiRates | None = None, **more: Any) -> None:
        self.stage = Stage(folder, [])
        self.connections, self.sessions = MemoryTopic("connections"), MemoryTopic("sessions")
        self.service, self.writer, self.audit = ApiService(), MemoryWriter(), Records()
        self.stage.gate.audit = AuditLog(self.audit, ENVIRONMENT, redact=lambda text: text)
        self.now_us = lambda: self.stage.now_us
        self.book = FollowedConnections(
            self.connections,  # type: ignore[arg-type]
            ENVIRONMENT,
            now_us=self.now_us,
        )
        self.connections.listen(self.book)
        self.service.book = self.book
        self.clock_s = 0.0
        self.rates = rates or ApiRates(requests=PLENTY, changes=PLENTY)
        self.more = {"service": self.service, "writer": self.writer} | more
        self.answers = self.replica_answers()
        self.app = self.build(self.answers)

    def replica_answers(self) -> KeptAnswers:
        """What one more replica knows of the keys."""
        answers = KeptAnswers(self.sessions, ENVIRONMENT, now_us=self.now_us)
        self.sessions.listen(answers)
        return answers

    def build(self, answers: KeptAnswers) -> Any:
        """A replica."""
        parts = ApiParts(
            **{
                "book": self.book,
                "answers": answers,
                "search": search,
                "public_url": "https://console.example.com",
                "origin_allowed": lambda origin: origin == "https://app.example.com",
                "rates": self.rates,
                "now_us": self.now_us,
                "clock_s": lambda: self.clock_s,
                **self.more,
            }
        )
        return build(self.stage.parts, self.stage.gate, api=Api(parts))

    def client(self, *scopes: Scope, app: Any = None, token: str = "") -> TestClient:
        """A backend with a token of these scopes; all, if none is named."""
        client = TestClient(app or self.app, follow_redirects=False, raise_server_exceptions=False)
        client.headers["authorization"] = f"Bearer {token or self.stage.token(*scopes)}"
        return client

    def have(
        self,
        name: str = "acme-github",
        *,
        system: str = "",
        refs: Mapping[str, str] | None = None,
        by: Writer = Writer.COMMAND,
        file: bool = False,
        **more: Any,
    ) -> None:
        """A connection on the topic; with `system`, one that the connect flow made."""
        refs = refs or {"first": "sealed:acme/x/first"}
        made = connection(name, refs=dict(refs), **{"environment": ENVIRONMENT, **more})
        if system:
            access = ConnectionAccess(
                connection=name,
                environment=ENVIRONMENT,
                system=system,
                values={"address": "https://github.example.com"},
                credentials={
                    "token": "sealed:acme/x/token",
                    "signing_secret": next(iter(refs.values())),
                },
                webhook_id="72",
                account="octocat",
                label="Team A",
                changed_at_us=1,
            )
            key = RecordKey(ENVIRONMENT, name, access=True).encode()
            self.connections.write(key, CONNECTION_ACCESS.encode(access))
        self.connections.write(*record(made, by=by, file=made if file else None))

    def close(self) -> None:
        """Release it."""
        self.stage.close()
