"""What the demo sends: signed webhooks of three providers, shuffled, with copies and forgeries."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx
import msgspec

from hookline.commands.samples import sample
from producer.providers.provider import Provider

_AT_ONCE: Final = 16
_TRIES: Final = 40
FORGERIES: Final = 2


class Sender(msgspec.Struct, frozen=True):
    """One system that sends: its connection, its rules, and the secret that it signs with."""

    connection: str
    provider: Provider
    secret: str


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One request to make. A forged one is signed with a secret that is not the connection's."""

    sender: Sender
    event_id: str
    event_type: str
    body: bytes
    forged: bool = False


class Sent(msgspec.Struct, frozen=True):
    """A request and its answer."""

    webhook: Webhook
    status: int
    request_id: str


def plan(
    senders: Sequence[Sender], count: int, duplicates: float, draw: random.Random, now_s: float
) -> list[Webhook]:
    """`count` different webhooks, copies of some, and two forgeries, in no order."""
    webhooks: list[Webhook] = []
    for n in range(count):
        sender = senders[n % len(senders)]
        made = sample(sender.provider.name, draw, now_s + n)
        assert made is not None
        webhooks.append(
            Webhook(
                sender=sender, event_id=made.event_id, event_type=made.event_type, body=made.body
            )
        )
    copies = draw.sample(webhooks, int(count * duplicates))
    forgeries = [
        msgspec.structs.replace(w, forged=True, event_id=f"forged-{w.event_id}")
        for w in draw.sample(webhooks, FORGERIES)
    ]
    everything = webhooks + copies + forgeries
    draw.shuffle(everything)
    return everything


async def send(
    url: str,
    webhooks: Sequence[Webhook],
    rate: float,
    answered: Callable[[Sent], None],
) -> list[Sent]:
    """Post each, about `rate` a second, and again (as providers do) until it is answered."""
    gate = asyncio.Semaphore(_AT_ONCE)
    began_s = time.monotonic()
    sent: list[Sent] = []
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:

        async def one(n: int, webhook: Webhook) -> None:
            await asyncio.sleep(max(0.0, began_s + n / rate - time.monotonic()))
            async with gate:
                outcome = await _post(client, webhook)
            sent.append(outcome)
            answered(outcome)

        await asyncio.gather(*(one(n, w) for n, w in enumerate(webhooks)))
    return sent


async def _post(client: httpx.AsyncClient, webhook: Webhook) -> Sent:
    sender = webhook.sender
    # A forger knows the form of a secret, not the secret.
    secret = "whsec_Zm9yZ2VkLWZvcmdlZC1mb3JnZWQ=" if webhook.forged else sender.secret
    headers = sender.provider.sign(
        webhook.body,
        sender.provider.load_key(secret),
        event_id=webhook.event_id,
        event_type=webhook.event_type,
        now_s=time.time(),
    )
    status, request_id = 0, ""
    for attempt in range(_TRIES):
        try:
            answer = await client.post(
                f"/webhooks/{sender.connection}", content=webhook.body, headers=dict(headers)
            )
        except httpx.TransportError:
            status = 0
        else:
            status, request_id = answer.status_code, answer.headers.get("x-request-id", "")
            if status < 500:
                break
        await asyncio.sleep(min(1.0, 0.05 * 2**attempt))
    return Sent(webhook, status, request_id)
