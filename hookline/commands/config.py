"""`hookline config`: check the settings, print their JSON Schema or an example."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from credentials.key_ring import KeyRing
from hookline.commands.providers_docs import providers_page
from hookline.processes.process import resolver_for
from hookline.settings.loading import Settings, load
from hookline.settings.reference import settings_page
from hookline.telemetry.redaction import Redactor
from producer.providers.registry import build
from schemas.errors import ConfigurationError, SecretError

_EXAMPLE: Final = """\
# Hookline's settings. Check them with `hookline config check`; every setting can also be given as
# an environment variable: HOOKLINE_GATEWAY__LISTEN, HOOKLINE_CONNECTIONS__0__TENANT.
environment: development

kafka:
  bootstrap_servers: "localhost:9092"
  properties: {}        # librdkafka's own, such as security.protocol; secrets as references

connections:
  # Webhooks of this connection go to /webhooks/acme-github.
  - id: acme-github
    tenant: acme
    provider: github
    secrets:
      # Never the secret itself: where it is.
      - {name: "2026-11", ref: "env:ACME_GITHUB_SECRET"}

gateway:
  listen: "0.0.0.0:8080"
  max_body_bytes: 1048576

consumer:
  group: orders
  handlers: "examples.orders:handlers"     # module:name of your Handlers
  store: "sqlite:///state/orders.db"

telemetry:
  sample_ratio: 1.0     # traces go to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set
  log_level: info
"""

config_option = click.option(
    "--config", type=click.Path(path_type=Path), help="The settings; ./hookline.yaml."
)


@click.group("config")
def command() -> None:
    """Check the settings, or print their schema or an example."""


@command.command("check")
@config_option
@click.option("--secrets", is_flag=True, help="Also fetch every secret and check its form.")
def check(config: Path | None, secrets: bool) -> None:
    """Tell every mistake, each with its line."""
    settings = load(config, os.environ)
    if secrets:
        _check_secrets(settings)
    table = Table(box=None, header_style="dim")
    for column in ("connection", "tenant", "provider", "secrets", "state"):
        table.add_column(column)
    for connection in settings.connections:
        names = ", ".join(secret.name for secret in connection.secrets)
        table.add_row(
            connection.id, connection.tenant, connection.provider, names, connection.state.value
        )
    console = Console()
    console.print(f"[green]✓[/] environment {settings.environment}, all settings are good")
    if settings.connections:
        console.print(table)
    else:
        console.print("There is no connection yet: add one under `connections:`.")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of hookline.yaml, for editors."""
    click.echo(json.dumps(Settings.model_json_schema(), indent=2))


@command.command("example")
def example() -> None:
    """Print a file to start from."""
    click.echo(_EXAMPLE, nl=False)


@command.command("docs")
def docs() -> None:
    """Print docs/configuration.md."""
    click.echo(settings_page(), nl=False)


@command.command("providers")
def providers() -> None:
    """Print docs/providers.md."""
    click.echo(providers_page(), nl=False)


def _check_secrets(settings: Settings) -> None:
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    problems: list[str] = []
    for item in settings.connections:
        connection = item.to_connection(settings.environment)
        provider = build(connection.provider, connection.options)
        try:
            KeyRing.load(connection.secrets, resolver.resolve, provider.load_key)
        except SecretError as error:
            problems.append(f"connection {connection.id}: {error}")
    if problems:
        raise ConfigurationError(problems)
