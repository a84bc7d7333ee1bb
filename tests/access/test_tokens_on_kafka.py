"""Tokens and the audit log on a real broker: the commands, and how fast a revocation counts."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from credentials.token_check import admit
from hookline.commands import audit, connections, tokens
from hookline.processes.access import TokenFollower
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.telemetry.redaction import Redactor
from producer.connections.clients import TopicAccess, read_to_end
from schemas.api_token import Scope
from schemas.errors import AuditUnavailable, ConfigurationError, TokenRefused, TopicError
from tests.connections.fleet import until
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port

pytestmark = pytest.mark.kafka


class Desk:
    """A deployment's settings, its topics, and what is typed."""

    def __init__(self, broker: KafkaBroker, folder: Path, unique: str) -> None:
        self.config = folder / "hookline.yaml"
        self.broker = broker
        self.topics = {
            "tokens": broker.create_topic(f"tokens-{unique}", 1, cleanup_policy="compact"),
            "audit": broker.create_topic(f"audit-{unique}", 1),
            "connections": broker.create_topic(f"conn-{unique}", 1, cleanup_policy="compact"),
        }
        self.outputs = ""
        self.configure()

    def configure(self, **more: Any) -> None:
        self.config.write_text(
            yaml.safe_dump(
                {
                    "environment": "test",
                    "kafka": {"bootstrap_servers": self.broker.bootstrap_servers},
                    "topics": self.topics,
                    **more,
                }
            )
        )

    def run(self, *words: str, answer: str = "") -> Result:
        group = {"tokens": tokens, "audit": audit, "connections": connections}[words[0]].command
        found = CliRunner().invoke(group, [*words[1:], "--config", str(self.config)], input=answer)
        if words[:2] not in (("tokens", "create"), ("tokens", "rotate")):
            self.outputs += found.output
        self.outputs += str(found.exception or "")
        return found

    def done(self, *words: str, answer: str = "") -> str:
        result = self.run(*words, answer=answer)
        assert (result.exit_code, result.exception) == (0, None), result.output
        return result.stdout

    def refused(self, *words: str) -> str:
        result = self.run(*words)
        assert isinstance(result.exception, ConfigurationError), result.output
        return str(result.exception)

    def create(self, *words: str) -> tuple[str, dict[str, Any]]:
        text = self.done("tokens", "create", "--name", "ci", "--json", *words)
        found = json.loads(text)
        return found.pop("token"), found

    def listed(self) -> dict[str, dict[str, Any]]:
        lines = self.done("tokens", "list", "--json").splitlines()
        return {one["id"]: one for one in map(json.loads, lines)}

    def audited(self, *words: str) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.done("audit", "list", "--json", *words).splitlines()
        ]

    def follower(self) -> TokenFollower:
        settings = load(self.config, {})
        resolver = resolver_for({}, Redactor(), settings.credentials)
        return TokenFollower(settings, resolver, "console")


