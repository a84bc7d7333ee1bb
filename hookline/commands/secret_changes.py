"""`hookline secrets rotate|retire|revoke`: the signing secrets of one connection, by reference."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click
from msgspec.structs import replace

from credentials.reference import parse_reference
from hookline.commands.config import config_option
from hookline.commands.connection_editing import (
    FutureMoment,
    Session,
    counting,
    moment,
    must_be_there,
    must_not_be_revoked,
    secret_of,
    session,
)
from hookline.settings.model import SecretSettings
from producer.connections.ledger import Ledger
from schemas.connection import Connection, SecretReference
from schemas.errors import ConfigurationError, SecretError

MAX_SECRETS: Final = 8


@click.command("rotate")
@config_option
@click.argument("connection")
@click.argument("name")
@click.argument("ref")
@click.option("--not-before", type=FutureMoment(), help="From when on it counts; at once if not.")
@click.option("--not-after", type=FutureMoment(), help="Until when it counts.")
def rotate(
    config: Path | None,
    connection: str,
    name: str,
    ref: str,
    not_before: float | None,
    not_after: float | None,
) -> None:
    """Let CONNECTION accept a new secret, called NAME and found at REF, beside those it has.

    REF is a reference such as env:NAME or vault:mount/path#key, never the secret itself.
    """
    added = _reference(name, ref, not_before, not_after)
    with session(config) as on:

        def change(ledger: Ledger) -> Connection:
            must_not_be_revoked(ledger, connection)
            return _with(ledger, must_be_there(ledger, connection), added)

        before = must_be_there(on.ledger, connection)
        old = [n for n in counting(on.ledger, before, time.time()) if n != name]
        with on.audit.change("secret.rotate", f"{connection}/{name}", connection=connection):
            on.editor.put(connection, change)
    since = "from " + moment(not_before) if not_before is not None else "as soon as they have it"
    click.echo(
        f"{connection}: gateways accept {name} {since}, and {', '.join(old) or 'none'} still"
    )
    click.echo("now let the system sign with the new one, then see that the old one is unused:")
    for one in old:
        click.echo(f"  {_unused(connection, one)}")
        click.echo(f"  then: hookline secrets retire {connection} {one}")
    click.echo("a gateway that cannot fetch the new one says so and goes on with the others")


@click.command("retire")
@config_option
@click.argument("connection")
@click.argument("name")
@click.option("--at", "at_s", type=FutureMoment(), default="+24h", show_default=True,
              help="When it ends: a time, +24h, or now.")  # fmt: skip
@click.option("--force", is_flag=True, help="Though no other secret counts then.")
def retire(config: Path | None, connection: str, name: str, at_s: float, force: bool) -> None:
    """Let a secret of CONNECTION end at a time; until then it counts as before."""
    with session(config) as on:

        def change(ledger: Ledger) -> Connection:
            found = must_be_there(ledger, connection)
            secret_of(found, name)
            ending = tuple(
                replace(one, not_after_s=at_s) if one.name == name else one for one in found.secrets
            )
            return replace(found, secrets=ending)

        after = change(on.ledger)
        _must_leave_one(on, after, at_s, force)
        target = f"{connection}/{name}"
        with on.audit.change("secret.retire", target, connection=connection, at=moment(at_s)):
            on.editor.put(connection, change)
    click.echo(f"{connection}: gateways accept {name} until {moment(at_s)}, and refuse it then")
    click.echo(f"see that it is unused: {_unused(connection, name)}")


@click.command("revoke")
@config_option
@click.argument("connection")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def revoke(config: Path | None, connection: str, name: str, yes: bool) -> None:
    """Refuse a secret of CONNECTION at once and for good, such as one that leaked."""
    with session(config) as on:
        found = must_be_there(on.ledger, connection)
        secret_of(found, name)
        if name in on.ledger.revoked_secrets(connection):
            click.echo(f"{connection}: {name} is revoked already")
            return
        left = [one for one in counting(on.ledger, found, time.time()) if one != name]
        if not yes:
            rest = f"{', '.join(left)} still count" if left else "NO OTHER SECRET COUNTS"
            click.confirm(
                f"Revoke secret {name} of {connection} ({on.ledger.environment}) for good? {rest}",
                abort=True,
            )
        target = f"{connection}/{name}"
        with on.audit.change("secret.revoke", target, connection=connection, urgent=True):
            on.editor.revoke(connection, name)
    click.echo(f"{connection}: every gateway refuses {name} within a second")
    if not left:
        click.echo(
            f"no secret of it counts now, its webhooks are refused: hookline secrets rotate "
            f"{connection} NEW-NAME REF"
        )
    click.echo(f"see that it verifies nothing more: {_unused(connection, name)}")


def _reference(
    name: str, ref: str, not_before: float | None, not_after: float | None
) -> SecretReference:
    try:
        parse_reference(ref)
        SecretSettings.model_validate({"name": name, "ref": ref})
    except SecretError as error:
        raise ConfigurationError(str(error)) from None
    except ValueError:
        raise ConfigurationError(
            "NAME: write up to 63 small letters, digits, dots, dashes or underscores, such as "
            "2026-11"
        ) from None
    if not_before is not None and not_after is not None and not_after <= not_before:
        raise ConfigurationError("--not-after is not behind --not-before: it would never count")
    return SecretReference(name=name, ref=ref, not_before_s=not_before, not_after_s=not_after)


def _with(ledger: Ledger, connection: Connection, added: SecretReference) -> Connection:
    revoked = ledger.revoked_secrets(connection.id)
    if added.name in revoked:
        raise ConfigurationError(
            f"secret {added.name} of {connection.id} was revoked, and stays so: give the new one "
            "another name"
        )
    if any(one.name == added.name for one in connection.secrets):
        raise ConfigurationError(
            f"connection {connection.id} has a secret {added.name} already: give the new one "
            "another name, so that metrics tell the two apart"
        )
    kept = list(connection.secrets)
    now_s = time.time()
    # What counts no more makes room; the others are a person's to end.
    while len(kept) >= MAX_SECRETS:
        gone = next(
            (s for s in kept if s.name in revoked or (s.not_after_s or now_s + 1) <= now_s), None
        )
        if gone is None:
            raise ConfigurationError(
                f"connection {connection.id} has {len(kept)} secrets that count or will, and "
                f"{MAX_SECRETS} is the most: retire one first"
            )
        kept.remove(gone)
    return replace(connection, secrets=(*kept, added))


def _must_leave_one(on: Session, after: Connection, at_s: float, force: bool) -> None:
    if force or counting(on.ledger, after, at_s):
        return
    raise ConfigurationError(
        f"from {moment(at_s)} on no secret of {after.id} would count, and its webhooks be refused: "
        f"`hookline secrets rotate {after.id} NEW-NAME REF` first, or --force"
    )


def _unused(connection: str, name: str) -> str:
    return (
        f'sum(rate(hookline_signature_verified_total{{connection="{connection}",'
        f'secret_name="{name}"}}[1h])) is 0'
    )
