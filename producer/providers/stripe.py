"""Stripe's webhooks: `Stripe-Signature` with a time and one signature for each active secret.

The time is signed, so a webhook that is seen cannot be sent again later. Sources: Stripe's
documentation, "Receive Stripe events in your webhook endpoint" ("Verify webhook signatures
manually") and "The Event object".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import json_body, timed_signature, timestamps
from producer.providers.guide import Guide
from producer.providers.identities import Resource, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Provider, Refused, Request, Unreadable, Verified
from producer.providers.refusals import NO_ACTIVE_SECRET
from producer.providers.secret_text import as_bytes

_HEADER: Final = "stripe-signature"


class StripeOptions(ProviderOptions):
    """What a connection may set."""

    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a webhook may be, in seconds"),
    ] = 300


class _Object(msgspec.Struct, frozen=True):
    id: str | int | None = None
    object: str | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _Object | None = None


class _Related(msgspec.Struct, frozen=True):
    id: str | int | None = None
    type: str | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    created: str | int | float | None = None
    data: _Data | None = None
    # Of a thin event, which has only a reference in place of the object.
    related_object: _Related | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)


class Stripe(Provider):
    """Verifies and identifies Stripe's snapshot and thin events."""

    name: ClassVar[str] = "stripe"
    Options: ClassVar[type[BaseModel]] = StripeOptions
    guide: ClassVar[Guide] = Guide(
        title="Stripe",
        pages=("Receive Stripe events in your webhook endpoint", "The Event object"),
        scheme="HMAC-SHA256 of `{t}.{body}` in hex, `Stripe-Signature: t=…,v1=…[,v1=…]`",
        secret="Workbench → Webhooks → the endpoint → Signing secret: `whsec_…`, given whole. "
        "Each endpoint has its own, also for test mode. Rolling it there keeps the old one for up "
        "to 24 hours: Stripe then signs with both.",
        replay="The signed time, at most `tolerance_s` (300 s) from now.",
        event_id="`id` (`evt_…`), the same at `GET /v1/events`",
        event_type="`stripe.` and `type`: `stripe.invoice.paid`",
        resource="`data.object.object` and `data.object.id`: `invoice/in_…`; of a thin event "
        "`related_object`; an object without an id, such as a balance, leaves the event alone",
        version="None: Stripe's objects have no version",
        occurred_at="`created`, in whole seconds",
        options="tolerance_s: 300",
        notes=(
            "Stripe does not promise the order of delivery: a handler that keeps state says "
            '`stale="refetch"` or `stale="skip"`, which compare `created`.',
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, StripeOptions)
        self._tolerance_s = options.tolerance_s
        self.kept_headers: Sequence[str] = ()

    def load_key(self, secret: str) -> object:
        """The secret's text with its `whsec_`: Stripe does not decode it."""
        return as_bytes(secret.strip(), "Stripe's signing secret")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """Any one `v1` of the list that any one key made; other schemes are left out."""
        if not keys:
            return NO_ACTIVE_SECRET
        return timed_signature.verify(request, _HEADER, keys, now_s, self._tolerance_s)

    def identify(self, request: Request) -> Identity | Unreadable:
        """All of it is in the signed body."""
        event = json_body.decode(_DECODER, request.body)
        if isinstance(event, Unreadable):
            return event
        return identity(
            self.name,
            event.id,
            event.type,
            _resource(event),
            occurred_at_us=timestamps.to_us(event.created, "s"),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """`Stripe-Signature` with one `v1`."""
        assert isinstance(key, bytes)
        signed = timed_signature.sign(body, key, now_s)
        return {"content-type": "application/json", _HEADER: signed}


def _resource(event: _Event) -> Resource | None:
    found = event.data.object if event.data is not None else None
    if found is not None and found.id is not None and found.object:
        # checkout.session and the like: a dot would not be a resource type.
        return Resource(found.object.replace(".", "_"), found.id)
    related = event.related_object
    if related is not None and related.id is not None and related.type:
        return Resource(related.type.replace(".", "_"), related.id)
    return None
