"""`hookline connections`: which there are, and what every gateway is to do with each."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml
from msgspec.structs import replace

from hookline.commands.config import config_option
from hookline.commands.connection_editing import (
    Session,
    as_yaml_value,
    must_be_known,
    must_be_there,
    must_not_be_revoked,
    secret_state,
    session,
)
from hookline.commands.connection_files import export, import_
from hookline.commands.letter_filter import ago, lines, printable
from hookline.settings.loading import Settings, check
from hookline.settings.yaml_source import read_source
from producer.connections.ledger import Ledger
from producer.providers.registry import build
from schemas.connection import Connection, ConnectionState
from schemas.errors import ConfigurationError

_WITHIN = "every gateway does so within a second"


@click.group("connections")
def command() -> None:
    """See and change which connections there are; every gateway follows at once."""


command.add_command(export)
command.add_command(import_)


@command.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
def list_(config: Path | None, as_json: bool) -> None:
    """List all connections of this environment."""
    with session(config) as on:
        ledger = on.ledger
    summaries = [_summary(ledger, name) for name in sorted(ledger.ids())]
    if as_json:
        for summary in summaries:
            click.echo(json.dumps(summary))
        return
    if not summaries:
        click.echo(
            f"no connection in environment {ledger.environment}: add one under `connections:` of "
            "hookline.yaml, or with `hookline connections apply`"
        )
    else:
        lines(
            ("connection", "tenant", "provider", "state", "secrets", "written by", "changed"),
            [_row(summary) for summary in summaries],
        )
    _say_foreign(on)


@command.command("show")
@config_option
@click.argument("connection")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--yaml", "as_yaml", is_flag=True, help="As `connections apply -f` takes it.")
def show(config: Path | None, connection: str, as_json: bool, as_yaml: bool) -> None:
    """Show one connection: its state, its secrets' names, and who changed it."""
    with session(config) as on:
        ledger = on.ledger
        must_be_known(ledger, connection)
    if as_yaml:
        found = must_be_there(ledger, connection)
        click.echo(_file_text(ledger.environment, [found]), nl=False)
        return
    summary = _summary(ledger, connection)
    if as_json:
        click.echo(json.dumps(summary))
        return
    secrets = summary.pop("secrets")
    for name, value in summary.items():
        if name != "options" or value:
            text = value if isinstance(value, str) else json.dumps(value)
            click.echo(f"{name:<12}  {printable(text)}")
    if secrets:
        click.echo("")
        lines(
            ("secret", "state", "reference"),
            [(one["name"], one["state"], one["ref"]) for one in secrets],
        )


@command.command("apply")
@config_option
@click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path),
    help="YAML with `environment` and `connections`, as in hookline.yaml.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the difference and write nothing.")
def apply(config: Path | None, file: Path, dry_run: bool) -> None:
    """Make the connections of a file as the file says; others are left alone."""
    with session(config) as on:
        wanted = _read_file(file, on.settings)
        _may_be_applied(on.ledger, wanted)
        changed = 0
        for connection in wanted:
            difference = _difference(on.ledger, connection)
            if not difference:
                click.echo(f"{connection.id}: unchanged")
                continue
            changed += 1
            click.echo(difference)
            if not dry_run:
                name = connection.id
                with on.audit.change("connection.apply", name, connection=name):
                    on.editor.put(name, _to(connection))
        names = {item.id for item in on.settings.connections}
    if dry_run:
        click.echo(f"{changed} would be written; nothing was")
        return
    click.echo(f"{changed} written: {_WITHIN}" if changed else "nothing to write")
    if both := sorted(names & {connection.id for connection in wanted}):
        click.echo(
            f"{', '.join(both)}: hookline.yaml has an entry too; this stands until that entry "
            "changes"
        )


@command.command("pause")
@config_option
@click.argument("connection")
def pause(config: Path | None, connection: str) -> None:
    """Take no more webhooks of a connection, until `resume`. They are answered 404."""
    _set_state(config, connection, ConnectionState.PAUSED)


@command.command("resume")
@config_option
@click.argument("connection")
def resume(config: Path | None, connection: str) -> None:
    """Take the webhooks of a paused connection again."""
    _set_state(config, connection, ConnectionState.ACTIVE)


@command.command("revoke")
@config_option
@click.argument("connection")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(config: Path | None, connection: str, yes: bool) -> None:
    """Never take a webhook of a connection again, whatever the file says. For good."""
    with session(config) as on:
        must_be_known(on.ledger, connection)
        if on.ledger.revoked(connection):
            click.echo(f"{connection} is revoked already")
            return
        if not yes:
            click.confirm(
                f"Revoke {connection} ({on.ledger.environment}) for good? Its webhooks are "
                "answered 404 from then on",
                abort=True,
            )
        with on.audit.change("connection.revoke", connection, connection=connection, urgent=True):
            on.editor.revoke(connection)
    click.echo(f"{connection} is revoked: its webhooks are answered 404; {_WITHIN}")
    click.echo(
        'see it: hookline_connections{state="revoked"}, and hookline_connections_age_seconds below '
        "10 on each gateway"
    )


