"""`hookline tokens`: our own API tokens, for the console and its scripts. Each is shown once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from credentials.secret import Secret
from credentials.token_editor import TokenEditor
from credentials.token_ledger import TokenLedger
from hookline.commands.auditing import CommandAudit, command_audit, whoami
from hookline.commands.config import config_option
from hookline.commands.connection_editing import FutureMoment
from hookline.commands.letter_filter import ago, lines
from hookline.processes.access import now_us, tokens_access
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.telemetry.redaction import Redactor
from producer.connections.clients import read_to_end
from schemas.api_token import SCOPE_MEANINGS, ApiToken, Scope
from schemas.errors import ConfigurationError

_WITHIN: Final = "every process refuses it within a second"


class Session(NamedTuple):
    """All tokens of this deployment, and ways to change them and to say so."""

    ledger: TokenLedger
    editor: TokenEditor
    audit: CommandAudit


@contextmanager
def session(config: Path | None, environment: str | None = None) -> Iterator[Session]:
    """Everything read from the topic; ConfigurationError if it is another environment's."""
    settings = load(config, os.environ)
    if environment not in (None, settings.environment):
        raise ConfigurationError(
            f"--environment {environment}: this deployment is {settings.environment}, and a token "
            f"made here would be refused there: run this with the settings of {environment}"
        )
    redactor = Redactor()
    resolver = resolver_for(os.environ, redactor, settings.credentials)
    access = tokens_access(settings, resolver)
    ledger = TokenLedger(settings.environment)
    consumer = access.reader(50)
    try:
        read_to_end(access, consumer, ledger)
    finally:
        consumer.close()
    editor = TokenEditor(ledger, access.writer(), whoami(), now_us)
    yield Session(ledger, editor, command_audit(settings, resolver, redactor))


@click.group("tokens")
def command() -> None:
    """Make, list, rotate and revoke the API tokens that people and scripts sign in with."""


@command.command("create")
@config_option
@click.option("--environment", help="Of this deployment; another is refused.")
@click.option("--name", required=True, help="What or whom it is for.")
@click.option(
    "--scopes",
    default=Scope.EVENTS_READ.value,
    show_default=True,
    help=f"What it may do, with commas: {', '.join(Scope)}; or all.",
)
@click.option("--expires", type=FutureMoment(), default="+90d", show_default=True,
              help="When it ends: a time, or from now on; 366 days at most.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def create(
    config: Path | None,
    environment: str | None,
    name: str,
    scopes: str,
    expires: float,
    as_json: bool,
) -> None:
    """Make a token and show it, this once: only a digest of it is kept."""
    wanted = _scopes(scopes)
    with session(config, environment) as on:
        ends = _moment(expires * 1e6)
        with on.audit.change(
            "token.create", name=name, scopes=",".join(wanted), expires=ends
        ) as change:
            secret, token = on.editor.create(name, wanted, round(expires * 1_000_000))
            change.note(token=token.id)
    _show_once(secret, token, as_json)


@command.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_(config: Path | None, as_json: bool) -> None:
    """List all tokens of this environment, the newest first; none of them is shown."""
    with session(config) as on:
        rows = [_row(on.ledger, token_id) for token_id in on.ledger.ids()]
    rows.sort(key=lambda row: -int(row["created_at_ms"]))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    if not rows:
        click.echo(
            f"no API token in environment {on.ledger.environment}: make one with `hookline tokens "
            "create --name …`"
        )
        return
    lines(
        ("id", "name", "state", "scopes", "expires", "last used", "created by"),
        [
            (
                row["id"],
                row["name"] or "-",
                row["state"],
                ",".join(row["scopes"]) or "-",
                _moment(row["expires_at_ms"] * 1000) if row["expires_at_ms"] else "-",
                ago(row["used_at_ms"] * 1000) if row["used_at_ms"] else "never",
                row["created_by"] or "-",
            )
            for row in rows
        ],
    )


@command.command("rotate")
@config_option
@click.argument("token_id", metavar="ID")
@click.option("--overlap", type=FutureMoment(), default="+24h", show_default=True,
              help="Until when the old one counts, too: a time, +24h, or now.")  # fmt: skip
