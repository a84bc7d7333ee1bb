"""What the commands that change connections share: a session on the topic, and words about it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from hookline.commands.auditing import CommandAudit, command_audit, whoami
from hookline.processes.gateway_registry import topic_access
from hookline.processes.process import resolver_for
from hookline.settings.loading import Settings, load
from hookline.telemetry.redaction import Redactor
from producer.connections.editor import Editor
from producer.connections.ledger import Ledger, Standing
from schemas.connection import Connection, SecretReference
from schemas.errors import ConfigurationError

_AHEAD: Final = re.compile(r"\+?(\d+)\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Session(NamedTuple):
    """The settings of this deployment, and its connections as they are on the topic."""

    settings: Settings
    editor: Editor
    audit: CommandAudit

    @property
    def ledger(self) -> Ledger:
        """What the topic says."""
        return self.editor.ledger


@contextmanager
def session(config: Path | None) -> Iterator[Session]:
    """Everything read from the topic, and a way to write to it."""
    settings = load(config, os.environ)
    redactor = Redactor()
    resolver = resolver_for(os.environ, redactor, settings.credentials)
    access = topic_access(settings, resolver)
    with Editor(access, settings.environment, whoami()) as editor:
        yield Session(settings, editor, command_audit(settings, resolver, redactor))


class FutureMoment(click.ParamType[float]):
    """A time: ISO 8601 with its zone, `now`, or from now on (`+24h`, `+7d`); as Unix s."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Unix s; an error that shows the forms for anything else."""
        if isinstance(value, float):
            return value
        if value == "now":
            return time.time()
        if match := _AHEAD.fullmatch(value):
            ahead = timedelta(**{_UNITS[match[2]]: int(match[1])})
            return (datetime.now(UTC) + ahead).timestamp()
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail("write a time such as 2026-11-24T09:00:00Z, or +24h, +7d, or now")
        return moment.timestamp()


def must_be_there(ledger: Ledger, connection_id: str) -> Connection:
    """The connection as it was written; ConfigurationError with the next step if there is none."""
    must_be_known(ledger, connection_id)
    record = ledger.record(connection_id)
    if record is None:
        raise ConfigurationError(
            f"the record of connection {connection_id} cannot be read: "
            f"{ledger.problem(connection_id)}"
        )
    return record.connection


def must_be_known(ledger: Ledger, connection_id: str) -> None:
    """ConfigurationError with the next step if the topic says nothing of the connection."""
    if connection_id in ledger or ledger.revoked(connection_id):
        return
    near = get_close_matches(connection_id, ledger.ids(), 1, 0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigurationError(
        f"there is no connection {connection_id!r} in environment {ledger.environment}: {hint}"
        "`hookline connections list` shows all"
    )


def must_not_be_revoked(ledger: Ledger, connection_id: str) -> None:
    """ConfigurationError with the next step if it is revoked, which is for good."""
    if ledger.revoked(connection_id) or ledger.standing(connection_id) is Standing.REVOKED:
        raise ConfigurationError(
            f"connection {connection_id} was revoked, and stays so: give the new one another id, "
            f"or take this one away first with `hookline connections remove {connection_id}`"
        )


def secret_of(connection: Connection, name: str) -> SecretReference:
    """One of its secrets; ConfigurationError naming those that there are."""
    for secret in connection.secrets:
        if secret.name == name:
            return secret
    there = ", ".join(secret.name for secret in connection.secrets) or "none"
    raise ConfigurationError(
        f"connection {connection.id} has no secret {name!r}; there are: {there}"
    )


def as_yaml_value(connection: Connection) -> dict[str, Any]:
    """As a file for `hookline connections apply` has it."""
    found: dict[str, Any] = {
        "id": connection.id,
        "tenant": connection.tenant,
        "provider": connection.provider,
        "state": connection.state.value,
        "secrets": [_secret_value(secret) for secret in connection.secrets],
    }
    if connection.options:
        found["options"] = connection.options
    return found


def _secret_value(secret: SecretReference) -> dict[str, Any]:
    found: dict[str, Any] = {"name": secret.name, "ref": secret.ref}
    for name, at_s in (("not_before", secret.not_before_s), ("not_after", secret.not_after_s)):
        if at_s is not None:
            found[name] = moment(at_s)
    if secret.environment:
        found["environment"] = secret.environment
    return found


def moment(unix_s: float) -> str:
    """As people and files write it; to the second."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def secret_state(secret: SecretReference, revoked: frozenset[str], now_s: float) -> str:
    """In a word or two, what becomes of what is signed with it."""
    if secret.name in revoked:
        return "revoked"
    if secret.not_after_s is not None and now_s >= secret.not_after_s:
        return f"retired since {moment(secret.not_after_s)}"
    if secret.not_before_s is not None and now_s < secret.not_before_s:
        return f"from {moment(secret.not_before_s)}"
    if secret.not_after_s is not None:
        return f"until {moment(secret.not_after_s)}"
    return "active"


def counting(ledger: Ledger, connection: Connection, at_s: float) -> list[str]:
    """The names of the secrets that count at a time."""
    revoked = ledger.revoked_secrets(connection.id)
    return [s.name for s in connection.secrets if s.active(at_s) and s.name not in revoked]
