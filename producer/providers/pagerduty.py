"""PagerDuty's V3 webhooks: `X-PagerDuty-Signature` with one `v1=` for each active secret.

Sources: PagerDuty's developer documentation, "Webhooks Overview", "Verifying Signatures".
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from pydantic import BaseModel

from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.hmac_options import HmacSignatureOptions
from producer.providers.hmac_signature import HmacSignature
from producer.providers.identities import Resource, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Request, Unreadable


class PagerDutyOptions(ProviderOptions):
    """There is nothing to set."""


class _Reference(msgspec.Struct, frozen=True):
    id: str | None = None


class _Data(msgspec.Struct, frozen=True):
    id: str | None = None
    # Of a note, a responder, a status update: whose it is.
    incident: _Reference | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str | None = None
    event_type: str | None = None
    resource_type: str | None = None
    occurred_at: str | None = None
    data: _Data | None = None


class _Message(msgspec.Struct, frozen=True):
    event: _Event | None = None


_DECODER: Final = msgspec.json.Decoder(_Message)


class PagerDuty(HmacSignature):
    """Verifies and identifies PagerDuty's events."""

    name: ClassVar[str] = "pagerduty"
    Options: ClassVar[type[BaseModel]] = PagerDutyOptions
    guide: ClassVar[Guide] = Guide(
        title="PagerDuty",
        pages=("Webhooks Overview", "Verifying Signatures"),
        scheme="HMAC-SHA256 of the body in hex, `X-PagerDuty-Signature: v1=…[,v1=…]`",
        secret="Integrations → Generic Webhooks (v3): shown once when the subscription is made; "
        "by API `delivery_method.secret` in the answer. While one is rotated, PagerDuty signs "
        "with both.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        event_id="`event.id`, the same when PagerDuty tries again",
        event_type="`pagerduty.` and `event.event_type`: `pagerduty.incident.triggered`",
        resource="Of all that is about an incident, the incident: `incident/PGR0VU2`; else "
        "`event.resource_type` and `event.data.id`; of a ping the event alone",
        version="None",
        occurred_at="`event.occurred_at`",
    )

    def __init__(self, options: BaseModel) -> None:
        super().__init__(
            HmacSignatureOptions(
                header="x-pagerduty-signature",
                prefix="v1=",
                separator=",",
                event_id="body:/event/id",
                event_type="body:/event/event_type",
            )
        )
        self.kept_headers = ("x-webhook-id", "x-webhook-subscription")

    def identify(self, request: Request) -> Identity | Unreadable:
        """All of it is in the signed body."""
        message = json_body.decode(_DECODER, request.body)
        if isinstance(message, Unreadable):
            return message
        event = message.event or _Event()
        return identity(
            self.name,
            event.id,
            event.event_type,
            _resource(event),
            occurred_at_us=timestamps.to_us(event.occurred_at, "s"),
        )


def _resource(event: _Event) -> Resource | None:
    data = event.data or _Data()
    if data.incident is not None and data.incident.id:
        return Resource("incident", data.incident.id)
    if data.id and event.resource_type:
        return Resource(event.resource_type, data.id)
    return None
