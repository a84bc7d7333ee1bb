"""`secrets check` and `send` know the connections of the topic, and those of the file at need."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from credentials.key_ring import Key
from hookline.commands.known_connections import Known, names, of_topic
from hookline.commands.secrets import command as secrets_group
from hookline.commands.send import command as send
from producer.connections.ledger import Ledger
from producer.providers.provider import Request, Verified
from producer.providers.registry import build
from schemas.connection import ConnectionState
from schemas.errors import ConfigurationError
from tests.connections.fleet import entry
from tests.connections.making import ENVIRONMENT, connection, record, revocation
from tests.connections.test_commands import Desk
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port
from tests.providers.http_request import RepeatableHeaders

LISTED = connection()


def ledger(*records: tuple[bytes, bytes]) -> Ledger:
    made = Ledger(ENVIRONMENT)
    for at, (key, value) in enumerate(records):
        made.apply(key, value, at)
    return made


def ids(known: Known) -> list[str]:
    return [one.id for one in known.all()]


def test_what_the_topic_says_counts_and_the_file_s_word_is_told_apart() -> None:
    of_command = connection("of-command")
    seeded = connection("seeded")
    changed = connection("changed", refs={"old": "env:OLD", "next": "env:NEXT"})
    fresh = connection("fresh")
    known = of_topic(
        ledger(
            record(of_command),
            record(replace(seeded, state=ConnectionState.PAUSED), file=seeded),
            record(connection("changed"), file=connection("changed")),
            revocation("changed", "old"),
            record(connection("gone")),
            revocation("gone"),
        ),
        (seeded, changed, fresh, connection("gone")),
    )
    assert [one.id for one in known.counting] == ["changed", "of-command", "seeded"]
    assert known.counting[2].state is ConnectionState.PAUSED
    assert known.coming == (changed, fresh)
    assert ids(known) == ["changed", "of-command", "seeded", "fresh"]
    assert known.named("changed") == connection("changed")
    assert known.revoked["changed"] == {"old"}
    assert known.notes == (
        "changed has changed in the settings file: the next gateway that starts writes it",
        "fresh is not on the topic yet: the next gateway that starts writes it",
        "gone is revoked, though the settings file lists it",
    )


def test_a_record_that_cannot_be_read_is_told() -> None:
    key, _ = record(connection("odd"))
    known = of_topic(ledger((key, b"\xc3\x01rubbish")), ())
    assert ids(known) == []
    assert known.notes[0].startswith("the record of odd cannot be read: ")


def test_an_unknown_name_is_told_with_the_nearest_and_not_with_thousands() -> None:
    many = tuple(connection(f"acme-{n}") for n in range(1000))
    with pytest.raises(ConfigurationError, match=r"'acme-x'; did you mean acme-\d+\?.*980 more$"):
        Known(many).named("acme-x")
    assert names([]) == "none"


class Sink:
    """Takes webhooks and keeps who has signed each."""

    def __init__(self) -> None:
        github = build("github", {})
        keys = [Key(name, github.load_key(name)) for name in ("OLD", "NEW", "NEXT")]
        self.signers: list[str] = []
        signers = self.signers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = RepeatableHeaders([(k.lower(), v) for k, v in self.headers.items()])
                verdict = github.verify(Request(headers, body), keys, time.time())
                assert isinstance(verdict, Verified)
                signers.append(f"{self.path.rpartition('/')[2]} by {verdict.secret_name}")
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def desk(
    kafka: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: Any
) -> Desk:
    for name in ("OLD", "NEW", "NEXT"):
        monkeypatch.setenv(name, name)
    monkeypatch.setenv("COLUMNS", "200")
    name = f"known-{abs(hash(request.node.nodeid))}"
    return Desk(kafka, tmp_path, kafka.create_topic(name, 1, cleanup_policy="compact"))


def check(desk: Desk, *words: str) -> tuple[list[list[str]], Result]:
    """The rows of the table, as words."""
    result = CliRunner().invoke(secrets_group, ["check", *words, "--config", str(desk.config)])
    rows = [line.split() for line in result.output.splitlines()]
    return [row[1:] for row in rows if row[:1] == ["connection"]], result


@pytest.mark.kafka
def test_secrets_check_looks_at_what_is_on_the_topic(desk: Desk) -> None:
    desk.done("secrets", "rotate", "acme", "new", "env:NEW")
    desk.done("secrets", "revoke", "acme", "old", "--yes")
    changed = entry("acme", {"old": "env:OLD", "new": "env:NEW", "next": "env:NEXT"})
    desk.configure([changed, entry("fresh")])
    rows, result = check(desk)
    assert rows == [
        ["acme", "old", "env:OLD", "revoked"],
        ["acme", "new", "env:NEW", "ok"],
        ["acme", "next", "env:NEXT", "ok"],
        ["fresh", "old", "env:OLD", "ok"],
    ]
    assert result.exception is None
    assert "acme has changed in the settings file" in result.output
    assert "fresh is not on the topic yet" in result.output
    rows, _ = check(desk, "acme")
    assert {row[0] for row in rows} == {"acme"}


@pytest.mark.kafka
def test_secrets_check_fails_for_what_a_command_has_written(desk: Desk) -> None:
    desk.done("secrets", "rotate", "acme", "new", "env:NOT_THERE")
    _, result = check(desk)
    assert isinstance(result.exception, ConfigurationError)
    assert "connection acme: secret new: env:NOT_THERE cannot be read" in str(result.exception)
    desk.done("secrets", "revoke", "acme", "new", "--yes")
    desk.done("secrets", "revoke", "acme", "old", "--yes")
    rows, result = check(desk)
    assert [row[-1] for row in rows[:2]] == ["revoked", "revoked"]
    assert "no secret counts now" in str(result.exception)


def post(desk: Desk, sink: Sink, *words: str) -> Result:
    return CliRunner().invoke(send, ["--url", sink.url, "--config", str(desk.config), *words])


@pytest.mark.kafka
def test_send_signs_with_the_newest_secret_that_counts_on_the_topic(desk: Desk, sink: Sink) -> None:
    assert post(desk, sink).exit_code == 0
    desk.done("secrets", "rotate", "acme", "new", "env:NEW")
    desk.done("secrets", "rotate", "acme", "next", "env:NEXT", "--not-before", "+1h")
    assert post(desk, sink).exit_code == 0
    desk.done("secrets", "revoke", "acme", "new", "--yes")
    assert post(desk, sink).exit_code == 0
    desk.configure([entry("fresh", {"one": "env:NEXT"})])
    assert "--connection: write one of acme, fresh" in str(post(desk, sink).exception)
    assert post(desk, sink, "--connection", "fresh").exit_code == 0
    assert sink.signers == ["acme by OLD", "acme by NEW", "acme by OLD", "fresh by NEXT"]
    desk.done("secrets", "retire", "acme", "old", "--at", "now", "--force")
    message = str(post(desk, sink, "--connection", "acme").exception)
    assert "no secret that signs and counts now" in message
    assert "hookline secrets rotate acme" in message


@pytest.mark.kafka
def test_without_kafka_send_takes_the_file_s_and_says_so(desk: Desk, sink: Sink) -> None:
    desk.broker = f"127.0.0.1:{free_port()}"
    desk.configure([entry("listed", {"one": "env:NEW"})])
    result = post(desk, sink)
    assert result.exit_code == 0
    assert f"nobody listens at {desk.broker}" in result.output
    assert "the settings file alone" in result.output
    assert sink.signers == ["listed by NEW"]
    desk.configure([])
    assert "there is no connection: add one" in str(post(desk, sink).exception)
