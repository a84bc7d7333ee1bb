"""`hookline connect-sessions` and `hookline connections export|import`, on a real topic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from click.testing import CliRunner, Result

from credentials.seal_key import new_seal_key
from hookline.commands.connect_sessions import command as connect_sessions
from hookline.commands.connections import command as connections
from producer.connect.session import parse_session_token
from producer.connections.clients import TopicAccess
from producer.connections.editor import Editor
from schemas.connection import Connection, SecretReference
from schemas.connection_access import ConnectionAccess
from schemas.errors import ConfigurationError
from tests.parts.kafka import KafkaBroker

pytestmark = pytest.mark.kafka
REF = "sealed:acme/acme-github/token"


class Desk:
    """A deployment's settings, its topics, and what is typed."""

    def __init__(self, broker: KafkaBroker, folder: Path, environment: str = "test") -> None:
        unique = uuid4().hex[:10]
        self.folder = folder
        self.environment = environment
        self.config = folder / f"{unique}.yaml"
        self.topics = {
            "connections": broker.create_topic(f"conn-{unique}", 1, cleanup_policy="compact"),
            "connect_sessions": broker.create_topic(f"sess-{unique}", 1),
            "audit": broker.create_topic(f"audit-{unique}", 1),
        }
        self.broker = broker
        key = folder / "seal.key"
        if not key.exists():
            key.write_text(new_seal_key().reveal())
            key.chmod(0o600)
        self.settings: dict[str, Any] = {
            "environment": environment,
            "kafka": {"bootstrap_servers": broker.bootstrap_servers},
            "topics": self.topics,
            "credentials": {"sealed": {"path": str(folder / "sealed"), "key": f"file:{key}"}},
            "connect": {
                "gateway_url": "https://hooks.example.com",
                "public_url": "https://console.example.com",
                "secrets": {"backend": "sealed"},
            },
        }
        self.configure()

    def configure(self, **connect: Any) -> None:
        self.settings["connect"] |= connect
        self.config.write_text(yaml.safe_dump(self.settings))

    def run(self, group: Any, *words: str) -> Result:
        return CliRunner().invoke(group, [*words, "--config", str(self.config)])

    def done(self, group: Any, *words: str) -> Result:
        result = self.run(group, *words)
        assert (result.exit_code, result.exception) == (0, None), result.output
        return result

    def refused(self, group: Any, *words: str) -> str:
        result = self.run(group, *words)
        assert isinstance(result.exception, ConfigurationError), (result.output, result.exception)
        return str(result.exception)

    def editor(self) -> Editor:
        access = TopicAccess(self.broker.bootstrap_servers, self.topics["connections"])
        return Editor(access, self.environment, "a test")


@pytest.fixture
def desk(kafka: KafkaBroker, tmp_path: Path) -> Desk:
    return Desk(kafka, tmp_path)


def test_create_prints_a_link_for_one_customer(desk: Desk) -> None:
    result = desk.done(connect_sessions, "create", "--tenant", "acme", "--system", "github")
    link = result.stdout.strip()
    start, _, token = link.partition("#")
    found = parse_session_token(token)
    assert start == f"https://console.example.com/connect/{found.id}"
    assert found.environment == "test"
    assert "shown this once" in result.stderr
    as_json = json.loads(desk.done(connect_sessions, "create", "--tenant", "acme", "--json").stdout)
    assert as_json["url"].endswith(f"#{as_json['token']}")
    assert as_json["tenant"] == "acme"


def test_what_is_missing_or_wrong_is_told(desk: Desk) -> None:
    create = (connect_sessions, "create", "--tenant", "acme")
    assert "none-such" in desk.refused(*create, "--system", "none-such")
    assert "hookline catalogue" in desk.refused(*create, "--systems", "github,none-such")
    assert "tenant" in desk.refused(connect_sessions, "create", "--tenant", "No Slug")
    desk.configure(secrets=None)
    assert "connect.secrets.backend" in desk.refused(*create)
    desk.configure(gateway_url="")
    assert "connect.gateway_url" in desk.refused(*create)


def filled(desk: Desk) -> tuple[Connection, ConnectionAccess]:
    connection = Connection(
        id="acme-github",
        tenant="acme",
        provider="github",
        environment="test",
        secrets=(SecretReference(name="connect", ref="sealed:acme/acme-github/signing"),),
    )
    access = ConnectionAccess(
        connection="acme-github",
        environment="test",
        system="github",
        values={"repository": "acme/shop"},
        credentials={"token": REF},
        webhook_id="17\n18",
        account="acme",
        changed_at_us=1,
    )
    with desk.editor() as editor:
        editor.put_access(access)
        editor.put("acme-github", lambda _: connection)
        editor.put(
            "by-hand",
            lambda _: Connection(
                id="by-hand", tenant="acme", provider="stripe", environment="test",
                secrets=(SecretReference(name="old", ref="env:OLD"),),
            ),
        )  # fmt: skip
    return connection, access


def test_what_is_exported_can_be_imported_elsewhere_and_holds_references_alone(
    desk: Desk, kafka: KafkaBroker
) -> None:
    connection, access = filled(desk)
    file = desk.folder / "all.yaml"
    desk.done(connections, "export", "-o", str(file))
    text = file.read_text()
    assert REF in text
    assert desk.done(connections, "export").stdout == text
    other = Desk(kafka, desk.folder)
    assert (
        "2 of 2 connections would be written"
        in other.done(connections, "import", "-f", str(file), "--dry-run").output
    )
    with other.editor() as editor:
        assert editor.ledger.ids() == []
    other.done(connections, "import", "-f", str(file))
    with other.editor() as editor:
        record, found = editor.ledger.record("acme-github"), editor.ledger.access("acme-github")
        assert record is not None
        assert record.connection == connection
        assert found is not None
        assert (found.credentials, found.webhook_id) == (access.credentials, access.webhook_id)
        assert editor.ledger.access("by-hand") is None
    again = other.done(connections, "import", "-f", str(file)).output
    assert "0 of 2" in again
    assert other.done(connections, "export").stdout == text


def test_a_secret_in_the_file_is_refused_and_not_shown(desk: Desk) -> None:
    filled(desk)
    text = desk.done(connections, "export").stdout
    file = desk.folder / "edited.yaml"
    file.write_text(text.replace(REF, "ghp_canaryCanaryCanary"))
    told = desk.refused(connections, "import", "-f", str(file))
    assert "access.credentials.token" in told
    assert "edited.yaml:" in told
    assert "canary" not in told
    file.write_text(text.replace("environment: test", "environment: production", 1))
    assert "of environment production" in desk.refused(connections, "import", "-f", str(file))
    file.write_text(text.replace("system: github", "system: github\n    more: x", 1))
    assert "access.more" in desk.refused(connections, "import", "-f", str(file))


def test_what_is_revoked_is_left_out_and_not_taken_in(desk: Desk) -> None:
    filled(desk)
    text = desk.done(connections, "export").stdout
    with desk.editor() as editor:
        editor.revoke("acme-github")
    result = desk.done(connections, "export")
    assert "acme-github" not in result.stdout
    assert "left out: acme-github" in result.stderr
    file = desk.folder / "before.yaml"
    file.write_text(text)
    assert "was revoked" in desk.refused(connections, "import", "-f", str(file))
