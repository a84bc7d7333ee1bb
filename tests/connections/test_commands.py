"""`hookline connections` and `hookline secrets` as a person uses them, on a real topic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from hookline.commands.connections import command as connections
from hookline.commands.secrets import command as secrets
from producer.connections.clients import TopicAccess
from producer.connections.editor import Editor
from producer.connections.seeding import plan_seeding
from schemas.errors import ConfigurationError, TopicError
from tests.connections.fleet import entry
from tests.connections.making import connection
from tests.parts.kafka import KafkaBroker
from tests.parts.process import free_port

pytestmark = pytest.mark.kafka


class Desk:
    """A deployment's settings and a topic with `acme` in it, and what is typed."""

    def __init__(self, broker: KafkaBroker, folder: Path, topic: str) -> None:
        self.folder = folder
        self.config = folder / "hookline.yaml"
        self.file = folder / "apply.yaml"
        self.topic = topic
        self._audit = broker.create_topic(f"audit-of-{topic}", 1)
        self.broker = broker.bootstrap_servers
        self.configure([])
        with self.editor() as editor:
            editor.put("acme", lambda _: connection())

    def configure(self, listed: list[Any], environment: str = "test") -> None:
        self.config.write_text(
            yaml.safe_dump(
                {
                    "environment": environment,
                    "kafka": {"bootstrap_servers": self.broker},
                    "topics": {"connections": self.topic, "audit": self._audit},
                    "connections": listed,
                }
            )
        )

    def editor(self) -> Editor:
        return Editor(TopicAccess(self.broker, self.topic), "test", "a test")

    def run(self, *words: str, answer: str = "") -> Result:
        group = secrets if words[0] == "secrets" else connections
        arguments = [*words[1:], "--config", str(self.config)]
        return CliRunner().invoke(group, arguments, input=answer)

    def done(self, *words: str, answer: str = "") -> str:
        result = self.run(*words, answer=answer)
        assert (result.exit_code, result.exception) == (0, None), result.output
        return result.output

    def refused(self, *words: str) -> str:
        result = self.run(*words)
        assert isinstance(result.exception, ConfigurationError), result.output
        return str(result.exception)

    def listed(self, name: str = "acme") -> dict[str, Any]:
        lines = self.done("connections", "list", "--json").splitlines()
        return next(one for one in map(json.loads, lines) if one["connection"] == name)

    def secret_states(self) -> dict[str, str]:
        return {one["name"]: one["state"] for one in self.listed()["secrets"]}

    def apply(self, *connections: Any, environment: str | None = "test") -> tuple[str, ...]:
        found = {"connections": list(connections)}
        if environment is not None:
            found = {"environment": environment, **found}
        self.file.write_text(yaml.safe_dump(found, sort_keys=False))
        return "connections", "apply", "-f", str(self.file)


