"""`hookline secrets`: what state each secret is in that the settings name; never its value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from credentials.secret import Secret
from hookline.commands.config import config_option
from hookline.commands.known_connections import Known, known_connections
from hookline.commands.sealing import reseal, seal_key
from hookline.commands.secret_changes import retire, revoke, rotate
from hookline.processes.process import resolver_for
from hookline.settings.handlers import references
from hookline.settings.loading import Settings, load
from hookline.settings.model import SECRET_PROPERTIES
from hookline.telemetry.redaction import Redactor
from producer.providers.registry import build
from schemas.connection import Connection, ConnectionState, SecretReference
from schemas.errors import ConfigurationError, SecretError, SecretFormatError, SecretReferenceError


class Finding(NamedTuple):
    """One secret's state, and what mends it if anything must be."""

    place: str
    name: str
    ref: str
    state: str
    mend: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing has to be done now."""
        return self.state in ("ok", "expired", "not yet valid", "revoked")


@click.group("secrets")
def command() -> None:
    """Check every secret that is named; rotate, retire, revoke those of a connection.

    For the sealed file: make a key, seal it anew.
    """


for _change in (rotate, retire, revoke, seal_key, reseal):
    command.add_command(_change)


@command.command("check")
@config_option
@click.argument("connection", required=False)
def check(config: Path | None, connection: str | None) -> None:
    """Fetch every secret, or those of CONNECTION, and say its state; no value is shown.

    The connections are those of the topic, and what the settings file will add to them; those of
    the file alone while Kafka is away, which is said.

    Exit code 0 if all can be had, each is of its provider's form, and each active connection has
    one that counts now; 2 otherwise.
    """
    settings = load(config, os.environ)
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    known = known_connections(settings, resolver)
    console = Console()
    for note in filter(None, (known.away, *known.notes)):
        console.print(note, style="yellow", markup=False, soft_wrap=True)
    if connection is not None:
        known.named(connection)
    found = list(findings(settings, resolver.resolve, time.time(), connection, known))
    table = Table(box=None, header_style="dim")
    for column in ("of", "secret", "reference", "state"):
        table.add_column(column, overflow="fold")
    for finding in found:
        colour = "green" if finding.state == "ok" else "yellow" if finding.good else "red"
        words = (finding.place, finding.name, finding.ref)
        table.add_row(*map(escape, words), f"[{colour}]{finding.state}[/]")
    if found:
        console.print(table)
    else:
        console.print("The settings name no secret.")
    for finding in found:
        if finding.good and finding.mend:
            console.print(f"{finding.place}: {finding.mend}", style="yellow", markup=False)
    bad = [f"{finding.place}: {finding.mend}" for finding in found if not finding.good]
    if bad:
        raise ConfigurationError(bad)


def findings(
    settings: Settings,
    resolve: Callable[[str], Secret],
    now_s: float,
    only: str | None = None,
    known: Known | None = None,
) -> Iterator[Finding]:
    """The state of every secret that the settings and the connections name, or of one connection's.

    The connections are those of the settings unless others are `known`.
    """
    if known is None:
        known = Known(tuple(c.to_connection(settings.environment) for c in settings.connections))
    there: set[tuple[str, str, str]] = set()
    for connection in (*known.counting, *known.coming):
        if only is not None and connection.id != only:
            continue
        revoked = known.revoked.get(connection.id, frozenset())
        new = tuple(s for s in connection.secrets if (connection.id, s.name, s.ref) not in there)
        there |= {(connection.id, s.name, s.ref) for s in new}
        yield from _of_connection(replace(connection, secrets=new), revoked, resolve, now_s)
        counting = [s for s in connection.secrets if s.active(now_s) and s.name not in revoked]
        if connection.state is ConnectionState.ACTIVE and not counting:
            yield Finding(
                f"connection {connection.id}",
                "(all)",
                "",
                "none counts now",
                "no secret counts now, so every webhook is refused; add one, or mend the times",
            )
    if only is None:
        for place, ref in _others(settings):
            yield _tried(Finding(place, "", ref, "ok"), partial(resolve, ref))
        if (sealed := settings.credentials.sealed) is not None:
            # Opened with its key, and not only the key had.
            file = sealed.file(resolve, lambda key: None)
            yield _tried(Finding("credentials.sealed", "", sealed.key, "ok"), file.check)


def _of_connection(
    connection: Connection,
    revoked: frozenset[str],
    resolve: Callable[[str], Secret],
    now_s: float,
) -> Iterator[Finding]:
    place = f"connection {connection.id}"
    try:
        prepare = build(connection.provider, connection.options).load_key
    except ConfigurationError as error:
        yield Finding(place, "(all)", "", "not served", str(error))
        return
    for secret in connection.secrets:
        if secret.name in revoked:
            yield Finding(place, secret.name, secret.ref, "revoked")
        elif secret.environment not in ("", connection.environment):
            yield Finding(
                place,
                secret.name,
                secret.ref,
                "refused",
                f"secret {secret.name} is of environment {secret.environment}, this is "
                f"{connection.environment}: give the connection one of {connection.environment}",
            )
        else:
            yield _signing_secret(place, secret, resolve, prepare, now_s)


def _signing_secret(
    place: str,
    secret: SecretReference,
    resolve: Callable[[str], Secret],
    prepare: Callable[[str], object],
    now_s: float,
) -> Finding:
    finding = Finding(place, secret.name, secret.ref, "ok")
    if secret.not_before_s is not None and now_s < secret.not_before_s:
        finding = finding._replace(
            state="not yet valid",
            mend=f"secret {secret.name} counts from {_moment(secret.not_before_s)} on",
        )
    elif secret.not_after_s is not None and now_s >= secret.not_after_s:
        finding = finding._replace(
            state="expired",
            mend=f"secret {secret.name} counted until {_moment(secret.not_after_s)}; take it out, "
            "or move its not_after if its sender still uses it",
        )
        # It may be deleted at its backend by now, as it should be.
        return finding
    return _tried(finding, lambda: prepare(resolve(secret.ref).reveal()))


def _tried(finding: Finding, fetch: Callable[[], object]) -> Finding:
    name = f"secret {finding.name}: " if finding.name else ""
    try:
        fetch()
    except (SecretFormatError, SecretReferenceError) as error:
        return finding._replace(state="wrong form", mend=f"{name}{error}")
    except SecretError as error:
        return finding._replace(state="unavailable", mend=f"{name}{error}")
    return finding


def _others(settings: Settings) -> Iterator[tuple[str, str]]:
    """The secrets that are no connection's: where each is named, and its reference."""
    for name, value in settings.kafka.properties.items():
        if name in SECRET_PROPERTIES and settings.kafka.is_reference(value):
            yield f"kafka.properties.{name}", str(value)
    if settings.consumer.store_password is not None:
        yield "consumer.store_password", settings.consumer.store_password
    yield from references(settings.consumer.forward)
    vault = settings.credentials.vault
    if vault is not None and vault.token is not None:
        yield "credentials.vault.token", vault.token
    if vault is not None and vault.approle is not None:
        yield "credentials.vault.approle.secret_id", vault.approle.secret_id


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