@click.option("--expires", type=FutureMoment(), help="When the new one ends; as long as the old.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def rotate(
    config: Path | None, token_id: str, overlap: float, expires: float | None, as_json: bool
) -> None:
    """Make a token that takes the place of another: both count until the overlap ends."""
    expires_at_us = None if expires is None else round(expires * 1_000_000)
    overlap_us = max(0, round((overlap - time.time()) * 1_000_000))
    with session(config) as on:
        on.editor.active(token_id)
        until = _moment(overlap * 1e6)
        with on.audit.change("token.rotate", token_id, overlap_until=until) as change:
            secret, token, old = on.editor.rotate(token_id, overlap_us, expires_at_us)
            change.note(token=token.id)
    _show_once(secret, token, as_json, old)


@command.command("revoke")
@config_option
@click.argument("token_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(config: Path | None, token_id: str, yes: bool) -> None:
    """Accept a token no more, at once and for good; its sessions end."""
    with session(config) as on:
        # Also one that cannot be read: its id is enough.
        standing = on.ledger.standing(token_id, now_us())
        if standing is None:
            on.editor.active(token_id)
        if standing is not None and standing.value == "revoked":
            click.echo(f"{token_id} is revoked already")
            return
        token = on.ledger.token(token_id)
        named = f" ({token.name})" if token is not None else ""
        if not yes:
            click.confirm(
                f"Revoke API token {token_id}{named} of {on.ledger.environment} for good?",
                abort=True,
            )
        with on.audit.change("token.revoke", token_id, urgent=True):
            on.editor.revoke(token_id)
    click.echo(f"{token_id} is revoked: {_WITHIN}, and its sessions end")


def _scopes(text: str) -> list[str]:
    if text.strip() == "all":
        return list(Scope)
    wanted = [scope.strip() for scope in text.split(",") if scope.strip()]
    if unknown := sorted(set(wanted) - set(Scope)):
        meanings = "".join(f"\n  {scope}: {text}" for scope, text in SCOPE_MEANINGS.items())
        raise ConfigurationError(
            f"--scopes: {', '.join(unknown)} is none; there are, beside all:{meanings}"
        )
    return wanted


def _show_once(secret: Secret, token: ApiToken, as_json: bool, old: ApiToken | None = None) -> None:
    """The token on stdout and the words on stderr, so that a script can take it."""
    if as_json:
        shown = _as_json(token) | {"token": secret.reveal()}
        if old is not None:
            shown |= {"old": old.id, "old_expires_at_ms": old.expires_at_us // 1000}
        click.echo(json.dumps(shown))
        return
    click.echo(
        f"API token {token.id} ({token.name}) of {token.environment} may "
        f"{', '.join(token.scopes)} until {_moment(token.expires_at_us)}.",
        err=True,
    )
    if old is not None:
        click.echo(f"The old one, {old.id}, counts until {_moment(old.expires_at_us)}.", err=True)
    click.echo("It is shown this once; keep it where secrets are kept:", err=True)
    click.echo(secret.reveal())


def _row(ledger: TokenLedger, token_id: str) -> dict[str, Any]:
    standing = ledger.standing(token_id, now_us())
    token = ledger.token(token_id)
    blank = {"id": token_id, "name": "", "scopes": [], "created_at_ms": 0, "expires_at_ms": 0,
             "created_by": "", "rotated_from": "", "rotated_to": ""}  # fmt: skip
    return (
        (_as_json(token) if token is not None else blank)
        | {"state": standing.value if standing is not None else "unknown"}
        | {"used_at_ms": ledger.used_us(token_id) // 1000}
    )


def _as_json(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "environment": token.environment,
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at_ms": token.created_at_us // 1000,
        "created_by": token.created_by,
        "expires_at_ms": token.expires_at_us // 1000,
        "rotated_from": token.rotated_from,
        "rotated_to": token.rotated_to,
    }


def _moment(unix_us: float) -> str:
    return datetime.fromtimestamp(unix_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