@pytest.fixture
def desk(kafka: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    name = f"desk-{abs(hash(request.node.nodeid))}"
    return Desk(kafka, tmp_path, kafka.create_topic(name, 1, cleanup_policy="compact"))


def test_list_and_show_say_all_but_no_secret(desk: Desk) -> None:
    text = desk.done("connections", "list")
    assert [word in text for word in ("acme", "github", "active", "old", "command", "ago")]
    found = desk.listed()
    assert found["secrets"] == [{"name": "old", "ref": "env:OLD", "state": "active"}]
    assert found["changed_by"] == "a test"
    shown = desk.done("connections", "show", "acme")
    assert "env:OLD" in shown
    assert json.loads(desk.done("connections", "show", "acme", "--json")) == found


def test_what_show_prints_as_yaml_is_what_apply_takes(desk: Desk) -> None:
    desk.done("secrets", "rotate", "acme", "new", "env:NEW", "--not-before", "+1h")
    desk.done("secrets", "retire", "acme", "old", "--at", "+7d")
    desk.file.write_text(desk.done("connections", "show", "acme", "--yaml"))
    assert "unchanged" in desk.done("connections", "apply", "-f", str(desk.file))


def test_apply_shows_the_difference_and_writes_only_without_dry_run(desk: Desk) -> None:
    words = desk.apply(entry(tenant="other"), entry("fresh"))
    text = desk.done(*words, "--dry-run")
    assert "-tenant: acme" in text
    assert "+tenant: other" in text
    assert "2 would be written" in text
    assert desk.listed()["tenant"] == "acme"
    assert "2 written" in desk.done(*words)
    assert desk.listed()["tenant"] == "other"
    assert desk.listed("fresh")["state"] == "active"
    assert "nothing to write" in desk.done(*words)


def test_apply_of_another_environment_is_refused_with_both_names(desk: Desk) -> None:
    words = desk.apply(entry(tenant="x"), environment="staging")
    message = desk.refused(*words)
    assert "staging" in message
    assert "this deployment is test" in message
    alien = entry("fresh")
    alien["secrets"][0]["environment"] = "staging"
    message = desk.refused(*desk.apply(alien, environment=None))
    assert "belongs to environment staging, these settings are of test" in message
    assert desk.listed()["tenant"] == "acme"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"provider": "githib"}, ["apply.yaml:", "mean github?"]),
        ({"secrets": {"x": "hunter2"}}, ["apply.yaml:", "env:NAME"]),
        ({"state": "revoked"}, ["hookline connections revoke acme"]),
        ({"options": {"no_such": 1}}, ["apply.yaml:", "no_such"]),
    ],
)
def test_a_mistake_in_a_file_is_told_and_nothing_is_written(
    desk: Desk, change: dict[str, Any], words: list[str]
) -> None:
    message = desk.refused(*desk.apply(entry("first"), entry(**change)))
    assert all(word in message for word in words), message
    assert "hunter2" not in message
    assert len(desk.done("connections", "list", "--json").splitlines()) == 1


def test_only_environment_and_connections_are_applied(desk: Desk) -> None:
    desk.file.write_text("connections: []\ngateway: {}\n")
    words = ("connections", "apply", "-f", str(desk.file))
    assert "apply.yaml:2: gateway is nothing that is applied" in desk.refused(*words)
    desk.file.write_text("connections: []\n")
    assert "there is no connection" in desk.refused(*words)


def test_pause_and_resume(desk: Desk) -> None:
    assert "answered 404" in desk.done("connections", "pause", "acme")
    assert "already" in desk.done("connections", "pause", "acme")
    assert desk.listed()["state"] == "paused"
    desk.done("connections", "resume", "acme")
    assert desk.listed()["state"] == "active"


def test_an_unknown_connection_is_told_with_the_nearest(desk: Desk) -> None:
    for words in (("show",), ("pause",), ("revoke", "--yes"), ("remove", "--yes")):
        message = desk.refused("connections", words[0], "acne", *words[1:])
        assert "did you mean acme?" in message


def test_revoke_asks_and_is_for_good(desk: Desk) -> None:
    asked = desk.run("connections", "revoke", "acme", answer="n\n")
    assert asked.exit_code == 1
    assert desk.listed()["state"] == "active"
    desk.done("connections", "revoke", "acme", answer="y\n")
    assert desk.listed()["state"] == "revoked"
    assert "already" in desk.done("connections", "revoke", "acme", "--yes")
    for words in (("connections", "resume", "acme"), desk.apply(entry()),
                  ("secrets", "rotate", "acme", "new", "env:NEW")):  # fmt: skip
        assert "hookline connections remove acme" in desk.refused(*words)
    desk.done("connections", "remove", "acme", "--yes")
    assert "no connection" in desk.done("connections", "list")
    desk.done(*desk.apply(entry()))
    assert desk.listed()["state"] == "active"


def test_remove_is_refused_while_the_file_lists_it(desk: Desk) -> None:
    desk.configure([entry()])
    assert "take it out of the file first" in desk.refused("connections", "remove", "acme", "--yes")
    desk.configure([])
    assert "Remove acme" in desk.run("connections", "remove", "acme", answer="n\n").output
    desk.done("connections", "remove", "acme", answer="y\n")
    assert "no connection" in desk.done("connections", "list")


