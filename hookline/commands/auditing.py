"""What the commands that change something share: the audit log, and who is at the keyboard."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from credentials.audit_log import Actor, AuditLog, Change
from credentials.resolver import Resolver
from hookline.processes.access import audit_log
from hookline.processes.process import resolver_for
from hookline.settings.loading import Settings
from hookline.telemetry.redaction import Redactor

_SHOWN: Final = 20


class CommandAudit:
    """The audit log, with the person at this keyboard as who makes the changes."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._actor = Actor(who=whoami(), via="command", from_where=socket.gethostname())

    @contextmanager
    def change(
        self,
        action: str,
        target: str = "",
        *,
        connection: str = "",
        urgent: bool = False,
        **details: object,
    ) -> Iterator[Change]:
        """Around a change; AuditUnavailable, before it, if it cannot be written down.

        `urgent`: made all the same, with a warning, as it takes something away.
        """
        with self._log.change(
            self._actor,
            action,
            target=target,
            connection=connection,
            urgent=urgent,
            details=details,
        ) as change:
            yield change


def command_audit(
    settings: Settings, resolver: Resolver | None = None, redactor: Redactor | None = None
) -> CommandAudit:
    """The audit log of these settings; Kafka is reached at the first change."""
    redactor = redactor or Redactor()
    resolver = resolver or resolver_for(os.environ, redactor, settings.credentials)
    return CommandAudit(audit_log(settings, resolver, redactor.redact, _warn))


def whoami() -> str:
    """user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def some(names: list[int] | list[str]) -> str:
    """Names in a line; of very many the first, and how many more."""
    more = len(names) - _SHOWN
    return ", ".join(map(str, names[:_SHOWN])) + (f", and {more} more" if more > 0 else "")


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)
