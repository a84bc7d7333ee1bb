"""Standard Webhooks, which Svix also speaks.

Rules: the Standard Webhooks specification, "Webhook headers" and "Signature scheme" (v1:
HMAC-SHA256 with a `whsec_` secret; v1a: ed25519 with a `whpk_` public key); Svix documentation,
"Verifying payloads manually", for the `svix-` header names.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, field_validator

from credentials.key_ring import Key
from producer.providers import json_body
from producer.providers.provider import Identity, Refusal, Refused, Request, Unreadable, Verified
from producer.providers.resource import event_type_of, slug_of
from producer.providers.signature_text import from_base64, single, usable_id
from producer.providers.timestamps import from_iso8601, from_number, unix_seconds
from schemas.errors import SecretFormatError

_MAX_SIGNATURES: Final = 32
_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


class StandardWebhooksOptions(BaseModel):
    """What a connection may set; pointers are JSON pointers into the body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance_s: int = Field(300, ge=1, le=86_400, description="Replay window, to both sides.")
    type: str = Field("/type", description="Where the event type is.")
    resource_type: str | None = Field(
        None, description="Where the resource's type is; by default the event type's first part."
    )
    resource_id: str = Field("/data/id", description="Where the resource's id is.")
    resource_version: str | None = Field(
        None, description="Where the resource's version (a number or an ISO 8601 time) is."
    )
    occurred_at: str = Field("/timestamp", description="Where the time of the event is.")

    @field_validator("type", "resource_type", "resource_id", "resource_version", "occurred_at")
    @classmethod
    def _is_pointer(cls, pointer: str | None) -> str | None:
        if pointer is not None:
            json_body.parse_pointer(pointer)
        return pointer


class _Symmetric(msgspec.Struct, frozen=True):
    secret: bytes


class _Asymmetric(msgspec.Struct, frozen=True):
    public: Ed25519PublicKey
    private: Ed25519PrivateKey | None = None