def test_what_a_command_writes_keeps_what_the_file_said_last(desk: Desk) -> None:
    listed = connection("seeded")
    with desk.editor() as editor:
        for key, value in plan_seeding(editor.ledger, [listed], 1, "hookline.yaml").writes:
            editor._write(key.encode(), value)
    desk.done("connections", "pause", "seeded")
    with desk.editor() as editor:
        assert plan_seeding(editor.ledger, [listed], 2, "hookline.yaml").writes == []


def test_rotate_adds_beside_and_tells_how_to_see_the_old_one_unused(desk: Desk) -> None:
    text = desk.done("secrets", "rotate", "acme", "new", "env:NEW", "--not-before", "+1h")
    assert 'secret_name="old"' in text
    assert "hookline secrets retire acme old" in text
    states = desk.secret_states()
    assert states["old"] == "active"
    assert states["new"].startswith("from ")
    assert "another name" in desk.refused("secrets", "rotate", "acme", "new", "env:NEW")


def test_rotate_takes_no_literal_and_does_not_repeat_it(desk: Desk) -> None:
    message = desk.refused("secrets", "rotate", "acme", "new", "whsec_hunter2")
    assert "not a secret reference" in message
    assert "hunter2" not in message
    assert "NAME" in desk.refused("secrets", "rotate", "acme", "New Name", "env:NEW")
    assert "never count" in desk.refused(
        "secrets", "rotate", "acme", "n", "env:NEW", "--not-before", "+2h", "--not-after", "+1h"
    )


def test_the_ninth_secret_takes_the_place_of_one_that_counts_no_more(desk: Desk) -> None:
    for n in range(7):
        desk.done("secrets", "rotate", "acme", f"s{n}", f"env:S{n}")
    assert "retire one first" in desk.refused("secrets", "rotate", "acme", "s7", "env:S7")
    desk.done("secrets", "revoke", "acme", "s3", "--yes")
    desk.done("secrets", "rotate", "acme", "s7", "env:S7")
    assert "s3" not in desk.secret_states()
    assert "stays so" in desk.refused("secrets", "rotate", "acme", "s3", "env:OTHER")


def test_retire_ends_one_and_never_the_last_unasked(desk: Desk) -> None:
    assert "rotate acme" in desk.refused("secrets", "retire", "acme", "old")
    desk.done("secrets", "rotate", "acme", "new", "env:NEW")
    assert "until" in desk.done("secrets", "retire", "acme", "old", "--at", "now")
    assert desk.secret_states()["old"].startswith("retired since")
    assert "there are: old, new" in desk.refused("secrets", "retire", "acme", "neu")
    desk.done("secrets", "retire", "acme", "new", "--force")


def test_revoke_a_secret_asks_and_says_when_it_was_the_last(desk: Desk) -> None:
    asked = desk.run("secrets", "revoke", "acme", "old", answer="n\n")
    assert "NO OTHER SECRET COUNTS" in asked.output
    assert desk.secret_states() == {"old": "active"}
    text = desk.done("secrets", "revoke", "acme", "old", answer="y\n")
    assert "hookline secrets rotate acme" in text
    assert desk.secret_states() == {"old": "revoked"}
    assert "already" in desk.done("secrets", "revoke", "acme", "old", "--yes")
    assert "stays so" in desk.refused(*desk.apply(entry()))


def test_without_kafka_or_the_topic_the_next_step_is_told(desk: Desk) -> None:
    desk.topic = "not-there"
    desk.configure([])
    missing = desk.run("connections", "list").exception
    assert isinstance(missing, TopicError)
    assert "hookline topics apply" in str(missing)
    desk.broker = f"127.0.0.1:{free_port()}"
    desk.configure([])
    away = desk.run("connections", "list").exception
    assert isinstance(away, TopicError)
    assert desk.broker in str(away)
