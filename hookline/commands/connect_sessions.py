"""`hookline connect-sessions`: a link on which a customer connects one system."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Final

import click

from console.connect.links import hosted_link
from credentials.secret import Secret
from hookline.commands.auditing import command_audit, whoami
from hookline.commands.config import config_option
from hookline.processes.connect import connect_service, connect_writer, public_url
from hookline.processes.process import resolver_for
from hookline.settings.loading import Settings, load
from hookline.telemetry.redaction import Redactor
from producer.connect.service import ConnectService, FlowRefused, Session, WantedSession
from schemas.errors import ConfigurationError, TopicError

_KNOWN_WITHIN_S: Final = 30.0


@click.group("connect-sessions")
def command() -> None:
    """Let a customer connect a system."""


@command.command("create")
@config_option
@click.option("--tenant", required=True, help="The customer.")
@click.option("--system", default="", help="Which system; without it the customer chooses.")
@click.option("--systems", default="", help="Those that may be chosen, with commas between.")
@click.option("--connection", default="", help="What it is called; made from the names if not.")
@click.option("--label", default="", help="Shown to the customer, such as the company's name.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def create(
    config: Path | None,
    tenant: str,
    system: str,
    systems: str,
    connection: str,
    label: str,
    as_json: bool,
) -> None:
    """Print a link, for one customer, that counts for half an hour."""
    settings = load(config, os.environ)
    redactor = Redactor()
    resolver = resolver_for(os.environ, redactor, settings.credentials)
    writer = connect_writer(settings, resolver, redactor.register)
    service = connect_service(settings, resolver, writer)
    if service is None:
        raise ConfigurationError(f"connect: {settings.connect.missing()}")
    wanted = WantedSession(
        tenant=tenant,
        connection_id=connection,
        systems=tuple(filter(None, systems.split(","))),
        system=system,
        label=label,
        by=whoami(),
    )
    audit = command_audit(settings, resolver, redactor)
    with audit.change(
        "connect_session.create", connection or tenant, connection=connection, tenant=tenant
    ):
        token, session = asyncio.run(_create(service, wanted))
    link = hosted_link(_base(settings), token).reveal()
    minutes = settings.connect.session_minutes
    if as_json:
        found = {
            "url": link,
            "token": token.reveal(),
            "id": session.id,
            "tenant": session.tenant,
            "expires_at_ms": session.expires_at_us // 1000,
        }
        click.echo(json.dumps(found))
        return
    click.echo(link)
    click.echo(
        f"shown this once; for {tenant} alone, for {minutes} minutes: whoever has the link can "
        "connect a system in that name",
        err=True,
    )


async def _create(service: ConnectService, wanted: WantedSession) -> tuple[Secret, Session]:
    service.start()
    try:
        until_s = time.monotonic() + _KNOWN_WITHIN_S
        while not service.ready()[0]:
            if time.monotonic() > until_s:
                raise TopicError(service.ready()[1])
            await asyncio.sleep(0.05)
        try:
            return await service.create(wanted)
        except FlowRefused as refused:
            raise ConfigurationError(refused.text) from None
    finally:
        await service.close()
        service.stop()


def _base(settings: Settings) -> str:
    return public_url(settings) or f"http://{settings.console.listen}"