@command.command("remove")
@config_option
@click.argument("connection")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(config: Path | None, connection: str, yes: bool) -> None:
    """Forget a connection, its revocations too: its id may be used anew."""
    with session(config) as on:
        must_be_known(on.ledger, connection)
        if connection in {item.id for item in on.settings.connections}:
            raise ConfigurationError(
                f"hookline.yaml lists {connection}, so the next gateway that starts would write it "
                "again: take it out of the file first, or use `hookline connections revoke`"
            )
        if not yes:
            click.confirm(f"Remove {connection} ({on.ledger.environment})?", abort=True)
        with on.audit.change("connection.remove", connection, connection=connection):
            on.editor.remove(connection)
    click.echo(f"{connection} is removed: its webhooks are answered 404; {_WITHIN}")


def _set_state(config: Path | None, name: str, state: ConnectionState) -> None:
    with session(config) as on:
        if must_be_there(on.ledger, name).state is state and not on.ledger.revoked(name):
            click.echo(f"{name} is {state.value} already")
            return

        def change(ledger: Ledger) -> Connection:
            must_not_be_revoked(ledger, name)
            return replace(must_be_there(ledger, name), state=state)

        pausing = state is ConnectionState.PAUSED
        action = f"connection.{'pause' if pausing else 'resume'}"
        with on.audit.change(action, name, connection=name, urgent=pausing):
            on.editor.put(name, change)
    answer = "taken" if state is ConnectionState.ACTIVE else "answered 404"
    click.echo(f"{name} is {state.value}: its webhooks are {answer}; {_WITHIN}")


def _to(connection: Connection) -> Callable[[Ledger], Connection]:
    def change(ledger: Ledger) -> Connection:
        _may_be_applied(ledger, [connection])
        return connection

    return change


def _read_file(file: Path, settings: Settings) -> list[Connection]:
    source = read_source(file)
    extra = sorted(set(source.value) - {"environment", "connections"})
    if extra:
        raise ConfigurationError(
            f"{source.where((extra[0],))}: {extra[0]} is nothing that is applied; write only "
            "`environment` and `connections`"
        )
    of = source.value.setdefault("environment", settings.environment)
    if of != settings.environment:
        raise ConfigurationError(
            f"{source.where(('environment',))}: these connections are of environment {of}, and "
            f"this deployment is {settings.environment}: apply them there, or write "
            f"`environment: {settings.environment}` with secrets of {settings.environment}"
        )
    found = check(source, {})
    if not found.connections:
        raise ConfigurationError(f"{file}: there is no connection under `connections:`")
    return [item.to_connection(settings.environment) for item in found.connections]


def _may_be_applied(ledger: Ledger, wanted: list[Connection]) -> None:
    for connection in wanted:
        must_not_be_revoked(ledger, connection.id)
        if connection.state is ConnectionState.REVOKED:
            raise ConfigurationError(
                f"connection {connection.id}: to revoke it is no part of `apply`, since it is for "
                f"good: `hookline connections revoke {connection.id}`"
            )
        out = ledger.revoked_secrets(connection.id) & {s.name for s in connection.secrets}
        if out:
            raise ConfigurationError(
                f"connection {connection.id}: secret {', '.join(sorted(out))} was revoked, and "
                "stays so: take it out, and give a new one another name"
            )
        build(connection.provider, connection.options)


def _difference(ledger: Ledger, wanted: Connection) -> str:
    record = ledger.record(wanted.id)
    before = _text(record.connection) if record is not None else ""
    after = _text(wanted)
    if before == after:
        return ""
    found = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{wanted.id} (now)", f"{wanted.id} (then)",
        lineterm="",
    )  # fmt: skip
    return "\n".join(map(printable, found))


def _text(connection: Connection) -> str:
    return yaml.safe_dump(as_yaml_value(connection), sort_keys=False)


def _file_text(environment: str, connections: list[Connection]) -> str:
    whole = {"environment": environment, "connections": [as_yaml_value(c) for c in connections]}
    return yaml.safe_dump(whole, sort_keys=False)


def _summary(ledger: Ledger, name: str) -> dict[str, Any]:
    record = ledger.record(name)
    standing = ledger.standing(name)
    found: dict[str, Any] = {
        "connection": name,
        "environment": ledger.environment,
        "state": str(standing) if standing is not None else "revoked",
    }
    if record is None:
        return found | {"problem": ledger.problem(name), "secrets": []}
    now_s, revoked = time.time(), ledger.revoked_secrets(name)
    return found | {
        "tenant": record.connection.tenant,
        "provider": record.connection.provider,
        "options": record.connection.options,
        "written_by": record.written_by.value,
        "changed_by": record.changed_by,
        "changed_at_ms": record.changed_at_us // 1000,
        "secrets": [
            {"name": s.name, "ref": s.ref, "state": secret_state(s, revoked, now_s)}
            for s in record.connection.secrets
        ],
    }


def _row(summary: dict[str, Any]) -> tuple[str, ...]:
    if "problem" in summary:
        return summary["connection"], "-", "-", summary["state"], "-", "-", summary["problem"]
    secrets = ", ".join(
        one["name"] if one["state"] == "active" else f"{one['name']} ({one['state']})"
        for one in summary["secrets"]
    )
    return (
        summary["connection"],
        summary["tenant"],
        summary["provider"],
        summary["state"],
        secrets or "-",
        summary["written_by"],
        ago(summary["changed_at_ms"] * 1000),
    )


def _say_foreign(on: Session) -> None:
    topic = on.settings.topics.connections
    for what, count in on.ledger.foreign.items():
        click.echo(
            f"ignored on {topic}: {count} of {what}; this deployment is {on.settings.environment}",
            err=True,
        )
