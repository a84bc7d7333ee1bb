"""Standard Webhooks, which Svix speaks too: id, timestamp and body are signed together.

`v1` is HMAC-SHA256 with a `whsec_` secret, `v1a` ed25519 with a `whpk_` public key; each entry
of the signature list is tried only with keys of its own kind. Source: the Standard Webhooks
specification, "Signature scheme" and "Webhook headers".
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import timestamps
from producer.providers.guide import Guide
from producer.providers.header_values import single
from producer.providers.identity_sources import (
    IdentityReader,
    IdentitySources,
    SourceText,
    WhenNoResource,
    optional_source,
    parse_source,
)
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Headers,
    Identity,
    Provider,
    Refused,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    TIMESTAMP_MALFORMED,
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_WINDOW,
)
from producer.providers.signature_text import from_base64
from schemas.errors import SecretFormatError

MAX_SIGNATURES: Final = 32
# One ed25519 check costs about 0.1 ms and anybody may send such a list: bounded more tightly.
MAX_ED25519_SIGNATURES: Final = 4

_HMAC_BYTES: Final = 32
_HMAC_CHARS: Final = 44
_ED25519_BYTES: Final = 64
_ED25519_CHARS: Final = 88
_ED25519_KEY_BYTES: Final = 32


class _HeaderNames(msgspec.Struct, frozen=True):
    id: str
    timestamp: str
    signature: str


_STANDARD: Final = _HeaderNames("webhook-id", "webhook-timestamp", "webhook-signature")
_SVIX: Final = _HeaderNames("svix-id", "svix-timestamp", "svix-signature")


class _SymmetricKey(msgspec.Struct, frozen=True):
    secret: bytes


class _Ed25519Key(msgspec.Struct, frozen=True):
    public: Ed25519PublicKey
    private: Ed25519PrivateKey | None = None


class StandardWebhooksOptions(ProviderOptions):
    """What a connection may set. A source is "body:/pointer", "header:Name" or "literal:text"."""

    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a webhook may be, in seconds"),
    ] = 300
    event_type: Annotated[SourceText, Field(description="where the event's type is")] = "body:/type"
    resource_type: Annotated[
        SourceText | None,
        Field(description="where the entity's kind is; without it, the type's first segment"),
    ] = None
    resource_id: Annotated[SourceText, Field(description="where the entity's id is")] = (
        "body:/data/id"
    )
    resource_version: Annotated[
        SourceText | None,
        Field(
            description="where an integer or ISO 8601 time is that grows with each state of the "
            "entity; set it only where a later state makes an earlier event needless"
        ),
    ] = None
    occurred_at: Annotated[
        SourceText | None, Field(description="where the time of the event is (ISO 8601 or Unix s)")
    ] = "body:/timestamp"
    when_no_resource: Annotated[
        WhenNoResource,
        optional_source,
        Field(description="what to do with an event that has no entity's id"),
    ] = "key_alone"


class StandardWebhooks(Provider):
    """Verifies and identifies by the Standard Webhooks specification."""

    name: ClassVar[str] = "standard_webhooks"
    Options: ClassVar[type[BaseModel]] = StandardWebhooksOptions
    guide: ClassVar[Guide] = Guide(
        title="Standard Webhooks and Svix",
        pages=("Standard Webhooks specification", "Svix: Verifying webhooks manually"),
        scheme="HMAC-SHA256 (`v1`) or ed25519 (`v1a`) of `{id}.{timestamp}.{body}` in base64, "
        "`webhook-signature` or `svix-signature`",
        secret="Where the system shows the endpoint's signing secret: `whsec_…`, or `whpk_…` for a "
        "public key.",
        replay="The signed `webhook-timestamp`, at most `tolerance_s` (300 s) from now.",
        event_id="`webhook-id` (`svix-id`), signed, the same when it is sent again",
        event_type="`standard_webhooks.` and what is where `event_type` says (`/type`)",
        resource="Where `resource_id` says (`/data/id`), of the type that `resource_type` says "
        "(else the event type's first word)",
        version="Where `resource_version` says; none without",
        occurred_at="Where `occurred_at` says (`/timestamp`)",
        options="tolerance_s: 300\nresource_version: body:/data/updated_at",
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, StandardWebhooksOptions)
        self._tolerance_s = options.tolerance_s
        sources = IdentitySources(
            event_type=parse_source(options.event_type),
            resource_type=optional_source(options.resource_type),
            resource_id=parse_source(options.resource_id),
            resource_version=optional_source(options.resource_version),
            occurred_at=optional_source(options.occurred_at),
        )
        self._identity = IdentityReader(
            self.name, sources, time_unit="s", when_no_resource=options.when_no_resource
        )
        self.kept_headers: Sequence[str] = (
            _STANDARD.id,
            _STANDARD.timestamp,
            _SVIX.id,
            _SVIX.timestamp,
            *sources.header_names(),
        )

    def load_key(self, secret: str) -> object:
        """A key of `whsec_…` (or bare base64), `whpk_…`, or `whsk_…`, which can also sign."""
        text = secret.strip()
        if text.startswith("whpk_"):
            return _Ed25519Key(_public_key(text.removeprefix("whpk_")))
        if text.startswith("whsk_"):
            private = _private_key(text.removeprefix("whsk_"))
            return _Ed25519Key(private.public_key(), private)
        symmetric = from_base64(text.removeprefix("whsec_"))
        if not symmetric:
            raise SecretFormatError(
                "a Standard Webhooks secret is base64, mostly with whsec_ before it (whpk_ for a "
                "public key), and this one is not: copy it again from the provider's page"
            )
        return _SymmetricKey(symmetric)

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """Any one signature of the list that any one key made; the timestamp is signed too."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        names = _names(headers)
        message_id = single(headers, names.id, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(message_id, Refused):
            return message_id
        signatures = single(headers, names.signature, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(signatures, Refused):
            return signatures
        timestamp = single(headers, names.timestamp, TIMESTAMP_MISSING, TIMESTAMP_MALFORMED)
        if isinstance(timestamp, Refused):
            return timestamp
        # With a dot in the id, one signed text could be cut into id, timestamp and body in two
        # ways; the specification forbids it for that reason.
        if not message_id or "." in message_id or not message_id.isascii():
            return SIGNATURE_MALFORMED
        seconds = timestamps.digits(timestamp)
        if seconds is None:
            return TIMESTAMP_MALFORMED
        if not timestamps.within(seconds, "s", now_s, self._tolerance_s):
            return TIMESTAMP_OUTSIDE_WINDOW
        symmetric, asymmetric = _signatures(signatures)
        if not symmetric and not asymmetric:
            return SIGNATURE_MALFORMED

        content = f"{message_id}.{timestamp}.".encode() + request.body
        verified_by = None
        for key in keys:
            if _made_by(key.material, content, symmetric, asymmetric) and verified_by is None:
                verified_by = key.name
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The event id is the signed `webhook-id`; the rest is where the options say."""
        headers = request.headers
        return self._identity.read(request, headers.get(_names(headers).id))

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The three `webhook-` headers; SecretFormatError for a key that can only verify."""
        timestamp = str(int(now_s))
        content = f"{event_id}.{timestamp}.".encode() + body
        if isinstance(key, _SymmetricKey):
            version, signature = "v1", hmac.digest(key.secret, content, "sha256")
        elif isinstance(key, _Ed25519Key) and key.private is not None:
            version, signature = "v1a", key.private.sign(content)
        else:
            raise SecretFormatError(
                "a whpk_ public key can only verify: sign with the whsk_ key that belongs to it"
            )
        return {
            "content-type": "application/json",
            _STANDARD.id: event_id,
            _STANDARD.timestamp: timestamp,
            _STANDARD.signature: f"{version},{b2a_base64(signature, newline=False).decode()}",
        }


def _names(headers: Headers) -> _HeaderNames:
    # One family for all three values: a mixture was never signed together.
    return _SVIX if headers.get(_STANDARD.id) is None else _STANDARD


def _signatures(text: str) -> tuple[list[bytes], list[bytes]]:
    """The well-formed `v1` and `v1a` signatures of the list's first entries."""
    symmetric: list[bytes] = []
    asymmetric: list[bytes] = []
    for entry in text.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]:
        version, _, signature = entry.partition(",")
        if version == "v1" and len(signature) <= _HMAC_CHARS:
            decoded = from_base64(signature)
            if decoded is not None and len(decoded) == _HMAC_BYTES:
                symmetric.append(decoded)
        elif version == "v1a" and len(signature) <= _ED25519_CHARS:
            decoded = from_base64(signature)
            if (
                decoded is not None
                and len(decoded) == _ED25519_BYTES
                and len(asymmetric) < MAX_ED25519_SIGNATURES
            ):
                asymmetric.append(decoded)
    return symmetric, asymmetric


def _made_by(
    material: object, content: bytes, symmetric: list[bytes], asymmetric: list[bytes]
) -> bool:
    """Whether this key made one of the signatures; each of its kind is compared."""
    if isinstance(material, _SymmetricKey):
        if not symmetric:
            return False
        expected = hmac.digest(material.secret, content, "sha256")
        made = False
        for signature in symmetric:
            made |= hmac.compare_digest(expected, signature)
        return made
    if isinstance(material, _Ed25519Key):
        # Nothing here is secret, so that the first match may end it.
        return any(_ed25519_signed(material.public, signature, content) for signature in asymmetric)
    return False


def _ed25519_signed(public: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _public_key(text: str) -> Ed25519PublicKey:
    raw = from_base64(text)
    if raw is None or len(raw) != _ED25519_KEY_BYTES:
        raise SecretFormatError(
            f"a whpk_ public key is {_ED25519_KEY_BYTES} bytes in base64, and this one is not: "
            "copy it again from the provider's page"
        )
    return Ed25519PublicKey.from_public_bytes(raw)


def _private_key(text: str) -> Ed25519PrivateKey:
    raw = from_base64(text)
    if raw is not None and len(raw) in (_ED25519_KEY_BYTES, 2 * _ED25519_KEY_BYTES):
        private = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_KEY_BYTES])
        # The longer form has the public key behind the seed, and the two must belong together.
        public = raw[_ED25519_KEY_BYTES:]
        if not public or public == private.public_key().public_bytes_raw():
            return private
    raise SecretFormatError(
        "a whsk_ private key is the 32 bytes of an ed25519 seed, or 64 with its public key "
        "behind it, in base64, and this one is not"
    )
