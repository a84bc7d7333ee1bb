"""`hookline secrets seal-key|reseal`: the key of the sealed file, made and changed."""

from __future__ import annotations

import os
from pathlib import Path

import click

from credentials.seal_key import new_seal_key, seal_keys
from credentials.sealed_file import SealedFileUnusable
from hookline.commands.config import config_option
from hookline.processes.process import resolver_for
from hookline.settings.loading import load
from hookline.telemetry.redaction import Redactor
from schemas.errors import ConfigurationError


@click.command("seal-key")
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Into a new file that only this user may read, and not onto the screen.",
)
def seal_key(to: Path | None) -> None:
    """Make a key for the file of `sealed:` secrets; whoever has both can read them.

    Name it in hookline.yaml: `credentials.sealed.key: file:/path`, or env:NAME. Without it, what
    the file holds is lost: keep a copy where you keep such things, and not beside the file.
    """
    key = new_seal_key()
    if to is None:
        click.echo(key.reveal())
        return
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key.reveal()}\n")
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise ConfigurationError(
            f"{to} is there already, and what it holds may still be needed; name another file, "
            "and for a rotation put both keys into one (docs/secrets.md)"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{to} cannot be written ({error.strerror}); name another file, or mend its folder"
        ) from None
    (made,) = seal_keys(key)
    click.echo(f"Key {made.id} is in {to}. Write credentials.sealed.key: file:{to.resolve()}")


@click.command("reseal")
@config_option
def reseal(config: Path | None) -> None:
    """Encrypt the file of `sealed:` secrets anew with the first key; the others can go then.

    Every process that reads it must know that key before: add it behind the old one first.
    """
    settings = load(config, os.environ)
    sealed = settings.credentials.sealed
    if sealed is None:
        raise ConfigurationError(
            "no sealed file is set up; write credentials.sealed (path and key) in hookline.yaml"
        )
    redactor = Redactor()
    resolver = resolver_for(os.environ, redactor, settings.credentials)
    file = sealed.file(resolver.resolve, redactor.register)
    try:
        count = file.reseal()
    except SealedFileUnusable as error:
        raise ConfigurationError(str(error)) from None
    first = seal_keys(resolver.resolve(sealed.key))[0].id
    click.echo(f"{count} secrets in {sealed.path} are sealed with key {first} now, and no other.")