@pytest.fixture
def desk(kafka: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    return Desk(kafka, tmp_path, str(abs(hash(request.node.nodeid))))


def now_us() -> int:
    return time.time_ns() // 1000


def test_what_is_revoked_is_refused_by_three_followers_within_a_second(desk: Desk) -> None:
    made = [desk.create() for _ in range(10)]
    followers = [desk.follower() for _ in range(3)]
    for one in followers:
        one.start()
    try:
        until(lambda: all(one.ready()[0] for one in followers))
        with tokens.session(desk.config) as on:
            took_ms = []
            for text, token in made:
                began_s = time.monotonic()
                on.editor.revoke(token["id"])
                waiting = list(followers)
                while waiting:
                    assert time.monotonic() - began_s < 20
                    for one in [one for one in waiting if refuses(one, text)]:
                        waiting.remove(one)
                        took_ms.append((time.monotonic() - began_s) * 1000)
        print(f"revoked in {[round(ms) for ms in took_ms]} ms, write included")
        assert statistics.median(took_ms) < 1000
    finally:
        for one in followers:
            one.close()


def refuses(follower: TokenFollower, text: str) -> bool:
    try:
        admit(follower.tokens, text, now_us())
    except TokenRefused as refused:
        return refused.reason == "revoked"
    return False


def test_a_follower_goes_on_without_kafka_and_lets_nobody_in_before_it_knows(
    desk: Desk, tmp_path: Path
) -> None:
    text, _ = desk.create()
    one = desk.follower()
    one.start()
    until(lambda: one.ready()[0])
    admit(one.tokens, text, now_us())
    one.close()
    admit(one.tokens, text, now_us())
    desk.configure(kafka={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    away = desk.follower()
    away.start()
    try:
        until(lambda: "no answer from Kafka" in away.ready()[1])
        assert "API tokens are not known" in away.ready()[1]
    finally:
        away.close()


def test_a_use_is_noted_once_a_minute_and_seen_in_the_list(desk: Desk) -> None:
    _, token = desk.create()
    assert desk.listed()[token["id"]]["used_at_ms"] == 0
    one = desk.follower()
    for _ in range(1000):
        one.used(token["id"])
    records = one._uses.take()
    # At most two: the thousand may lie on both sides of a minute's end.
    assert len(records) == 1
    one._access.writer().write_all(records)
    used_ms = desk.listed()[token["id"]]["used_at_ms"]
    assert used_ms % 60_000 == 0
    assert 0 <= time.time() * 1000 - used_ms < 120_000


def test_create_shows_the_token_once_and_a_script_can_take_it(desk: Desk) -> None:
    result = desk.run("tokens", "create", "--name", "for alice", "--scopes",
                      "events:read,payloads:read", "--expires", "+7d")  # fmt: skip
    text = result.stdout.strip()
    assert text.startswith("hl_test_")
    assert "shown this once" in result.stderr
    (found,) = desk.listed().values()
    assert found["scopes"] == ["events:read", "payloads:read"]
    assert found["state"] == "active"
    table = desk.done("tokens", "list")
    assert "for alice" in table
    assert "never" in table
    assert text not in table


def test_a_token_is_made_for_this_environment_alone(desk: Desk) -> None:
    message = desk.refused("tokens", "create", "--name", "x", "--environment", "production")
    assert "--environment production: this deployment is test" in message
    text, _ = desk.create("--environment", "test", "--scopes", "all")
    assert text.startswith("hl_test_")
    assert desk.listed()[text[8:16]]["scopes"] == sorted(Scope)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--scopes", "events:write"), "events:write is none"),
        (("--expires", "+400d"), "366 days"),
        (("--name", " "), "--name"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_made(
    desk: Desk, words: tuple[str, ...], told: str
) -> None:
    assert told in desk.refused("tokens", "create", "--name", "x", *words)
    assert desk.listed() == {}


def test_rotate_gives_a_second_one_and_an_end_to_the_first(desk: Desk) -> None:
    old_text, old = desk.create("--expires", "+30d", "--scopes", "all")
    found = json.loads(desk.done("tokens", "rotate", old["id"], "--overlap", "+1h", "--json"))
    assert found["old"] == old["id"]
    assert found["scopes"] == old["scopes"]
    listed = desk.listed()
    assert listed[old["id"]]["rotated_to"] == found["id"]
    assert listed[old["id"]]["expires_at_ms"] < old["expires_at_ms"]
    assert listed[found["id"]]["state"] == "active"
    json.loads(desk.done("tokens", "rotate", found["id"], "--overlap", "now", "--json"))
    until(lambda: desk.listed()[found["id"]]["state"] == "expired")
    assert "is expired" in desk.refused("tokens", "rotate", found["id"])
    assert old_text not in desk.outputs


def test_revoke_asks_and_is_for_good(desk: Desk) -> None:
    _, token = desk.create()
    asked = desk.run("tokens", "revoke", token["id"], answer="n\n")
    assert f"Revoke API token {token['id']} (ci) of test" in asked.output
    assert desk.listed()[token["id"]]["state"] == "active"
    assert "within a second" in desk.done("tokens", "revoke", token["id"], answer="y\n")
    assert desk.listed()[token["id"]]["state"] == "revoked"
    assert "already" in desk.done("tokens", "revoke", token["id"], "--yes")
    assert "is revoked" in desk.refused("tokens", "rotate", token["id"])
    assert "tokens list" in desk.refused("tokens", "revoke", "AAAAAAAA", "--yes")


def test_every_change_is_in_the_audit_log_and_no_token_in_any_output(desk: Desk) -> None:
    text, token = desk.create("--scopes", "all")
    second = json.loads(desk.done("tokens", "rotate", token["id"], "--json"))
    desk.done("tokens", "revoke", second["id"], "--yes")
    entry = {"id": "acme", "tenant": "acme", "provider": "github",
             "secrets": [{"name": "old", "ref": "env:OLD"}]}  # fmt: skip
    file = desk.config.parent / "apply.yaml"
    file.write_text(yaml.safe_dump({"environment": "test", "connections": [entry]}))
    desk.done("connections", "apply", "-f", str(file))
    desk.done("connections", "pause", "acme")
    found = desk.audited()
    assert [(one["action"], one["outcome"]) for one in found] == [
        ("token.create", "done"), ("token.rotate", "done"), ("token.revoke", "done"),
        ("connection.apply", "done"), ("connection.pause", "done"),
    ]  # fmt: skip
    assert found[0]["details"]["token"] == token["id"]
    assert "@" in found[0]["who"]
    assert [one["action"] for one in desk.audited("--action", "connection.*")] == [
        "connection.apply", "connection.pause",
    ]  # fmt: skip
    assert len(desk.audited("--target", token["id"])) == 2
    assert len(desk.audited("--request", found[3]["request_id"])) == 1
    assert desk.audited("--who", "nobody@*") == []
    assert [one["action"] for one in desk.audited("--limit", "1")] == ["connection.pause"]
    assert "connection.pause" in desk.done("audit", "list")
    for place in (desk.outputs, everything_on(desk)):
        for one in (text, second["token"]):
            assert one not in place
            assert one[16:] not in place


def everything_on(desk: Desk) -> str:
    """All that is on the topics, as text."""

    class Kept:
        text = ""

        def apply(self, key: bytes | None, value: bytes | None, offset: int) -> None:
            self.text += (key or b"").decode("latin-1") + (value or b"").decode("latin-1")

    kept = Kept()
    for topic in desk.topics.values():
        access = TopicAccess(desk.broker.bootstrap_servers, topic)
        consumer = access.reader(50)
        read_to_end(access, consumer, kept)
        consumer.close()
    assert "token.create" in kept.text
    return kept.text


def test_without_the_audit_topic_nothing_is_changed_but_a_revocation(desk: Desk) -> None:
    _, token = desk.create()
    there = desk.topics["audit"]
    desk.topics["audit"] = "not-there"
    desk.configure()
    result = desk.run("tokens", "create", "--name", "x")
    assert isinstance(result.exception, AuditUnavailable)
    assert "hookline topics apply" in str(result.exception)
    assert len(desk.listed()) == 1
    result = desk.run("tokens", "revoke", token["id"], "--yes")
    assert "without a record of it" in result.output
    assert desk.listed()[token["id"]]["state"] == "revoked"
    desk.configure(audit={"required": False})
    assert len(desk.done("tokens", "create", "--name", "x").strip()) > 40
    desk.topics["audit"] = there
    desk.configure()
    assert [one["action"] for one in desk.audited()] == ["token.create"]


def test_without_kafka_or_the_topic_the_next_step_is_told(desk: Desk) -> None:
    desk.topics["tokens"] = "not-there"
    desk.configure()
    missing = desk.run("tokens", "list").exception
    assert isinstance(missing, TopicError)
    assert "hookline topics apply" in str(missing)


def test_a_change_that_was_cut_off_is_seen_as_unknown(desk: Desk) -> None:
    with tokens.session(desk.config) as on:
        on.audit._log.begin(on.audit._actor, "token.create")
    assert [one["outcome"] for one in desk.audited()] == ["unknown"]
    assert desk.audited("--outcome", "done") == []
    assert [one["took_ms"] for one in desk.audited("--outcome", "unknown")] == [None]
