"""P6: everything is used and broken with marked secrets, and no output holds one in any form."""

from __future__ import annotations

import json
import resource
import secrets
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.end_to_end.canaries import Canary, search
from tests.end_to_end.canary_secrets import SEALED
from tests.end_to_end.canary_stage import Stage
from tests.end_to_end.running import Running
from tests.gateway.http_socket import exchange, head
from tests.parts.kafka import KafkaBroker
from tests.parts.postgres import PostgresServer
from tests.parts.redis import RedisServer

pytestmark = [
    *(pytest.mark.kafka, pytest.mark.postgres, pytest.mark.redis),
    # One run of everything is behind the first test: some 50 processes.
    pytest.mark.timeout(900),
]

KINDS = [
    *("answers", "logs", "metrics", "traces and metrics", "topics", "files of Kafka", "files"),
    *("commands", "process list", "PostgreSQL", "Redis"),
]
#: Where people look who need not know what a customer sent.
WITHOUT_PAYLOAD = ("answers", "logs", "metrics", "traces and metrics", "commands", "process list")


@pytest.fixture(scope="module")
def stage(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # A core dump would hold secrets: none is to be left behind by the SIGABRT.
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    database = f"canary_{uuid4().hex}"
    postgres.query(f"CREATE DATABASE {database}")
    url = postgres.dsn.rpartition("/")[0] + f"/{database}"
    with RedisServer() as redis:
        played = Stage(tmp_path_factory.mktemp("canary"), url, redis)
        played.play()
        tables = (
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        for table in postgres.query(tables, url).splitlines():
            rows = postgres.query(f"SELECT * FROM {table}", url)
            played.places[f"PostgreSQL/{table}"] = rows.encode()
        for path in redis.data.rglob("*"):
            if path.is_file():
                played.places[f"Redis/{path.name}"] = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_CORE, limits)
    yield played
    postgres.query(f"DROP DATABASE {database} WITH (FORCE)")


def unexpected(stage: Stage, places: dict[str, bytes]) -> list[str]:
    """What was found, a line for each."""
    return [
        f"{found.place}: {found.canary}: {found.around!r}" for found in search(places, stage.marked)
    ]


def of_kind(stage: Stage, kind: str) -> dict[str, bytes]:
    return {name: data for name, data in stage.places.items() if name.partition("/")[0] == kind}


def test_all_was_used_and_broken(stage: Stage) -> None:
    """What is searched for secrets must have had the chance to hold one."""
    expected = {"valid": 200, "unreadable": 200, "while Kafka is away": 200}
    refused = {
        # A token says nothing of the body it comes with.
        "forged": {200, 401}, "secret alone": {200, 401},
        "elsewhere": {401}, "malformed": {401}, "unsigned": {401},
        "too large": {413}, "in the address": {401, 404}, "not POST": {405},
    }  # fmt: skip
    for what, status in expected.items():
        assert set(stage.statuses[what]) <= {status, 401}, (what, stage.statuses[what])
        assert stage.statuses[what].count(status) >= len(stage.statuses[what]) * 0.8, what
    for what, allowed in refused.items():
        assert set(stage.statuses[what]) <= allowed, (what, Counter(stage.statuses[what]))
    said = {name: data.decode("utf-8", "replace") for name, data in stage.places.items()}
    for line in ("accepted", "refused", "handshake answered", "Fatal Python error: "):
        assert line in said["logs/gateway"], line
    for store in ("consumer", "postgresql", "redis"):
        log = said[f"logs/{store}"]
        for line in ("a handler failed", "An uncaught exception ends a thread", "users.own"):
            assert line in log, (store, line)
    assert "Fatal Python error: " in said["logs/consumer"]
    assert "Traceback" in said["commands/consumer, crash at import"]
    # What is in the sealed file was there for the gateway, and the file is searched.
    assert SEALED in said["files/hookline.sealed"]
    assert any("1 secrets in" in said[name] for name in said if "reseal" in name)
    (checked,) = (said[name] for name in said if "secrets check in-sealed" in name)
    assert " ok" in checked
    assert "unavailable" not in checked
    assert {kind for kind in KINDS if not any(of_kind(stage, kind).values())} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_in(stage: Stage, kind: str) -> None:
    places = of_kind(stage, kind)
    for name, data in sorted(places.items()):
        print(f"{len(data):>10,} bytes  {name}")
    found = unexpected(stage, places)
    assert not found, "\n".join(found)


def test_what_was_sent_is_in_no_output_but_topics_and_stores(stage: Stage) -> None:
    places = {
        name: data
        for name, data in stage.places.items()
        if name.partition("/")[0] in WITHOUT_PAYLOAD or name == "topics/executions"
    }
    assert search(places, [stage.marked.payload]) == []
    # Events were applied, tried again and given up on, and the log knows of them.
    assert b"dead_lettered" in stage.places["topics/executions"]
    # And where it belongs it is: the search would have seen it.
    for place in (
        "topics/events",
        "topics/quarantine",
        "topics/dead_letters",
        "files/spool.db-wal",
    ):
        assert search({place: stage.places[place]}, [stage.marked.payload]), place


def test_how_much_was_searched(stage: Stage) -> None:
    canaries = list(stage.marked)
    needles = {needle for canary in canaries for needle in canary.forms()}
    size = sum(map(len, stage.places.values()))
    print(
        f"{len(canaries)} secrets in {len(needles)} forms; {len(stage.places)} places, {size:,} B"
    )
    for kind in KINDS:
        found = of_kind(stage, kind)
        print(f"{kind:<20} {len(found):>3} places {sum(map(len, found.values())):>12,} bytes")
    assert len(canaries) > 100
    assert len(needles) > 4_000


FORMS = ["plain", "hex", "base64 at 0", "base64 at 1", "base64 at 2", "percent", "URL", "backwards",
         "JSON in ASCII", "JSON in JSON", "UTF-16", "capitals"]  # fmt: skip


@pytest.mark.parametrize("kind", ["logs", "topics", "traces and metrics", "files"])
@pytest.mark.parametrize("form", FORMS)
def test_a_secret_that_is_planted_is_found(stage: Stage, kind: str, form: str) -> None:
    secret = stage.marked.by_name["STORE_PASSWORD"]
    needle = next(n for n, what in secret.forms().items() if what == f"{secret.name}, {form}")
    name, data = max(of_kind(stage, kind).items(), key=lambda place: len(place[1]))
    data = data[-100_000:]
    planted = data[: len(data) // 2] + b'"x' + needle + b"y" + data[len(data) // 2 :]
    found = search({name: planted}, stage.marked)
    assert secret.name in " ".join(one.canary for one in found)
    assert {one.place for one in found} == {name}


def test_half_a_secret_is_found() -> None:
    core = secrets.token_hex(12)
    canary = Canary("one", f"p={core}", core)
    for part in (core[:12], core[12:]):
        assert search({"a": f"cut {part}…".encode()}, [canary])
    assert not search({"a": b"nothing of it"}, [canary])


@pytest.mark.parametrize("leak", ["to the log", "past the redactor", "to stderr"])
def test_a_line_that_leaks_is_found(
    kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory, leak: str
) -> None:
    """Sabotage: the redactor catches what goes through it; the search what goes round it."""
    core = secrets.token_hex(12)
    canary = Canary("github", f"p+/&={core}", core)
    secret = {"name": "2026-11", "ref": "env:LEAKED"}
    connection = {"id": "a", "tenant": "acme", "provider": "github", "secrets": [secret]}
    folder = tmp_path_factory.mktemp("leak")
    running = Running(
        kafka,
        folder,
        connections=[connection],
        environ={"LEAKED": canary.value, "LEAK": leak},
        programs={"gateway": ["tests.end_to_end.leaking_gateway"]},
    )
    running.start("gateway")
    try:
        running.wait_ready("gateway", running.gateway_port)
        data = head("/webhooks/a", {"content-length": "2"}) + b"{}"
        assert exchange(running.gateway_port, data).status == 401
        running.processes["gateway"].stop()
        log = running.logs()
    finally:
        running.processes["gateway"].kill()
    found = search({"log": log.encode()}, [canary])
    if leak == "to the log":
        assert found == []
        assert "checking with **********" in log
    else:
        assert found
        assert "base64" in found[0].canary or leak != "to stderr"


def test_a_crash_says_where_and_not_with_what(stage: Stage) -> None:
    text = stage.places["commands/consumer, crash at import"].decode()
    crash = json.loads(text.splitlines()[-1])
    assert crash["exception"]["message"] == f"no connection with {['*' * 10] * 4}"
    assert "canary_handlers.py" in crash["exception"]["traceback"]
