"""The API over a real topic that real gateways follow: what it answers is so at the gateways."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from console.api import Api, ApiParts
from console.api.app import ApiRates
from console.api.kept_answers import KeptAnswers
from console.app import build
from credentials.audit_log import AuditLog
from credentials.secret import Secret
from producer.connect.search import search
from producer.connections.clients import TopicAccess
from producer.connections.followed import Changed, FollowedConnections
from producer.connections.follower import Follower
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import RecordKey
from tests.api.stage import ENVIRONMENT, PLENTY, ApiService, Records
from tests.chaos.rotation import until_answer
from tests.connections.fleet import SECRETS, Fleet, entry, until
from tests.connections.making import connection
from tests.console.stage import Stage
from tests.gateway.http_socket import exchange
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
URL = "/api/v1/connections"


class FileWriter:
    """A secret backend that the gateways read, too."""

    scheme = "file"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: list[str] = []

    def write(self, name: str, secret: Secret) -> str:
        path = self.folder / name.replace("/", "_")
        path.write_text(secret.reveal())
        path.chmod(0o600)
        self.values.append(secret.reveal())
        return f"file:{path}"

    def delete(self, ref: str) -> None:
        Path(ref.removeprefix("file:")).unlink(missing_ok=True)


class Console:
    """One replica's API, in this process, and what it follows."""

    def __init__(self, fleet: Fleet, folder: Path, sessions: str) -> None:
        self.stage = Stage(folder, [])
        self.stage.now_us = time.time_ns() // 1000
        self.audit = Records()
        self.stage.gate.audit = AuditLog(self.audit, fleet.environment, redact=lambda text: text)
        bootstrap = fleet.broker.bootstrap_servers
        access = TopicAccess(bootstrap, fleet.topic)
        answers_access = TopicAccess(bootstrap, sessions, about="connect-sessions")
        self.book = FollowedConnections(access, fleet.environment)
        self.answers = KeptAnswers(answers_access.writer(), fleet.environment)
        self.followers = [Follower(access, self.book), Follower(answers_access, self.answers)]
        for one in self.followers:
            one.start()
        self.service, self.writer = ApiService(), FileWriter(folder)
        self.service.book = self.book
        api = Api(
            ApiParts(
                book=self.book,
                answers=self.answers,
                service=self.service,
                search=search,
                writer=self.writer,
                rates=ApiRates(requests=PLENTY, changes=PLENTY),
            )
        )
        self.app = build(self.stage.parts, self.stage.gate, api=api)
        until(lambda: self.book._known is not None and self.answers._known is not None)

    def client(self, token: str) -> TestClient:
        client = TestClient(self.app, raise_server_exceptions=False)
        client.headers["authorization"] = f"Bearer {token}"
        return client

    def close(self) -> None:
        for one in self.followers:
            one.stop(5)
        self.stage.close()


@contextmanager
def consoles(fleet: Fleet, tmp_path: Path, count: int = 1) -> Iterator[list[Console]]:
    unique = uuid4().hex[:12]
    sessions = fleet.broker.create_topic(f"sessions-{unique}", 1, cleanup_policy="compact,delete")
    made = []
    for number in range(count):
        folder = tmp_path / f"console-{number}"
        folder.mkdir()
        made.append(Console(fleet, folder, sessions))
    try:
        yield made
    finally:
        for one in made:
            one.close()


def token_of(replicas: list[Console]) -> str:
    """One that every replica knows."""
    for one in replicas[1:]:
        one.stage.gate.tokens = replicas[0].stage.ledger
    return replicas[0].stage.token()


