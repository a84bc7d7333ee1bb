"""HubSpot's webhooks: base64 HMAC of method, URL, body and time, for up to 100 events at once.

HubSpot signs the URL that it was given, which a proxy may change on the way: the public one is
configured. Sources: HubSpot's developer documentation, "Validating requests" ("Validate the v3
request signature"), "Webhooks API guide", "Create and edit webhook subscriptions in legacy
private apps".
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import identifiers, json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.header_values import single
from producer.providers.identities import MAX_PARTS, Resource, fitting, identity, too_many
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Batch,
    Identity,
    Part,
    Provider,
    Refused,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.public_url import PublicUrl
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    TIMESTAMP_MALFORMED,
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_WINDOW,
)
from producer.providers.secret_text import as_bytes, signing_key
from producer.providers.signature_text import from_base64
from producer.providers.unreadable import Reason, unreadable

_SIGNATURE: Final = "x-hubspot-signature-v3"
_TIMESTAMP: Final = "x-hubspot-request-timestamp"
_MAX_CHARS: Final = 44
_DIGEST_BYTES: Final = 32
_GENERIC: Final = "object"


class HubSpotOptions(ProviderOptions):
    """What a connection must and may set."""

    url: Annotated[
        PublicUrl,
        Field(
            max_length=2000,
            description="the public URL that HubSpot was given, such as "
            "https://hooks.example.com/webhooks/acme-hubspot",
        ),
    ]
    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a request may be, in seconds"),
    ] = 300


_Id = str | int | None


class _Event(msgspec.Struct, frozen=True):
    event_id: _Id = msgspec.field(default=None, name="eventId")
    subscription_id: _Id = msgspec.field(default=None, name="subscriptionId")
    subscription_type: str | None = msgspec.field(default=None, name="subscriptionType")
    portal_id: _Id = msgspec.field(default=None, name="portalId")
    occurred_at: int | None = msgspec.field(default=None, name="occurredAt")
    object_id: _Id = msgspec.field(default=None, name="objectId")
    object_type_id: str | None = msgspec.field(default=None, name="objectTypeId")
    from_object_id: _Id = msgspec.field(default=None, name="fromObjectId")
    to_object_id: _Id = msgspec.field(default=None, name="toObjectId")
    property_name: str | None = msgspec.field(default=None, name="propertyName")


_EVENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT: Final = msgspec.json.Decoder(_Event)


class HubSpot(Provider):
    """Verifies and identifies what HubSpot sends to an app's target URL."""

    name: ClassVar[str] = "hubspot"
    Options: ClassVar[type[BaseModel]] = HubSpotOptions
    guide: ClassVar[Guide] = Guide(
        title="HubSpot",
        pages=(
            "Validating requests",
            "Webhooks API guide",
            "Create and edit webhook subscriptions in legacy private apps",
        ),
        scheme="HMAC-SHA256 of method, URL, body and time in base64, `X-HubSpot-Signature-v3`",
        secret="The app's client secret: Development → Legacy apps → the app → Auth → Client "
        "secret (not the access token).",
        replay="The signed `X-HubSpot-Request-Timestamp`, at most `tolerance_s` (300 s) from now.",
        batches=True,
        event_id="`portalId`, `eventId`, `subscriptionId`, what it is about and `occurredAt`: "
        "HubSpot does not promise that `eventId` alone is unique. The same when HubSpot tries "
        "again",
        event_type="`hubspot.` and `subscriptionType`: `hubspot.contact.propertyChange`",
        resource="The type's first word and `objectId`: `contact/1246965`; of `object.…` "
        "`object/0-1:1246965`",
        version="None: an event says what changed, and a later one does not say it again",
        occurred_at="`occurredAt`",
        options="url: https://hooks.example.com/webhooks/acme-hubspot",
        notes=(
            "A request with many events becomes as many events, each with the body that HubSpot "
            "would have sent for it alone.",
            "`url` is what HubSpot was given, scheme and host as the outside sees them, up to the "
            "path.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, HubSpotOptions)
        self._url = options.url
        self._tolerance_s = options.tolerance_s
        self.kept_headers: Sequence[str] = (_TIMESTAMP,)

    def load_key(self, secret: str) -> object:
        """The client secret's text."""
        return as_bytes(secret.strip(), "HubSpot's client secret")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC over method, URL, body and time, and the window."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        text = single(headers, _SIGNATURE, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        timestamp = single(headers, _TIMESTAMP, TIMESTAMP_MISSING, TIMESTAMP_MALFORMED)
        if isinstance(timestamp, Refused):
            return timestamp
        moment_ms = timestamps.digits(timestamp)
        if moment_ms is None:
            return TIMESTAMP_MALFORMED
        if not timestamps.within(moment_ms, "ms", now_s, self._tolerance_s):
            return TIMESTAMP_OUTSIDE_WINDOW
        signature = from_base64(text) if len(text) <= _MAX_CHARS else None
        if signature is None or len(signature) != _DIGEST_BYTES:
            return SIGNATURE_MALFORMED
        content = self._content(request.method, request.query, request.body, timestamp)
        verified_by = signing_key(content, (signature,), keys)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Batch | Unreadable:
        """One event for each of the list."""
        found = json_body.decode(_EVENTS, request.body)
        if isinstance(found, Unreadable):
            return found
        if len(found) > MAX_PARTS:
            return too_many(request.body)
        payloads = [bytes(one) for one in found]
        return Batch(tuple(Part(self._one(one), b"[" + one + b"]") for one in payloads))

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The signature and its time, for a POST without a query."""
        assert isinstance(key, bytes)
        timestamp = str(int(now_s * 1000))
        signed = hmac.digest(key, self._content("POST", "", body, timestamp), "sha256")
        return {
            "content-type": "application/json",
            _TIMESTAMP: timestamp,
            _SIGNATURE: b2a_base64(signed, newline=False).decode(),
        }

    def _content(self, method: str, query: str, body: bytes, timestamp: str) -> bytes:
        url = f"{self._url}?{query}" if query else self._url
        return f"{method}{url}".encode("utf-8", "replace") + body + timestamp.encode()

    def _one(self, payload: bytes) -> Identity | Unreadable:
        event = json_body.decode(_EVENT, payload)
        if isinstance(event, Unreadable):
            return event
        about = event.object_id if event.object_id is not None else event.from_object_id
        if event.event_id is None:
            return unreadable(Reason.EVENT_ID_MISSING, "there is no eventId")
        told = (
            event.portal_id,
            event.event_id,
            event.subscription_id,
            about,
            event.to_object_id,
            event.property_name,
            event.occurred_at,
        )
        return identity(
            self.name,
            fitting("-".join(map(_text, told))),
            event.subscription_type,
            _resource(event.subscription_type, event.object_type_id, about),
            occurred_at_us=timestamps.to_us(event.occurred_at, "ms"),
        )


def _text(part: _Id) -> str:
    checked = identifiers.as_id(part, "id", Reason.EVENT_ID_MISSING)
    return "" if isinstance(checked, Unreadable) else checked


def _resource(event_type: str | None, type_id: str | None, about: _Id) -> Resource | None:
    kind = (event_type or "").partition(".")[0]
    if about is None or not kind:
        return None
    # "object.creation" is of any type; the type's id tells a contact from a deal.
    return Resource(kind, f"{type_id}:{about}" if kind == _GENERIC and type_id else about)
