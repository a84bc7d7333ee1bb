"""A console over real stores: made-up rows in the monitor's, dead letters and parked keys in the
consumer's, a token for each kind of visitor. The clock stands still where the rows end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.testclient import TestClient

from console.access import Gate
from console.app import build
from console.visit import ConnectionFacts, Directory, Parts, SecretFacts
from consumer.monitor.sqlite import SqliteMonitor
from consumer.stores.contract import Letter, ParkedEvent, Partition
from consumer.stores.operations import Operations
from consumer.stores.sqlite import open_sqlite
from consumer.stores.sqlite_operations import SqliteOperations
from credentials.api_token import make_token
from credentials.token_ledger import TokenLedger
from schemas.access_codec import API_TOKEN
from schemas.api_token import ApiToken, TokenKey
from schemas.api_token import Scope as TokenScope
from schemas.codec import EVENT
from schemas.dead_letter import DeadLetter
from schemas.event import Event
from schemas.execution import Execution, Reception
from schemas.request_id import make
from tests.monitor.made_up import ENVIRONMENT, connections, fill, gauges, rows

#: Tuesday, 2026-11-24 16:00:30 UTC: in the middle of a minute, as now mostly is.
NOW_US: Final = 1_795_536_030_000_000
GROUP: Final = "hookline"
_TOPIC: Final = "hookline.events"
_US: Final = 1_000_000


class FixedDirectory:
    """Connections as a test has them."""

    def __init__(self, facts: Sequence[ConnectionFacts] | None) -> None:
        self.facts = facts

    def connections(self, environment: str) -> Sequence[ConnectionFacts] | None:
        """See `Directory`."""
        return self.facts


class Stage:
    """The console and all that is behind it, in a folder."""

    def __init__(
        self,
        folder: Path,
        made: Sequence[Execution | Reception],
        *,
        directory: Directory | None = None,
        now_us: int = NOW_US,
        trace_url: str = "jaeger+https://jaeger.example.com",
    ) -> None:
        self.rows = list(made)
        self.now_us = now_us
        self.monitor = SqliteMonitor(folder / "monitor.db")
        if self.rows:
            fill(self.monitor, iter(self.rows))
            self.monitor.record(gauges(now_us, hours=2))
        self.store_path = folder / "consumer.db"
        store = open_sqlite(str(self.store_path), GROUP)
        store.close()
        self.ledger = TokenLedger(ENVIRONMENT)
        self.gate = Gate(self.ledger, now_us=lambda: self.now_us)
        self.parts = Parts(
            questions=self.monitor,
            operations=self._operations,
            directory=directory or FixedDirectory(facts(now_us)),
            now_us=lambda: self.now_us,
            redactor=lambda payload: payload.decode("utf-8", "replace"),
            trace_url=trace_url,
        )
        self.app: Starlette = build(self.parts, self.gate)

    @contextmanager
    def _operations(self) -> Iterator[Operations]:
        opened = SqliteOperations(self.store_path, GROUP)
        try:
            yield opened
        finally:
            opened.close()

    def close(self) -> None:
        """Release the stores."""
        self.monitor.close()

    def token(self, *scopes: TokenScope, name: str = "on-call") -> str:
        """A new token; with no scope named, all of them."""
        secret, kept = make_token(ENVIRONMENT)
        token = ApiToken(
            id=kept.id,
            environment=ENVIRONMENT,
            name=name,
            digest=kept.digest,
            scopes=tuple(scope.value for scope in scopes or tuple(TokenScope)),
            created_at_us=self.now_us,
            expires_at_us=self.now_us + 86_400 * _US,
        )
        key = TokenKey(ENVIRONMENT, kept.id).encode()
        self.ledger.apply(key, API_TOKEN.encode(token), self.ledger.next_offset)
        return secret.reveal()

    def visitor(self, *scopes: TokenScope) -> TestClient:
        """A browser that has signed in."""
        client = TestClient(self.app, follow_redirects=False, raise_server_exceptions=False)
        client.headers["accept"] = "text/html"
        answer = client.post("/sign-in", data={"token": self.token(*scopes), "next": "/"})
        assert answer.status_code == 303, answer.text
        return client

    def bury(self, *letters: Letter) -> None:
        """Dead letters in the consumer's store."""
        self._commit(lambda commit: commit.bury(letters))

    def park(self, *events: ParkedEvent) -> None:
        """Parked events in the consumer's store."""
        self._commit(lambda commit: commit.park(events, self.now_us // 1000 + 90_000))

    def _commit(self, change) -> None:  # type: ignore[no-untyped-def]
        store = open_sqlite(str(self.store_path), GROUP)
        try:
            claim = store.claim([Partition(_TOPIC, 0)])[0]
            with store.commit() as commit:
                change(commit)
                commit.advance([claim], {claim.partition: 1_000_000}, {}, self.now_us // _US)
        finally:
            store.close()


def facts(now_us: int) -> list[ConnectionFacts]:
    """What the connections topic would say of the made-up connections."""
    now_s = now_us / _US
    found = []
    for number, one in enumerate(connections(20)):
        secrets = [
            SecretFacts(name="2026-09", state="active", not_before_s=now_s - 75 * 86_400),
        ]
        if number == 1:
            secrets = [
                SecretFacts(
                    name="2026-05", state="active", not_before_s=now_s - 190 * 86_400,
                    not_after_s=now_s + 5 * 86_400,
                )
            ]  # fmt: skip
        found.append(
            ConnectionFacts(
                connection=one.connection,
                tenant=one.tenant,
                provider=one.provider,
                state="paused" if number == 7 else "active",
                changed_at_us=now_us - 40 * 86_400 * _US,
                secrets=secrets,
            )
        )
    return found


def event(number: int, now_us: int = NOW_US, **more: object) -> Event:
    """An event, as the log has it."""
    fields: dict[str, object] = {
        "request_id": make(now_us // 1000 - number * 60_000, b"%010d" % number),
        "environment": ENVIRONMENT,
        "tenant": "globex",
        "connection": "globex-stripe-6",
        "provider": "stripe",
        "event_id": f"evt_{number:06d}",
        "event_type": "invoice.paid",
        "resource_type": "invoice",
        "resource_id": f"in_{number % 7}",
        "received_at_us": now_us - number * 60 * _US,
        "payload": b'{"id": "evt_%06d", "amount": 4200, "currency": "eur"}' % number,
    }
    return Event(**fields | more)  # type: ignore[arg-type]


def letter(number: int, now_us: int = NOW_US, *, of: Event | None = None, **more: object) -> Letter:
    """A dead letter of an event."""
    of = of or event(number, now_us)
    fields: dict[str, object] = {
        "reason": "permanent",
        "detail": "ValueError in apply_invoice",
        "died_at_us": now_us - number * 60 * _US,
        "stage": "CONSUMER",
        "attempts": 1,
        "connection": of.connection,
        "group": GROUP,
        "topic": _TOPIC,
        "partition": 0,
        "offset": number,
        "key": of.resource_key.encode(),
        "value": EVENT.encode(of),
        "request_id": of.request_id,
    }
    return Letter(
        dedupe_id=of.dedupe_id,
        letter=DeadLetter(**fields | more),  # type: ignore[arg-type]
        event_type=of.event_type,
        resource_key=of.resource_key,
    )


def parked_event(number: int, now_us: int = NOW_US, **more: object) -> ParkedEvent:
    """A parked event: the first of its resource failed, the others wait behind it."""
    of = event(number, now_us)
    found = ParkedEvent(
        partition=Partition(_TOPIC, 0),
        key=of.resource_key.encode(),
        offset=10_000 + number,
        value=EVENT.encode(of),
        request_id=of.request_id,
        connection=of.connection,
        event_type=of.event_type,
        reason="exhausted" if number < 7 else "behind",
        parked_at_ms=now_us // 1000 - 600_000 + number,
    )
    return msgspec.structs.replace(found, **more)


def made_up(executions: int, days: float = 8, now_us: int = NOW_US) -> list[Execution | Reception]:
    """Rows that end now."""
    return list(rows(executions, until_us=now_us, days=days))
