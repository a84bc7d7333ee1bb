"""Microsoft Graph's change notifications: the secret is `clientState`, in each one of the body.

No signature covers a notification, and `clientState` is a secret: it is compared, and it is taken
out before the notification is kept. Each notification of a body becomes one event, with the body
that Graph would have sent for it alone. Sources: Microsoft's documentation, "Receive change
notifications through webhooks", "Reduce missing subscriptions and change notifications" and
"changeNotification resource type".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import msgspec
from pydantic import BaseModel

from credentials.key_ring import Key
from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.identities import (
    MAX_PARTS,
    Resource,
    delivery_id,
    digest,
    fitting,
    identity,
    too_many,
)
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Batch,
    Identity,
    Outgoing,
    Part,
    Provider,
    Refused,
    Reply,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.refusals import (
    HANDSHAKE_REFUSED,
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
)
from producer.providers.secret_text import Token, as_token, matching_key
from schemas.errors import SecretFormatError

_VALIDATION: Final = "validationToken"
_MAX_TOKEN_CHARS: Final = 4096
_MAX_QUERY_FIELDS: Final = 32
_MAX_CLIENT_STATE_CHARS: Final = 128
_SECRET_MEMBER: Final = "clientState"


class MicrosoftGraphOptions(ProviderOptions):
    """Graph needs none."""


class _Claim(msgspec.Struct, frozen=True, rename="camel"):
    client_state: str | None = None


class _Claims(msgspec.Struct, frozen=True):
    value: list[_Claim]


class _Data(msgspec.Struct, frozen=True):
    odata_type: str | None = msgspec.field(default=None, name="@odata.type")
    odata_etag: str | None = msgspec.field(default=None, name="@odata.etag")
    event_time: str | None = msgspec.field(default=None, name="eventTime")


class _Notification(msgspec.Struct, frozen=True, rename="camel"):
    id: str | None = None
    subscription_id: str | None = None
    change_type: str | None = None
    lifecycle_event: str | None = None
    resource: str | None = None
    resource_data: _Data | None = None


class _Stripped(msgspec.Struct, frozen=True):
    value: list[dict[str, msgspec.Raw]]


_CLAIMS: Final = msgspec.json.Decoder(_Claims)
_MEMBERS: Final = msgspec.json.Decoder(_Stripped)
_NOTIFICATION: Final = msgspec.json.Decoder(_Notification)


class MicrosoftGraph(Provider):
    """Verifies and identifies change and lifecycle notifications."""

    name: ClassVar[str] = "microsoft_graph"
    Options: ClassVar[type[BaseModel]] = MicrosoftGraphOptions
    handshake_methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    guide: ClassVar[Guide] = Guide(
        title="Microsoft Graph",
        pages=(
            "Receive change notifications through webhooks",
            "Reduce missing subscriptions and change notifications",
            "changeNotification resource type",
        ),
        scheme="`clientState` in each notification, compared with the connection's secrets",
        secret="You choose it: up to 128 characters, sent as `clientState` when the subscription "
        "is made (`POST /subscriptions`) and given here. One random text for each subscription, "
        "or one for all of a connection.",
        replay="None: nothing is signed. A copy has the same event id and is recognised.",
        handshake="`validationToken`: Graph posts it in the query when a subscription is made, for "
        "`notificationUrl` and `lifecycleNotificationUrl`, and reads it back as plain text.",
        batches=True,
        event_id="`id`; without it a digest of subscription, change, resource and "
        "`@odata.etag`. Where Graph sends neither id nor etag, each delivery is an event of its "
        "own, so that no change is taken for a copy of the one before",
        event_type="`microsoft_graph.`, the entity's type and `changeType`: "
        "`microsoft_graph.message.created`; `microsoft_graph.lifecycle.missed`",
        resource="`@odata.type` and the path in `resource`: `message/users/…/messages/…`; of "
        "lifecycle notifications `subscription/{subscriptionId}`",
        version="None: an etag tells states apart, but not which came first",
        occurred_at="`resourceData.eventTime`, which few have",
        notes=(
            "A request with many notifications becomes as many events. Each has the body that "
            'Graph would have sent for it alone, `{"value": [one]}`, without `clientState`. '
            "`validationTokens` are left out; `encryptedContent` is kept as it is.",
            "One notification whose `clientState` is not the connection's refuses the whole "
            "request: Graph does not mix the subscriptions of two secrets unless both are given.",
            "After `subscriptionRemoved`, `reauthorizationRequired` and `missed` you have to act: "
            "route `microsoft_graph.lifecycle.*` to a handler.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        self.kept_headers: Sequence[str] = ()

    def load_key(self, secret: str) -> object:
        """The text of `clientState`."""
        if len(secret) > _MAX_CLIENT_STATE_CHARS:
            raise SecretFormatError(
                f"clientState has at most {_MAX_CLIENT_STATE_CHARS} characters, and this secret "
                "has more"
            )
        return as_token(secret, "the secret that is clientState")

    def handshake(
        self, request: Request, keys: Sequence[Key], now_s: float
    ) -> Reply | Refused | None:
        """The query's `validationToken`, decoded, as plain text."""
        if f"{_VALIDATION}=" not in request.query:
            return None
        try:
            found = parse_qs(request.query, max_num_fields=_MAX_QUERY_FIELDS).get(_VALIDATION, [])
            token = found[0] if len(found) == 1 else ""
            body = token.encode()
        except ValueError:
            return HANDSHAKE_REFUSED
        # Anybody may ask for this: what comes back is text, short, and never a page.
        if not token or len(token) > _MAX_TOKEN_CHARS or not token.isprintable():
            return HANDSHAKE_REFUSED
        nosniff = (("x-content-type-options", "nosniff"),)
        return Reply("text/plain; charset=utf-8", body, nosniff)

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """Every notification's `clientState` is that of a key; the first names the secret."""
        if not keys:
            return NO_ACTIVE_SECRET
        claims = json_body.decode(_CLAIMS, request.body)
        if isinstance(claims, Unreadable):
            return SIGNATURE_MALFORMED
        if not claims.value:
            return SIGNATURE_MISSING
        verified_by = None
        # Of many notifications most say the same: what was compared once is not again.
        known: dict[str, str | None] = {}
        for claim in claims.value:
            state = claim.client_state
            if state is None:
                return SIGNATURE_MISSING
            if state not in known:
                known[state] = matching_key(state, keys)
            if known[state] is None:
                return SIGNATURE_WRONG
            verified_by = verified_by or known[state]
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Batch | Unreadable:
        """One event for each notification."""
        found = json_body.decode(_MEMBERS, request.body)
        if isinstance(found, Unreadable):
            return found
        payloads = [_without_secret(members) for members in found.value]
        if len(payloads) > MAX_PARTS:
            return too_many(b'{"value":[' + b",".join(payloads) + b"]}")
        return Batch(
            tuple(
                Part(self._one(payload, request, n), b'{"value":[' + payload + b"]}")
                for n, payload in enumerate(payloads)
            )
        )

    def _one(self, payload: bytes, request: Request, number: int) -> Identity | Unreadable:
        said = json_body.decode(_NOTIFICATION, payload)
        if isinstance(said, Unreadable):
            return said
        data = said.resource_data or _Data()
        if said.lifecycle_event is not None:
            kind, change = "lifecycle", said.lifecycle_event
            resource = said.subscription_id and Resource("subscription", said.subscription_id)
        else:
            kind, change = _kind(data.odata_type), said.change_type or "changed"
            resource = said.resource and Resource(kind, fitting(said.resource))
        event_id = said.id
        if not event_id and data.odata_etag:
            event_id = digest(
                said.subscription_id or "", change, said.resource or "", data.odata_etag
            )
        return identity(
            self.name,
            event_id or delivery_id(request, number),
            f"{kind}.{change}",
            resource or None,
            occurred_at_us=timestamps.to_us(data.event_time, "s"),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """No header proves anything: `outgoing` puts the secret into the body."""
        return {"content-type": "application/json"}

    def outgoing(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Outgoing:
        """The body with `clientState` in each notification; another body as it is."""
        assert isinstance(key, Token)
        headers = self.sign(body, key, event_id=event_id, event_type=event_type, now_s=now_s)
        found = json_body.decode(_MEMBERS, body)
        if isinstance(found, Unreadable):
            return Outgoing(headers, body)
        value: list[dict[str, Any]] = [
            {**members, _SECRET_MEMBER: key.text} for members in found.value
        ]
        return Outgoing(headers, msgspec.json.encode({"value": value}))


def _without_secret(members: dict[str, msgspec.Raw]) -> bytes:
    return msgspec.json.encode(
        {name: value for name, value in members.items() if name != _SECRET_MEMBER}
    )


def _kind(odata_type: str | None) -> str:
    """`message` of `#Microsoft.Graph.Message`."""
    name = (odata_type or "").rpartition(".")[2].lower()
    return name if name.isascii() and name.isalnum() else "resource"
