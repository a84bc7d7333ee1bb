"""Typeform's webhooks: `Typeform-Signature: sha256=` and a base64 HMAC of the body.

Sources: Typeform's developer documentation, "Secure your webhooks", "Example payload".
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


class TypeformOptions(ProviderOptions):
    """There is nothing to set."""


class _Response(msgspec.Struct, frozen=True):
    token: str | None = None
    landed_at: str | None = None
    submitted_at: str | None = None


class _Event(msgspec.Struct, frozen=True):
    event_id: str | None = None
    event_type: str | None = None
    form_response: _Response | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)


class Typeform(HmacSignature):
    """Verifies and identifies the responses that Typeform sends."""

    name: ClassVar[str] = "typeform"
    Options: ClassVar[type[BaseModel]] = TypeformOptions
    guide: ClassVar[Guide] = Guide(
        title="Typeform",
        pages=("Secure your webhooks", "Example payload"),
        scheme="HMAC-SHA256 of the body in base64, `Typeform-Signature: sha256=…`",
        secret="The form → Connect → Webhooks → the webhook → Edit → Secret, or `secret` in "
        "`PUT /forms/{form_id}/webhooks/{tag}`; you choose it.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        event_id="`event_id`, the same when Typeform tries again",
        event_type="`typeform.` and `event_type`: `typeform.form_response`",
        resource="`form_response.token`, the same while somebody fills the form in: "
        "`response/a3a12ec67a1365927098a606107fac15`",
        version="None",
        occurred_at="`form_response.submitted_at`, else `landed_at`",
    )

    def __init__(self, options: BaseModel) -> None:
        super().__init__(
            HmacSignatureOptions(
                header="typeform-signature",
                prefix="sha256=",
                encoding="base64",
                event_id="body:/event_id",
                event_type="body:/event_type",
            )
        )
        self.kept_headers = ()

    def identify(self, request: Request) -> Identity | Unreadable:
        """All of it is in the signed body."""
        event = json_body.decode(_DECODER, request.body)
        if isinstance(event, Unreadable):
            return event
        response = event.form_response or _Response()
        return identity(
            self.name,
            event.event_id,
            event.event_type,
            Resource("response", response.token) if response.token else None,
            occurred_at_us=timestamps.to_us(response.submitted_at or response.landed_at, "s"),
        )
