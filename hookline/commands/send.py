"""`hookline send`: post webhooks signed as the provider would, to try a gateway out."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import click
import httpx
import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from hookline.commands.config import config_option
from hookline.commands.known_connections import Known, known_connections, names
from hookline.commands.sample_parts import Sample
from hookline.commands.samples import sample
from hookline.processes.process import resolver_for
from hookline.settings.loading import ConnectionSettings, Settings, load
from hookline.settings.model import SecretSettings
from hookline.telemetry.redaction import Redactor
from producer.providers.provider import Provider
from producer.providers.registry import build
from schemas.connection import Connection, SecretReference
from schemas.errors import ConfigurationError, HooklineError

_BAR_FROM = 20


class SendFailed(HooklineError):
    """The gateway could not be reached."""


class _Load(msgspec.Struct, frozen=True):
    connection: str
    provider: Provider
    key: object
    make: Callable[[], Sample]


@click.command("send")
@config_option
@click.option("--connection", help="Which connection; needed if there are several.")
@click.option("--url", help="The gateway; by default where gateway.listen is.")
@click.option("--body", type=click.File("rb"), help="A file to send, - for standard input.")
@click.option("--event-type", default="", help="With --body: the event's type, such as issues.")
@click.option("--event-id", help="With --body: the event's id; by default a new one each time.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--rate", type=click.FloatRange(0.01), help="How many a second; all at once if not.")
@click.option("--concurrency", default=32, show_default=True, type=click.IntRange(1, 1024))
def command(
    config: Path | None,
    connection: str | None,
    url: str | None,
    body: BinaryIO | None,
    event_type: str,
    event_id: str | None,
    count: int,
    rate: float | None,
    concurrency: int,
) -> None:
    """Sign a body (or a realistic sample) as the provider would and post it.

    The connection is one of the topic's, or, while Kafka is away, of the settings file's.

    Exit code 0 if every webhook was answered 200.
    """
    settings = load(config, os.environ)
    resolver = resolver_for(os.environ, Redactor(), settings.credentials)
    known = known_connections(settings, resolver)
    if known.away:
        click.echo(known.away, err=True)
    chosen = _counting(known, connection, time.time())
    provider = build(chosen.provider, chosen.options)
    key = provider.load_key(resolver.resolve(signing_secret(chosen, provider).ref).reveal())
    content = None if body is None else body.read()
    make = _maker(chosen.provider, content, event_type, event_id)
    target = url or own_url(settings)
    answers = asyncio.run(
        _send(_Load(chosen.id, provider, key, make), target, count, rate, concurrency)
    )
    sys.exit(0 if answers == Counter({200: count}) else 1)


def signing_secret(
    connection: ConnectionSettings | Connection, provider: Provider
) -> SecretSettings | SecretReference:
    """The newest secret: what a system that has just been rotated signs with."""
    signing = [s for s in connection.secrets if s.name != provider.handshake_secret]
    if not signing:
        raise ConfigurationError(
            f"connection {connection.id} has no secret that signs and counts now: "
            f"`hookline secrets rotate {connection.id} NEW-NAME REF` adds one"
        )
    return signing[-1]


def _counting(known: Known, name: str | None, now_s: float) -> Connection:
    """The connection of this name, or the only one, with those of its secrets that count now."""
    there = known.all()
    if not there:
        raise ConfigurationError(
            "there is no connection: add one under `connections:` of the settings, or with "
            "`hookline connections apply`"
        )
    if name is None and len(there) > 1:
        raise ConfigurationError(f"--connection: write one of {names([c.id for c in there])}")
    found = there[0] if name is None else known.named(name)
    revoked = known.revoked.get(found.id, frozenset())
    counting = tuple(s for s in found.secrets if s.active(now_s) and s.name not in revoked)
    return replace(found, secrets=counting)


def choose(settings: Settings, name: str | None) -> ConnectionSettings:
    """The connection of this name, or the only one; ConfigurationError that names them."""
    ids = [connection.id for connection in settings.connections]
    if name is None and len(ids) == 1:
        return settings.connections[0]
    if name not in ids:
        raise ConfigurationError(
            f"--connection: write one of {', '.join(ids)}"
            if ids
            else "there is no connection in the settings: add one under `connections:`"
        )
    return settings.connections[ids.index(name)]


def _maker(
    provider: str, content: bytes | None, event_type: str, event_id: str | None
) -> Callable[[], Sample]:
    if content is not None:
        return lambda: Sample(
            event_id=event_id or str(uuid4()), event_type=event_type, body=content
        )
    draw = random.Random(secrets.randbits(64))

    def make() -> Sample:
        made = sample(provider, draw, time.time())
        if made is None:
            raise ConfigurationError(f"there is no sample for {provider}: give one with --body")
        return made

    return make


def own_url(settings: Settings) -> str:
    """Where this machine's gateway listens."""
    host, _, port = settings.gateway.listen.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"


async def _send(
    load: _Load, url: str, count: int, rate: float | None, concurrency: int
) -> Counter[int]:
    answers: Counter[int] = Counter()
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began_s = time.monotonic()
    with Progress(*columns, console=console, disable=count < _BAR_FROM) as progress:
        bar = progress.add_task("", total=count)
        limits = httpx.Limits(max_connections=concurrency)
        async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
            turns = iter(range(count))

            async def work() -> None:
                for n in turns:
                    if rate is not None:
                        await asyncio.sleep(max(0.0, began_s + n / rate - time.monotonic()))
                    answer = await _post(client, load)
                    answers[answer.status_code] += 1
                    progress.advance(bar)
                    if count == 1 or (answer.status_code != 200 and sum(answers.values()) <= 5):
                        request_id = answer.headers.get("x-request-id", "")
                        click.echo(f"{answer.status_code}  {request_id}  {answer.text}")

            await asyncio.gather(*(work() for _ in range(min(concurrency, count))))
    if count > 1:
        took_s = time.monotonic() - began_s
        summary = ", ".join(f"{n} answered {status}" for status, n in sorted(answers.items()))
        click.echo(f"{summary} in {took_s:.1f} s ({count / took_s:.0f}/s)")
    return answers


async def _post(client: httpx.AsyncClient, load: _Load) -> httpx.Response:
    made = load.make()
    sent = load.provider.outgoing(
        made.body, load.key, event_id=made.event_id, event_type=made.event_type, now_s=time.time()
    )
    try:
        return await client.post(
            f"/webhooks/{load.connection}" + (f"?{sent.query}" if sent.query else ""),
            content=sent.body,
            headers=dict(sent.headers),
        )
    except httpx.TransportError as error:
        raise SendFailed(
            f"no answer from {client.base_url} ({type(error).__name__}): is `hookline gateway` "
            "running there? --url names another place"
        ) from None
