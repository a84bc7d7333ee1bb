"""Zendesk's webhooks that are subscribed to events: base64 HMAC of the signed time and the body.

Sources: Zendesk's documentation, "Verifying webhook authenticity", "Webhook event types" and
"Ticket events".
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import msgspec
from pydantic import BaseModel, Field

from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.hmac_options import HmacSignatureOptions
from producer.providers.hmac_signature import HmacSignature
from producer.providers.identities import Resource, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Request, Unreadable

_PREFIX: Final = "zen:event-type:"
_SUBJECT: Final = "zen:"


class ZendeskOptions(ProviderOptions):
    """What a connection may set."""

    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a webhook may be, in seconds"),
    ] = 300


class _Event(msgspec.Struct, frozen=True):
    id: str | int | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)


class Zendesk(HmacSignature):
    """Verifies and identifies Zendesk's events."""

    name: ClassVar[str] = "zendesk"
    Options: ClassVar[type[BaseModel]] = ZendeskOptions
    guide: ClassVar[Guide] = Guide(
        title="Zendesk",
        pages=("Verifying webhook authenticity", "Webhook event types", "Ticket events"),
        scheme="HMAC-SHA256 of the time and the body in base64, `X-Zendesk-Webhook-Signature`",
        secret="Admin Center → Apps and integrations → Webhooks → the webhook → Reveal secret, "
        "or `GET /api/v2/webhooks/{id}/signing_secret`. Zendesk makes it.",
        replay="The signed `X-Zendesk-Webhook-Signature-Timestamp`, at most `tolerance_s` (300 s) "
        "from now.",
        event_id="`id`, the same when Zendesk tries again",
        event_type="`zendesk.` and `type` without `zen:event-type:`: `zendesk.ticket.created`",
        resource="`subject`: `ticket/35436` of `zen:ticket:35436`; without one the event alone",
        version="None: an event says what changed, and a later one does not say it again",
        occurred_at="`time`",
        options="tolerance_s: 300",
        notes=(
            "A webhook that a trigger or an automation calls has a body of its author's own: use "
            '`hmac` for it, with `signed: "{timestamp}{body}"` and `timestamp_unit: iso`.',
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, ZendeskOptions)
        super().__init__(
            HmacSignatureOptions(
                header="x-zendesk-webhook-signature",
                encoding="base64",
                signed="{timestamp}{body}",
                timestamp_header="x-zendesk-webhook-signature-timestamp",
                timestamp_unit="iso",
                tolerance_s=options.tolerance_s,
                event_id="body:/id",
                event_type="body:/type",
            )
        )
        self.kept_headers = (
            "x-zendesk-webhook-signature-timestamp",
            "x-zendesk-webhook-id",
            "x-zendesk-webhook-invocation-id",
        )

    def identify(self, request: Request) -> Identity | Unreadable:
        """All of it is in the signed body."""
        event = json_body.decode(_DECODER, request.body)
        if isinstance(event, Unreadable):
            return event
        event_type = event.type
        if event_type is not None:
            event_type = event_type.removeprefix(_PREFIX)
        return identity(
            self.name,
            event.id,
            event_type,
            _resource(event.subject),
            occurred_at_us=timestamps.to_us(event.time, "s"),
        )


def _resource(subject: str | None) -> Resource | None:
    kind, colon, number = (subject or "").removeprefix(_SUBJECT).partition(":")
    return Resource(kind, number) if colon and kind and number else None