class StandardWebhooks:
    """The Standard Webhooks scheme."""

    name: ClassVar[str] = "standard_webhooks"
    Options: ClassVar[type[BaseModel]] = StandardWebhooksOptions
    kept_headers: Sequence[str] = ("webhook-id", "webhook-timestamp", "svix-id", "svix-timestamp")

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, StandardWebhooksOptions)
        self._tolerance_s = options.tolerance_s
        self._type = json_body.parse_pointer(options.type)
        self._resource_type = _optional(options.resource_type)
        self._resource_id = json_body.parse_pointer(options.resource_id)
        self._version = _optional(options.resource_version)
        self._occurred_at = json_body.parse_pointer(options.occurred_at)

    def load_key(self, secret: str) -> object:
        """`whsec_…` or bare base64 (symmetric), `whpk_…` (public) or `whsk_…` (private)."""
        prefix, _, rest = secret.rpartition("_")
        material = from_base64(rest)
        if material is None or prefix not in ("", "whsec", "whpk", "whsk"):
            raise SecretFormatError(
                "a Standard Webhooks secret is whsec_ (or, for ed25519, whpk_) and base64"
            )
        if prefix == "whpk":
            if len(material) != 32:
                raise SecretFormatError("a whpk_ key is the base64 of 32 bytes (ed25519)")
            return _Asymmetric(Ed25519PublicKey.from_public_bytes(material))
        if prefix == "whsk":
            # Some libraries write the seed, others the seed and the public key behind it.
            if len(material) not in (32, 64):
                raise SecretFormatError("a whsk_ key is the base64 of 32 or 64 bytes (ed25519)")
            private = Ed25519PrivateKey.from_private_bytes(material[:32])
            return _Asymmetric(private.public_key(), private)
        if not material:
            raise SecretFormatError("a Standard Webhooks secret must not be empty")
        return _Symmetric(material)

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """`id.timestamp.body` signed by any active key, inside the window."""
        headers = request.headers
        names = "webhook-" if headers.get("webhook-signature") is not None else "svix-"
        if headers.get(names + "signature") is None:
            return Refused(Refusal.SIGNATURE_MISSING)
        offered = single(headers, names + "signature")
        event_id = single(headers, names + "id")
        if offered is None or event_id is None or not usable_id(event_id):
            return Refused(Refusal.SIGNATURE_MALFORMED)
        if headers.get(names + "timestamp") is None:
            return Refused(Refusal.TIMESTAMP_MISSING)
        timestamp = single(headers, names + "timestamp")
        sent_s = unix_seconds(timestamp) if timestamp is not None else None
        if timestamp is None or sent_s is None:
            return Refused(Refusal.TIMESTAMP_MALFORMED)
        if abs(now_s - sent_s) > self._tolerance_s:
            return Refused(Refusal.TIMESTAMP_OUTSIDE_WINDOW)
        if not keys:
            return Refused(Refusal.NO_ACTIVE_SECRET)
        symmetric, asymmetric = _signatures(offered)
        if not symmetric and not asymmetric:
            return Refused(Refusal.SIGNATURE_MALFORMED)
        content = f"{event_id}.{timestamp}.".encode() + request.body
        verified: str | None = None
        for key in keys:
            if _matches(key.material, content, symmetric, asymmetric) and verified is None:
                verified = key.name
        return Refused(Refusal.SIGNATURE_WRONG) if verified is None else Verified(verified)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The id from the header, the rest from the body."""
        headers = request.headers
        event_id = single(headers, "webhook-id") or single(headers, "svix-id")
        if event_id is None:
            return Unreadable("id_missing", "there is no webhook-id header")
        body = json_body.decode(request.body, _DECODER)
        if isinstance(body, Unreadable):
            return body
        event_type = event_type_of(self.name, json_body.find(body, self._type))
        if event_type is None:
            return Unreadable("type_missing", "there is no usable event type in the body")
        version = None if self._version is None else json_body.find(body, self._version)
        given = None if self._resource_type is None else json_body.find(body, self._resource_type)
        resource_type = slug_of(given) or slug_of(event_type.split(".")[1]) or "event"
        resource_id = json_body.find(body, self._resource_id)
        if isinstance(resource_id, int) and not isinstance(resource_id, bool):
            resource_id = str(resource_id)
        if not isinstance(resource_id, str) or not resource_id:
            # An event about nothing in particular is alone in its order.
            resource_type, resource_id = "event", event_id
        if not usable_id(resource_id):
            return Unreadable("id_unusable", "the resource id is too long or not printable")
        return Identity(
            event_id=event_id,
            event_type=event_type,
            resource_type=resource_type,
            resource_id=resource_id,
            resource_version=_version(
                json_body.find(body, self._version) if self._version else None
            ),
            occurred_at_us=_time(json_body.find(body, self._occurred_at)),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """The headers of the specification; `v1a` where the key is a private one."""
        timestamp = str(int(now_s))
        content = f"{event_id}.{timestamp}.".encode() + body
        if isinstance(key, _Symmetric):
            version, signature = "v1", hmac.digest(key.secret, content, "sha256")
        elif isinstance(key, _Asymmetric) and key.private is not None:
            version, signature = "v1a", key.private.sign(content)
        else:
            raise SecretFormatError("to sign, a whsec_ secret or a whsk_ private key is needed")
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"{version},{base64.b64encode(signature).decode()}",
        }


def _optional(pointer: str | None) -> tuple[str, ...] | None:
    return None if pointer is None else json_body.parse_pointer(pointer)


def _signatures(offered: str) -> tuple[list[bytes], list[bytes]]:
    symmetric: list[bytes] = []
    asymmetric: list[bytes] = []
    for entry in offered.split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]:
        version, _, text = entry.partition(",")
        if version not in ("v1", "v1a"):
            continue
        signature = from_base64(text)
        if signature is not None:
            (symmetric if version == "v1" else asymmetric).append(signature)
    return symmetric, asymmetric


def _matches(
    material: object, content: bytes, symmetric: list[bytes], asymmetric: list[bytes]
) -> bool:
    found = False
    if isinstance(material, _Symmetric):
        expected = hmac.digest(material.secret, content, "sha256")
        for signature in symmetric:
            found |= hmac.compare_digest(expected, signature)
    elif isinstance(material, _Asymmetric):
        for signature in asymmetric:
            try:
                material.public.verify(signature, content)
                found = True
            except InvalidSignature:
                continue
    return found


def _version(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    return from_iso8601(value) if isinstance(value, str) else None


def _time(value: Any) -> int | None:
    if isinstance(value, str):
        return from_iso8601(value)
    return from_number(value, per_second=1) if isinstance(value, int | float) else None
