"""The senders: 64 at once, each sends a webhook again until it is answered, as providers do."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import msgspec

from hookline.commands.samples import sample
from producer.providers.provider import Provider
from producer.providers.registry import build

_HMAC = {
    "header": "x-signature",
    "event_id": "body:/id",
    "event_type": "body:/type",
    "resource_type": "literal:order",
    "resource_id": "body:/data/id",
}
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("github", {}),
    ("standard_webhooks", {}),
    ("hmac", _HMAC),
)
_DEADLINE_S = 600.0


class Sender(msgspec.Struct, frozen=True):
    """A connection and what signs for it."""

    id: str
    provider: Provider
    options: dict[str, Any]
    secret: str

    def setting(self) -> dict[str, Any]:
        """Its entry in hookline.yaml."""
        return {
            "id": self.id,
            "tenant": "acme",
            "provider": self.provider.name,
            "options": self.options,
            "secrets": [{"name": "1", "ref": f"env:{self.variable}"}],
        }

    @property
    def variable(self) -> str:
        """The environment variable of its secret."""
        return f"SECRET_{self.id.upper().replace('-', '_')}"


class Webhook(msgspec.Struct, frozen=True):
    """One webhook to be answered."""

    sender: Sender
    event_id: str
    event_type: str
    body: bytes
    forged: bool = False


def senders(count: int, draw: random.Random) -> list[Sender]:
    """So many connections, their providers in turn."""
    made = []
    for n in range(count):
        name, options = _KINDS[n % len(_KINDS)]
        secret = "whsec_" + base64.b64encode(draw.randbytes(24)).decode()
        made.append(Sender(f"{name.replace('_', '-')}-{n}", build(name, options), options, secret))
    return made


def webhooks(
    of: Sequence[Sender], count: int, duplicates: float, forgeries: int, draw: random.Random
) -> list[Webhook]:
    """Different webhooks in no order, with copies of some near to them, and forgeries."""
    made: list[Webhook] = []
    for n in range(count):
        sender = of[n % len(of)]
        one = sample(sender.provider.name, draw, time.time() + n, entities=8)
        assert one is not None
        made.append(Webhook(sender, one.event_id, one.event_type, one.body))
    draw.shuffle(made)
    placed = [(float(n), w) for n, w in enumerate(made)]
    copies = draw.sample(placed, int(count * duplicates))
    placed += [(at + draw.uniform(0, 200), w) for at, w in copies]
    placed += [
        (at, msgspec.structs.replace(w, forged=True, event_id=f"forged-{w.event_id}"))
        for at, w in draw.sample(placed, forgeries)
    ]
    return [w for _, w in sorted(placed, key=lambda pair: pair[0])]


class Tally:
    """What the senders saw."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.answered = 0
        self.tries = 0
        self.wrong: list[str] = []


async def send(
    url: str,
    all_of: Sequence[Webhook],
    connections: int,
    tally: Tally,
    progressed: Callable[[], None],
) -> None:
    """Send everything over so many connections; returns when all is answered."""
    turns = iter(all_of)
    deadline_s = time.monotonic() + _DEADLINE_S
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=15) as client:

        async def work() -> None:
            for webhook in turns:
                await _until_answered(client, webhook, tally, deadline_s)
                tally.answered += 1
                progressed()

        await asyncio.gather(*(work() for _ in range(connections)))


async def _until_answered(
    client: httpx.AsyncClient, webhook: Webhook, tally: Tally, deadline_s: float
) -> None:
    sender = webhook.sender
    secret = "whsec_Zm9yZ2VkLWZvcmdlZC1mb3JnZWQ=" if webhook.forged else sender.secret
    key = sender.provider.load_key(secret)
    wanted = 401 if webhook.forged else 200
    while time.monotonic() < deadline_s:
        headers = sender.provider.sign(
            webhook.body,
            key,
            event_id=webhook.event_id,
            event_type=webhook.event_type,
            now_s=time.time(),
        )
        tally.tries += 1
        try:
            answer = await client.post(
                f"/webhooks/{sender.id}", content=webhook.body, headers=dict(headers)
            )
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code == wanted:
            if not webhook.forged:
                tally.acknowledged.add(webhook.event_id)
            return
        if answer.status_code < 500:
            tally.wrong.append(f"{sender.id}: {answer.status_code} {answer.text}")
            return
        await asyncio.sleep(0.05)
    tally.wrong.append(f"{sender.id}: not answered in time")