def test_a_revocation_answers_quickly_and_reaches_three_gateways_within_a_second(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    names = [f"c{n}" for n in range(6)]
    with (
        Fleet(kafka, tmp_path, [*map(entry, names)], gateways=3, environment=ENVIRONMENT) as fleet,
        consoles(fleet, tmp_path) as (console,),
    ):
        client = console.client(token_of([console]))
        until(lambda: len(client.get(URL).json()["connections"]) == len(names))
        answered_ms: list[float] = []
        refused_ms: list[float] = []

        def revoke(name: str) -> None:
            began_s = time.monotonic()
            answer = client.post(f"{URL}/{name}/revoke")
            answered_ms.append(1000 * (time.monotonic() - began_s))
            assert (answer.status_code, answer.json()["state"]) == (200, "revoked")

        for name in names:
            assert fleet.answers(name) == [200, 200, 200]
            refused_ms += until_answer(
                fleet, name, SECRETS["OLD"], 404, lambda name=name: revoke(name)
            )
        print(f"answered after {[round(ms) for ms in answered_ms]} ms")
        print(f"refused after {[round(ms) for ms in refused_ms]} ms")
        assert statistics.median(answered_ms) < 1000
        assert max(refused_ms) < 1000
        assert {one["state"] for one in client.get(URL).json()["connections"]} == {"revoked"}
        assert {one.action for one in console.audit.records} == {"connection.revoke"}


def test_what_the_api_changes_is_so_at_a_gateway(kafka: KafkaBroker, tmp_path: Path) -> None:
    with (
        Fleet(kafka, tmp_path, [], environment=ENVIRONMENT) as fleet,
        consoles(fleet, tmp_path) as (console,),
    ):
        client = console.client(token_of([console]))
        _connected(console, fleet)
        until(lambda: fleet.answers() == [200])
        assert client.post(f"{URL}/acme/pause").json()["state"] == "paused"
        until(lambda: fleet.answers() == [404])
        assert client.post(f"{URL}/acme/resume").json()["state"] == "active"
        until(lambda: fleet.answers() == [200])
        made = client.post(f"{URL}/acme/rotate-secret", json={"overlap_s": 3600}).json()
        (new,) = console.writer.values
        until(lambda: exchange(fleet.ports[0], fleet.request("acme", new)).status == 200)
        # The old one still counts.
        assert fleet.answers() == [200]
        again = client.post(f"{URL}/acme/rotate-secret", json={"overlap_s": 0}).json()
        assert set(again["retired"]) == {"old", made["added"]}
        until(lambda: fleet.answers() == [401])
        assert exchange(fleet.ports[0], fleet.request("acme", new)).status == 401
        newest = console.writer.values[-1]
        assert exchange(fleet.ports[0], fleet.request("acme", newest)).status == 200
        for value in console.writer.values:
            assert value not in fleet.log()
        assert client.delete(f"{URL}/acme").json() == {"removed": True, "left_over": []}
        until(lambda: exchange(fleet.ports[0], fleet.request("acme", newest)).status == 404)
        assert client.get(f"{URL}/acme").status_code == 404


def test_two_replicas_lose_no_change_and_do_one_thing_once(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with (
        Fleet(kafka, tmp_path, [], environment=ENVIRONMENT) as fleet,
        consoles(fleet, tmp_path, 2) as replicas,
    ):
        token = token_of(replicas)
        one, other = replicas
        _connected(one, fleet)
        until(lambda: other.client(token).get(f"{URL}/acme").status_code == 200)

        # Two rotations at once: one waits for the other, and both secrets are there.
        def rotate(console: Console) -> Any:
            deadline_s = time.monotonic() + 30
            while True:
                answer = console.client(token).post(f"{URL}/acme/rotate-secret")
                if answer.status_code != 409 or time.monotonic() > deadline_s:
                    return answer
                time.sleep(0.05)

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(rotate, replicas))
        assert [answer.status_code for answer in answers] == [200, 200]
        added = {answer.json()["added"] for answer in answers}
        names = lambda console: {  # noqa: E731
            secret["name"] for secret in console.client(token).get(f"{URL}/acme").json()["secrets"]
        }
        until(lambda: all(names(console) == {"old", *added} for console in replicas))
        # One key at both at once, many times: one session for each.
        for number in range(10):
            key = {"Idempotency-Key": f"k{number}"}

            def make(console: Console, key: dict[str, str] = key) -> Any:
                where = "/api/v1/connect-sessions"
                while True:
                    answer = console.client(token).post(where, json={"tenant": "acme"}, headers=key)
                    if answer.status_code != 409:
                        return answer
                    time.sleep(0.02)

            with ThreadPoolExecutor(2) as pool:
                made = list(pool.map(make, replicas))
            assert [answer.status_code for answer in made] == [201, 201]
            assert made[0].content == made[1].content
        assert len(one.service._flows) + len(other.service._flows) == 10


def _connected(console: Console, fleet: Fleet) -> None:
    """A connection as the connect flow makes one."""
    made: Connection = connection(environment=fleet.environment)
    access = ConnectionAccess(
        connection="acme",
        environment=fleet.environment,
        system="github",
        credentials={"signing_secret": "env:OLD"},
        webhook_id="72",
        changed_at_us=1,
    )
    key = RecordKey(fleet.environment, "acme", access=True).encode()
    console.book._write([(key, CONNECTION_ACCESS.encode(access))])
    console.book.put("acme", lambda _: Changed(made, access), "connect")
