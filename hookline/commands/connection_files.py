"""`hookline connections export` and `import`: all of them as one file, for GitOps.

The file has references and never a secret. What the connect flow made is in it with how its system
is reached (`access`), so that it is whole again where the file is imported.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from credentials.reference import parse_reference
from hookline.commands.auditing import whoami
from hookline.commands.config import config_option
from hookline.commands.connection_editing import as_yaml_value, must_not_be_revoked, session
from hookline.settings.loading import check
from hookline.settings.yaml_source import Source, read_source
from producer.connections.ledger import Ledger
from schemas.connection import Connection, ConnectionState
from schemas.connection_access import ConnectionAccess
from schemas.errors import ConfigurationError, SecretError


class _Access(BaseModel):
    """A connection's `access` in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    system: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    values: dict[str, str] = {}
    credentials: dict[str, str] = {}
    webhook_id: str = ""
    account: str = ""
    label: str = ""
    attention: str = ""


@click.command("export")
@config_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file; else printed.")
def export(config: Path | None, output: Path | None) -> None:
    """Write all connections as YAML, with references and no secret."""
    with session(config) as on:
        ledger = on.ledger
    listed = []
    for name in sorted(ledger.ids()):
        record = ledger.record(name)
        if record is None or ledger.revoked(name):
            # What is revoked is never taken in again, and what cannot be read is no state.
            click.echo(f"left out: {name} ({ledger.standing(name)})", err=True)
            continue
        value = as_yaml_value(record.connection)
        access = ledger.access(name)
        if access is not None:
            value["access"] = _as_yaml(access)
        listed.append(value)
    text = yaml.safe_dump(
        {"environment": ledger.environment, "connections": listed}, sort_keys=False
    )
    if output is None:
        click.echo(text, nl=False)
        return
    output.write_text(text, "utf-8")
    click.echo(f"{len(listed)} connections written to {output}")


@click.command("import")
@config_option
@click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path),
    help="What `export` has written.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be written and write nothing.")
def import_(config: Path | None, file: Path, dry_run: bool) -> None:
    """Make the connections of a file as the file says; others are left alone."""
    with session(config) as on:
        wanted = _read(file, on.settings.environment)
        for connection, _ in wanted:
            _may_be_written(on.ledger, connection)
        changed = 0
        for connection, access in wanted:
            name = connection.id
            record, before = on.ledger.record(name), on.ledger.access(name)
            same = record is not None and record.connection == connection
            if same and (access is None or _same(before, access)):
                continue
            changed += 1
            click.echo(f"{name}: {'changed' if record is not None else 'new'}")
            if dry_run:
                continue
            with on.audit.change("connection.import", name, connection=name):
                if access is not None:
                    # First: whoever sees the connection can get at its system.
                    on.editor.put_access(access)
                on.editor.put(name, partial(_checked, connection))
    would = " would be" if dry_run else ""
    click.echo(f"{changed} of {len(wanted)} connections{would} written")


def _checked(connection: Connection, ledger: Ledger) -> Connection:
    _may_be_written(ledger, connection)
    return connection


def _may_be_written(ledger: Ledger, connection: Connection) -> None:
    must_not_be_revoked(ledger, connection.id)
    if connection.state is ConnectionState.REVOKED:
        raise ConfigurationError(
            f"connection {connection.id}: to revoke it is no part of `import`, since it is for "
            f"good: `hookline connections revoke {connection.id}`"
        )


def _same(before: ConnectionAccess | None, wanted: ConnectionAccess) -> bool:
    return before is not None and _as_yaml(before) == _as_yaml(wanted)


def _as_yaml(access: ConnectionAccess) -> dict[str, Any]:
    found = {name: getattr(access, name) for name in _Access.model_fields}
    return {name: value for name, value in found.items() if value}


def _read(file: Path, environment: str) -> list[tuple[Connection, ConnectionAccess | None]]:
    source = read_source(file)
    of = source.value.setdefault("environment", environment)
    if of != environment:
        raise ConfigurationError(
            f"{source.where(('environment',))}: these connections are of environment {of}, and "
            f"this deployment is {environment}: import them there"
        )
    if extra := sorted(set(source.value) - {"environment", "connections"}):
        raise ConfigurationError(
            f"{source.where((extra[0],))}: {extra[0]} is nothing that is imported; write only "
            "`environment` and `connections`"
        )
    entries = source.value.get("connections")
    found = [
        entry.pop("access", None) if isinstance(entry, dict) else None
        for entry in (entries if isinstance(entries, list) else [])
    ]
    settings = check(source, {})
    connections = [item.to_connection(environment) for item in settings.connections]
    return [
        (one, _access(source, number, one, found[number])) for number, one in enumerate(connections)
    ]


def _access(
    source: Source, number: int, connection: Connection, found: Any
) -> ConnectionAccess | None:
    if found is None:
        return None
    where = f"{source.where(('connections', number, 'access'))}: connections[{number}].access"
    try:
        access = _Access.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{where}.{place}: {first['msg']}") from None
    for name, ref in access.credentials.items():
        try:
            parse_reference(ref)
        except SecretError as error:
            raise ConfigurationError(f"{where}.credentials.{name}: {error}") from None
    return ConnectionAccess(
        connection=connection.id,
        environment=connection.environment,
        changed_at_us=time.time_ns() // 1000,
        changed_by=whoami(),
        **access.model_dump(),
    )
