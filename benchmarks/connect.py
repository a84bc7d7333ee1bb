"""How long a first-time connection takes a customer, at a human's speed, and what it asks of him.

From opening the page to the first event on Kafka, with real processes, a real browser and vendors
that behave as documented. He types 5 characters a second, reads each screen and each line of
guidance for 2 s, and needs a second for each click in the other system's own pages. Then: how soon
three gateways refuse what is revoked.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.options import NotBelievable, Options
from tests.connect_flow.chromium import chromium_at_vendors
from tests.connect_flow.customer import AtHumanSpeed, github, shopify, zendesk
from tests.connect_flow.revocation import measure
from tests.connect_flow.stage import Stage
from tests.parts.kafka import KafkaBroker

LIMIT_S: Final = 120.0
_WAYS: Final = {"github": github, "shopify": shopify, "zendesk": zendesk}


def run(options: Options) -> dict[str, Any]:
    """Of each system: seconds, clicks, fields; of revocation: milliseconds."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hookline-connect-") as folder, KafkaBroker() as broker:
        stage = Stage(broker, Path(folder), gateways=3)
        try:
            stage.start()
            with chromium_at_vendors() as chromium:
                click.echo(
                    f"  {'system':<10}{'seconds':>9}{'clicks':>8}{'fields':>8}{'typed':>8}"
                    f"{'lines read':>12}{'clicks elsewhere':>18}"
                )
                for system in options.only or _WAYS:
                    figures[system] = _watched(stage, chromium, system)
            figures["revocation"] = _revoked(stage)
        finally:
            stage.close()
    slow = [name for name in _WAYS if figures.get(name, {}).get("seconds", 0) > LIMIT_S]
    click.echo(f"  slower than {LIMIT_S:.0f} s: {', '.join(slow) or 'none'}")
    return figures


def _watched(stage: Stage, chromium: Any, system: str) -> dict[str, Any]:
    connection = f"acme-{system}"
    link = stage.session(connection_id=connection)["url"]
    customer = AtHumanSpeed(chromium)
    began_s = time.time()
    try:
        customer.open(link)
        _WAYS[system](stage, customer)
    finally:
        customer.close()
    times = stage.event_times(connection)
    if not times:
        raise NotBelievable(f"no event of {connection} is on Kafka")
    found = {
        "seconds": round(times[0] - began_s, 1),
        "clicks": customer.clicks,
        "fields": customer.fields,
        "typed": customer.typed,
        "lines": customer.lines,
        "clicks_elsewhere": customer.clicks_elsewhere,
    }
    click.echo(
        f"  {system:<10}{found['seconds']:>9}{found['clicks']:>8}{found['fields']:>8}"
        f"{found['typed']:>8}{found['lines']:>12}{found['clicks_elsewhere']:>18}"
    )
    return found


def _revoked(stage: Stage) -> dict[str, Any]:
    hooks = list(stage.street.github.hooks.values())
    if not hooks:
        return {}
    headers, body = stage.street.github.signed(hooks[0], "push", {"ref": "refs/heads/main"})
    headers["content-type"] = "application/json"
    found = measure(stage, "acme-github", {"headers": headers, "body": body})
    first = ", ".join(f"{one:.0f}" for one in found.first_refusal_ms)
    click.echo(f"  revoked: answered after {found.answered_ms:.0f} ms, refused after {first} ms")
    if found.let_in_again or max(found.first_refusal_ms) == float("inf"):
        raise NotBelievable("a gateway let in what is revoked")
    return {"answered_ms": found.answered_ms, "first_refusal_ms": list(found.first_refusal_ms)}
