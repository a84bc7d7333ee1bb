"""Meta's webhooks (Facebook, Instagram, WhatsApp, Messenger): `X-Hub-Signature-256`.

The app secret signs the body; the verify token, another secret of your own, is for the handshake
alone, since it comes in a query that proxies log. Each change of a body becomes one event, with
the body that Meta would have sent for it alone. Sources: Meta's documentation, "Webhooks: Get
Started", "Webhooks for Messenger Platform", "WhatsApp Cloud API: Webhooks".
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import parse_qs

import msgspec
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.header_values import single
from producer.providers.identities import MAX_PARTS, Resource, digest, identity, too_many
from producer.providers.meta_payloads import CHANGE, MESSAGING, Change, Messaging
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Batch,
    Identity,
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
from producer.providers.secret_text import as_bytes, signing_key
from producer.providers.signature_text import from_hex

_SIGNATURE: Final = "x-hub-signature-256"
_SCHEME: Final = "sha256="
_CHARS: Final = len(_SCHEME) + 64
_MAX_CHALLENGE_CHARS: Final = 256
_MAX_QUERY_FIELDS: Final = 32
# Milliseconds since 1970 have more digits than seconds will have for 3,000 years.
_LEAST_MS: Final = 10**11


class MetaOptions(ProviderOptions):
    """What a connection may set."""

    verify_token_secret: Annotated[
        str,
        Field(
            min_length=1,
            description="the name of the secret that is the Verify Token; the others are app "
            "secrets",
        ),
    ] = "verify-token"


class _Entry(msgspec.Struct, frozen=True):
    id: str | int | None = None
    time: int | float | None = None
    changes: list[msgspec.Raw] = []
    messaging: list[msgspec.Raw] = []
    standby: list[msgspec.Raw] = []
    changed_fields: list[str] = []


class _Body(msgspec.Struct, frozen=True):
    object: str
    entry: list[_Entry]


_BODY: Final = msgspec.json.Decoder(_Body)


class Meta(Provider):
    """Verifies and identifies webhooks of a Meta app."""

    name: ClassVar[str] = "meta"
    Options: ClassVar[type[BaseModel]] = MetaOptions
    handshake_methods: ClassVar[frozenset[str]] = frozenset({"GET"})
    guide: ClassVar[Guide] = Guide(
        title="Meta",
        pages=(
            "Webhooks: Get Started",
            "Webhooks for Messenger Platform",
            "WhatsApp Cloud API: Webhooks",
        ),
        scheme="HMAC-SHA256 of the body in hex, `X-Hub-Signature-256: sha256=…`",
        secret="App Dashboard → App settings → Basic → App secret. And a second secret with the "
        "name `verify-token`: a random text that you choose and type into the Dashboard's Verify "
        "Token. It proves no webhook.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        handshake="`hub.challenge`: Meta sends a GET with the verify token when the callback URL "
        "is saved, and reads the challenge back.",
        batches=True,
        event_id="Of WhatsApp the message's id (`wamid…`), of a status with the status; of "
        "Messenger `mid`; of others a digest of object, entry, its time and the change",
        event_type="`meta.`, the object and the field: `meta.page.feed`, "
        "`meta.whatsapp_business_account.messages`; of Messenger `meta.page.message`",
        resource="The conversation (`conversation/{number}:{customer}`), the post, the lead; else "
        "the entry: `page/1029`",
        version="None",
        occurred_at="The message's or the change's own time, else the entry's",
        options="verify_token_secret: verify-token",
        notes=(
            "A request may hold up to 1,000 changes of several entries. Each becomes one event "
            "with the body that Meta would have sent for it alone: one entry with one change.",
            "An app has one callback URL for each product, and one app secret for all of them.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, MetaOptions)
        self.handshake_secret = options.verify_token_secret
        self.kept_headers: Sequence[str] = ()

    def load_key(self, secret: str) -> object:
        """The text of the app secret, or of the verify token."""
        return as_bytes(secret.strip(), "Meta's app secret or verify token")

    def handshake(
        self, request: Request, keys: Sequence[Key], now_s: float
    ) -> Reply | Refused | None:
        """The challenge of a GET whose verify token is the connection's."""
        query = request.query
        if "hub.mode=" not in query and "hub.challenge=" not in query:
            return None
        try:
            fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
        except ValueError:
            return HANDSHAKE_REFUSED
        mode, token, challenge = (
            fields[name][0] if len(fields.get(name, ())) == 1 else ""
            for name in ("hub.mode", "hub.verify_token", "hub.challenge")
        )
        given = hmac.digest(b"verify", token.encode("utf-8", "surrogatepass"), "sha256")
        known = False
        for key in keys:
            if key.name == self.handshake_secret:
                expected = hmac.digest(b"verify", key.material, "sha256")
                known |= hmac.compare_digest(expected, given)
        if (
            not known
            or mode != "subscribe"
            or not 0 < len(challenge) <= _MAX_CHALLENGE_CHARS
            or not challenge.isascii()
            or not challenge.replace("-", "").replace("_", "").isalnum()
        ):
            return HANDSHAKE_REFUSED
        return Reply("text/plain; charset=utf-8", challenge.encode())

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC-SHA256 of the raw body by an app secret."""
        proving = [key for key in keys if key.name != self.handshake_secret]
        if not proving:
            return NO_ACTIVE_SECRET
        text = single(request.headers, _SIGNATURE, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        if len(text) != _CHARS or not text.startswith(_SCHEME):
            return SIGNATURE_MALFORMED
        signature = from_hex(text[len(_SCHEME) :])
        if signature is None:
            return SIGNATURE_MALFORMED
        verified_by = signing_key(request.body, (signature,), proving)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Batch | Unreadable:
        """One event for each change and each message."""
        body = json_body.decode(_BODY, request.body)
        if isinstance(body, Unreadable):
            return body
        parts: list[Part] = []
        for entry in body.entry:
            for part in self._parts(body.object, entry):
                if len(parts) == MAX_PARTS:
                    return too_many(request.body)
                parts.append(part)
        return Batch(tuple(parts))

    def _parts(self, kind: str, entry: _Entry) -> Iterator[Part]:
        for list_name, raws in (("messaging", entry.messaging), ("standby", entry.standby)):
            for raw in map(bytes, raws):
                found = json_body.decode(MESSAGING, raw)
                yield Part(
                    self._message(kind, entry, raw, found), _alone(kind, entry, list_name, raw)
                )
        for raw in map(bytes, entry.changes):
            change = json_body.decode(CHANGE, raw)
            yield Part(self._change(kind, entry, raw, change), _alone(kind, entry, "changes", raw))
        for field in entry.changed_fields:
            raw = msgspec.json.encode(field)
            bare = Change(field)
            yield Part(
                self._change(kind, entry, raw, bare), _alone(kind, entry, "changed_fields", raw)
            )

    def _message(
        self, kind: str, entry: _Entry, raw: bytes, said: Messaging | Unreadable
    ) -> Identity | Unreadable:
        if isinstance(said, Unreadable):
            return said
        return identity(
            self.name,
            said.event_id() or _digest(kind, entry, raw),
            f"{kind}.{said.kind()}",
            said.conversation() or _of_entry(kind, entry),
            occurred_at_us=_to_us(said.timestamp) or _to_us(entry.time),
        )

    def _change(
        self, kind: str, entry: _Entry, raw: bytes, said: Change | Unreadable
    ) -> Identity | Unreadable:
        if isinstance(said, Unreadable):
            return said
        return identity(
            self.name,
            said.event_id() or _digest(kind, entry, raw),
            f"{kind}.{said.field}",
            said.resource() or _of_entry(kind, entry),
            occurred_at_us=_to_us(said.moment()) or _to_us(entry.time),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """Meta's one header."""
        assert isinstance(key, bytes)
        return {
            "content-type": "application/json",
            _SIGNATURE: _SCHEME + hmac.digest(key, body, "sha256").hex(),
        }


def _alone(kind: str, entry: _Entry, list_name: str, raw: bytes) -> bytes:
    one: dict[str, Any] = {"id": entry.id, "time": entry.time, list_name: [msgspec.Raw(raw)]}
    return msgspec.json.encode({"object": kind, "entry": [one]})


def _of_entry(kind: str, entry: _Entry) -> Resource | None:
    return None if entry.id is None else Resource(kind, entry.id)


def _digest(kind: str, entry: _Entry, raw: bytes) -> str:
    # With the time: the same change may happen twice, and the second must not be taken for a copy.
    return digest(kind, str(entry.id), str(entry.time), raw)


def _to_us(moment: str | int | float | None) -> int | None:
    number = timestamps.digits(moment) if isinstance(moment, str) else moment
    if number is None or isinstance(number, bool):
        return None
    return timestamps.unix_to_us(number, "ms" if number >= _LEAST_MS else "s")
