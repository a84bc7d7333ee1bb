"""CloudEvents over HTTP: binary, structured and batched, with the web hooks' OPTIONS handshake.

CloudEvents say what an event is and not who sent it: a bearer token does, or an HMAC of the body.
Sources: the CloudEvents specification 1.0.2, "HTTP Protocol Binding", and its "HTTP 1.1 Web Hooks
for Event Delivery".
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import parse_qs, quote, unquote

from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers.cloudevents_json import (
    BATCHED,
    STRUCTURED,
    read_attributes,
    read_body,
    read_one,
)
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated, single
from producer.providers.identity_options import HeaderName
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Batch,
    Identity,
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
from producer.providers.secret_text import Token, as_bytes, as_token, matching_key, signing_key
from producer.providers.signature_text import from_hex
from producer.providers.unreadable import Reason, unreadable

_AUTHORIZATION: Final = "authorization"
_QUERY_TOKEN: Final = "access_token"
_ORIGIN: Final = "webhook-request-origin"
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time")
_HEADERS: Final = tuple(f"ce-{name}" for name in _ATTRIBUTES)
_MAX_QUERY_FIELDS: Final = 32
_DIGEST_CHARS: Final = 64
_ORIGIN_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_:*")


class CloudEventsOptions(ProviderOptions):
    """What a connection may set."""

    authentication: Annotated[
        Literal["bearer", "hmac"],
        Field(description="what proves the sender: a bearer token, or an HMAC of the body"),
    ] = "bearer"
    query_token: Annotated[
        bool, Field(description="take a bearer token from ?access_token= too, which proxies log")
    ] = False
    signature_header: Annotated[
        HeaderName, Field(description="with hmac, the header that has HMAC-SHA256 in hex")
    ] = "x-signature-256"
    signature_prefix: Annotated[
        str, Field(max_length=100, description="what stands before the signature")
    ] = "sha256="
    version_attribute: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9]{1,20}$",
            description="the attribute that grows with each state of a subject, such as sequence",
        ),
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        Field(
            description="senders that the handshake allows, such as events.example.com; "
            "without any, all"
        ),
    ] = ()
    allowed_rate: Annotated[
        int | None,
        Field(ge=1, description="requests per minute that the handshake allows; none: no limit"),
    ] = None


class CloudEvents(Provider):
    """Verifies and identifies CloudEvents of any system."""

    name: ClassVar[str] = "cloudevents"
    Options: ClassVar[type[BaseModel]] = CloudEventsOptions
    handshake_methods: ClassVar[frozenset[str]] = frozenset({"OPTIONS"})
    guide: ClassVar[Guide] = Guide(
        title="CloudEvents",
        pages=("CloudEvents: HTTP Protocol Binding", "HTTP 1.1 Web Hooks for Event Delivery"),
        scheme="`Authorization: Bearer …`; or, with `authentication: hmac`, HMAC-SHA256 of the "
        "body in hex",
        secret="You choose it, and give it to the sending system as its token or signing key.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        handshake="`OPTIONS` with `WebHook-Request-Origin`: answered with "
        "`WebHook-Allowed-Origin` and `WebHook-Allowed-Rate`, for `allowed_origins`. "
        "`WebHook-Request-Callback` is not called.",
        batches=True,
        event_id="`source` and `id`, which together are unique",
        event_type="`cloudevents.` and `type`: `cloudevents.com.example.order.paid`",
        resource="`source` and `subject`: `subject/{source}#{subject}`; without a subject the "
        "event alone",
        version="The extension attribute that `version_attribute` names, an integer or a time",
        occurred_at="`time`",
        options="authentication: hmac\nsignature_header: X-Signature-256\n"
        "version_attribute: sequence\nallowed_origins: [events.example.com]",
        notes=(
            "Binary (`ce-…` headers), structured and batched requests are told by their content "
            "type. Of a batch each event is kept as a structured one.",
            "An HMAC covers the body and so not the headers of a binary event: have the system "
            "send structured ones, or trust TLS for the headers.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, CloudEventsOptions)
        self._options = options
        self._origins = frozenset(origin.lower() for origin in options.allowed_origins)
        self._chars = len(options.signature_prefix) + _DIGEST_CHARS
        extra = () if options.version_attribute is None else (f"ce-{options.version_attribute}",)
        self._read = (*_HEADERS, *extra)
        self.kept_headers: Sequence[str] = (*self._read, "ce-dataschema")

    def load_key(self, secret: str) -> object:
        """A token, or the bytes of an HMAC's key."""
        if self._options.authentication == "bearer":
            return as_token(secret, "the bearer token")
        return as_bytes(secret, "the signing key")

    def handshake(
        self, request: Request, keys: Sequence[Key], now_s: float
    ) -> Reply | Refused | None:
        """Permission for an origin that is allowed; it authenticates nobody."""
        if request.headers.get(_ORIGIN) is None:
            return None
        origin = single(request.headers, _ORIGIN, HANDSHAKE_REFUSED, HANDSHAKE_REFUSED)
        if isinstance(origin, Refused):
            return origin
        name = origin.lower()
        # What goes back into a header is a host's name and nothing else.
        if not 0 < len(name) <= 253 or not _ORIGIN_CHARS.issuperset(name):
            return HANDSHAKE_REFUSED
        if self._origins and name not in self._origins:
            return HANDSHAKE_REFUSED
        rate = self._options.allowed_rate
        return Reply(
            "text/plain; charset=utf-8",
            headers=(
                ("allow", "POST"),
                ("webhook-allowed-origin", origin),
                ("webhook-allowed-rate", "*" if rate is None else str(rate)),
            ),
        )

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """The token or the signature of one of the keys."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        if any_repeated(headers, self._read):
            return SIGNATURE_MALFORMED
        if self._options.authentication == "hmac":
            return self._by_signature(request, keys)
        token = _bearer(request, self._options.query_token)
        if isinstance(token, Refused):
            return token
        verified_by = matching_key(token, keys)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def _by_signature(self, request: Request, keys: Sequence[Key]) -> Verified | Refused:
        options = self._options
        text = single(
            request.headers, options.signature_header, SIGNATURE_MISSING, SIGNATURE_MALFORMED
        )
        if isinstance(text, Refused):
            return text
        if len(text) != self._chars or not text.startswith(options.signature_prefix):
            return SIGNATURE_MALFORMED
        signature = from_hex(text[len(options.signature_prefix) :])
        if signature is None:
            return SIGNATURE_MALFORMED
        verified_by = signing_key(request.body, (signature,), keys)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Batch | Unreadable:
        """By the mode that the content type says."""
        kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        version = self._options.version_attribute
        if kind == BATCHED:
            if request.body.lstrip()[:1] != b"[":
                return unreadable(Reason.BODY_UNEXPECTED, "the batch is not a JSON array")
            return read_body(self.name, request.body, version)
        if kind == STRUCTURED:
            return read_one(self.name, request.body, version)
        if kind.startswith("application/cloudevents"):
            return unreadable(Reason.BODY_UNEXPECTED, "of the event formats only JSON is read")
        attributes: dict[str, Any] = {}
        for name in self._read:
            value = request.headers.get(name)
            if value is not None:
                # Percent-encoded, as section 3.1.3.2 of the binding says.
                attributes[name.removeprefix("ce-")] = unquote(value, errors="replace")
        return read_attributes(self.name, attributes, version)

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """A structured event if the body is one, a batch if it is an array, else a binary one."""
        first = body.lstrip()[:1]
        if first == b"[":
            said = {"content-type": BATCHED}
        elif first == b"{" and b'"specversion"' in body:
            said = {"content-type": STRUCTURED}
        else:
            said = {
                "content-type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": quote(event_id, safe=""),
                "ce-source": "/hookline/send",
                "ce-type": event_type.removeprefix("cloudevents."),
            }
        if isinstance(key, Token):
            return {**said, _AUTHORIZATION: f"Bearer {key.text}"}
        assert isinstance(key, bytes)
        signature = hmac.digest(key, body, "sha256").hex()
        return {
            **said,
            self._options.signature_header: self._options.signature_prefix + signature,
        }


def _bearer(request: Request, query_too: bool) -> str | Refused:
    """The token of RFC 6750 section 2.1, or with `query_too` of section 2.3; one of them."""
    in_query: list[str] = []
    if query_too and _QUERY_TOKEN in request.query:
        try:
            fields = parse_qs(request.query, max_num_fields=_MAX_QUERY_FIELDS)
        except ValueError:
            return SIGNATURE_MALFORMED
        in_query = fields.get(_QUERY_TOKEN, [])
    if in_query:
        if len(in_query) > 1 or request.headers.get(_AUTHORIZATION) is not None:
            return SIGNATURE_MALFORMED
        return in_query[0]
    text = single(request.headers, _AUTHORIZATION, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
    if isinstance(text, Refused):
        return text
    scheme, _, token = text.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else SIGNATURE_MALFORMED
