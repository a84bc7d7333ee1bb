"""Calendly's webhooks: `Calendly-Webhook-Signature` with a time and a signature of time and body.

Sources: Calendly's developer documentation, "Webhook signatures", "Webhook payload".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import json_body, timed_signature, timestamps
from producer.providers.guide import Guide
from producer.providers.identities import Resource, digest, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Provider, Refused, Request, Unreadable, Verified
from producer.providers.refusals import NO_ACTIVE_SECRET
from producer.providers.secret_text import as_bytes

_HEADER: Final = "calendly-webhook-signature"


class CalendlyOptions(ProviderOptions):
    """What a connection may set."""

    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a webhook may be, in seconds"),
    ] = 300


class _WithUri(msgspec.Struct, frozen=True):
    uri: str | None = None


class _Payload(msgspec.Struct, frozen=True):
    uri: str | None = None
    # The whole event, or its URI alone.
    scheduled_event: _WithUri | str | None = None


class _Event(msgspec.Struct, frozen=True):
    event: str | None = None
    created_at: str | None = None
    payload: _Payload | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)


class Calendly(Provider):
    """Verifies and identifies Calendly's events."""

    name: ClassVar[str] = "calendly"
    Options: ClassVar[type[BaseModel]] = CalendlyOptions
    guide: ClassVar[Guide] = Guide(
        title="Calendly",
        pages=("Webhook signatures", "Webhook payload"),
        scheme="HMAC-SHA256 of `{t}.{body}` in hex, `Calendly-Webhook-Signature: t=…,v1=…`",
        secret="The `signing_key` that is given when the webhook subscription is made by "
        "`POST /webhook_subscriptions`; you choose it.",
        replay="The signed time, at most `tolerance_s` (300 s) from now.",
        event_id="Calendly gives none: made of `event`, `payload.uri` and `created_at`, which are "
        "the same when Calendly tries again",
        event_type="`calendly.` and `event`: `calendly.invitee.created`",
        resource="The last two parts of `payload.scheduled_event.uri`, else of `payload.uri`: "
        "`scheduled_events/AAAA…`",
        version="None",
        occurred_at="`created_at`",
        options="tolerance_s: 300",
        notes=(
            "An invitation and its cancellation are of one scheduled event, and so stay in order. "
            "One that is moved is another scheduled event.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, CalendlyOptions)
        self._tolerance_s = options.tolerance_s
        self.kept_headers: Sequence[str] = ()

    def load_key(self, secret: str) -> object:
        """The signing key's text."""
        return as_bytes(secret.strip(), "Calendly's signing key")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """The time and the signature of one of the keys."""
        if not keys:
            return NO_ACTIVE_SECRET
        return timed_signature.verify(request, _HEADER, keys, now_s, self._tolerance_s)

    def identify(self, request: Request) -> Identity | Unreadable:
        """All of it is in the signed body."""
        said = json_body.decode(_DECODER, request.body)
        if isinstance(said, Unreadable):
            return said
        payload = said.payload or _Payload()
        event_id = None
        if said.event and payload.uri and said.created_at:
            event_id = digest(said.event, payload.uri, said.created_at)
        return identity(
            self.name,
            event_id,
            said.event,
            _resource(payload),
            occurred_at_us=timestamps.to_us(said.created_at, "s"),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """`Calendly-Webhook-Signature` with one `v1`."""
        assert isinstance(key, bytes)
        signed = timed_signature.sign(body, key, now_s)
        return {"content-type": "application/json", _HEADER: signed}


def _resource(payload: _Payload) -> Resource | None:
    about = payload.scheduled_event
    uri = (about.uri if isinstance(about, _WithUri) else about) or payload.uri
    parts = (uri or "").rstrip("/").split("/")
    # scheme, nothing, host, then at least a kind and an id.
    return Resource(parts[-2], parts[-1]) if len(parts) > 4 else None
