"""Twilio's webhooks: HMAC of the public URL with the sorted form fields, or with the body's hash.

Twilio signs the URL that it was given, which a proxy may change on the way: the public one is
configured. No time is signed. Sources: Twilio's documentation, "Security" ("Validating Signatures
from Twilio"), "Outbound Message Status in Status Callbacks", "TwiML for Programmable Voice".
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, ClassVar, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers.cloudevents_json import read_body
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated, single
from producer.providers.identities import Resource, fitting, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Batch,
    Identity,
    Outgoing,
    Provider,
    Refused,
    Reply,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.public_url import DEFAULT_PORTS, PublicUrl
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
)
from producer.providers.secret_text import as_bytes
from producer.providers.signature_text import from_base64
from producer.providers.unreadable import Reason, unreadable

_SIGNATURE: Final = "x-twilio-signature"
_SETTINGS: Final = "x-twilio-webhooks-signature-settings"
_IDEMPOTENCY: Final = "i-twilio-idempotency-token"
_BODY_HASH: Final = "bodySHA256"
_DIGEST_BYTES: Final = {"sha1": 20, "sha256": 32}
_ALGORITHMS: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_MAX_FIELDS: Final = 1000
_MAX_CHARS: Final = 44


class TwilioOptions(ProviderOptions):
    """What a connection must set."""

    url: Annotated[
        PublicUrl,
        Field(
            max_length=2000,
            description="the public URL that Twilio was given, such as "
            "https://hooks.example.com/webhooks/acme-twilio",
        ),
    ]


class Twilio(Provider):
    """Verifies and identifies Twilio's callbacks and the events of its Event Streams."""

    name: ClassVar[str] = "twilio"
    Options: ClassVar[type[BaseModel]] = TwilioOptions
    # An empty TwiML document: of any other, the Console reports "invalid content type".
    accepted: ClassVar[Reply | None] = Reply(
        "text/xml; charset=utf-8", b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
    )
    guide: ClassVar[Guide] = Guide(
        title="Twilio",
        pages=(
            "Security",
            "Outbound Message Status in Status Callbacks",
            "TwiML for Programmable Voice",
        ),
        scheme="HMAC-SHA1 in base64 of the public URL and the form's fields in order of their "
        "names; of JSON, of the URL with `bodySHA256`. `X-Twilio-Signature`; HMAC-SHA256 where "
        "`X-Twilio-Webhooks-Signature-Settings` says so",
        secret="Console → Account → API keys & tokens → Auth Token, primary or secondary, of the "
        "account (or subaccount) that sends.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        batches=True,
        event_id="Of messages `MessageSid` and the status, the same at "
        "`GET …/Messages/{sid}.json`; of others `I-Twilio-Idempotency-Token`, else the Sid, the "
        "status and the sequence number; of Event Streams the event's `source` and `id`",
        event_type="`twilio.`, the kind and the status: `twilio.message.delivered`, "
        "`twilio.call.completed`; of Event Streams their `type`",
        resource="The kind and its Sid: `message/SM…`, `call/CA…`",
        version="None",
        occurred_at="None; of Event Streams `time`",
        options="url: https://hooks.example.com/webhooks/acme-twilio",
        notes=(
            "`url` is what Twilio was given, scheme and host as the outside sees them, up to the "
            "path. With and without the port are both tried, as Twilio's own libraries do.",
            "The answer is an empty TwiML document: Hookline takes what happened. A number whose "
            "calls need instructions keeps its own URL and gives Hookline the status callback.",
            "Callbacks must be POST; Twilio can be told so at each URL.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, TwilioOptions)
        self._urls = _with_and_without_port(options.url)
        self.kept_headers: Sequence[str] = (_IDEMPOTENCY,)

    def load_key(self, secret: str) -> object:
        """The auth token's text."""
        return as_bytes(secret.strip(), "Twilio's auth token")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC over URL and fields, or over the URL that has the body's hash."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        text = single(headers, _SIGNATURE, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        algorithm = _algorithm(headers.get(_SETTINGS))
        signature = from_base64(text) if len(text) <= _MAX_CHARS else None
        if (
            signature is None
            or algorithm is None
            or len(signature) != _DIGEST_BYTES[algorithm]
            or any_repeated(headers, (_SETTINGS, _IDEMPOTENCY))
        ):
            return SIGNATURE_MALFORMED
        rest = _signed_rest(request.query, request.body)
        if isinstance(rest, Refused):
            return rest
        contents = [(url + rest).encode() for url in self._urls]
        verified_by = None
        for key in keys:
            made = False
            for content in contents:
                expected = hmac.digest(key.material, content, algorithm)
                made |= hmac.compare_digest(expected, signature)
            if made and verified_by is None:
                verified_by = key.name
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Batch | Unreadable:
        """A callback's form, or the CloudEvents of Event Streams."""
        body = request.body
        if body.lstrip()[:1] in (b"{", b"["):
            return read_body(self.name, body, None)
        fields = _fields(body)
        if fields is None:
            return unreadable(Reason.FORM_MALFORMED, "the body is neither a form nor JSON")
        form = dict(reversed(fields))
        found = next((entry for entry in _KINDS if form.get(entry[1])), None)
        if found is None:
            return unreadable(Reason.RESOURCE_ID_MISSING, "the form has none of Twilio's Sids")
        kind, sid_field, status_fields = found
        sid = form[sid_field]
        status = next((form[name] for name in status_fields if form.get(name)), "received")
        event_id = f"{sid}:{status}"
        if kind != "message":
            token = request.headers.get(_IDEMPOTENCY)
            sequence = form.get("SequenceNumber") or form.get("SequenceId")
            event_id = token or (f"{event_id}:{sequence}" if sequence else event_id)
        return identity(self.name, fitting(event_id), f"{kind}.{status}", Resource(kind, sid))

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """`X-Twilio-Signature`, for the query that `outgoing` has."""
        assert isinstance(key, bytes)
        query = _own_query(body)
        rest = _signed_rest(query, body)
        assert isinstance(rest, str)
        digest = hmac.digest(key, (self._urls[0] + rest).encode(), "sha1")
        return {
            "content-type": "application/json" if query else "application/x-www-form-urlencoded",
            _SIGNATURE: b2a_base64(digest, newline=False).decode(),
            _IDEMPOTENCY: event_id,
        }

    def outgoing(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Outgoing:
        """JSON has its hash in the query."""
        signed = self.sign(body, key, event_id=event_id, event_type=event_type, now_s=now_s)
        return Outgoing(signed, body, _own_query(body))


#: Kind, the field of its Sid, the fields of its status; the more special Sids come first.
_KINDS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("transcription", "TranscriptionSid", ("TranscriptionStatus", "TranscriptionEvent")),
    ("recording", "RecordingSid", ("RecordingStatus",)),
    ("conference", "ConferenceSid", ("StatusCallbackEvent",)),
    ("conversation", "ConversationSid", ("EventType",)),
    ("message", "MessageSid", ("MessageStatus", "SmsStatus")),
    ("message", "SmsSid", ("SmsStatus",)),
    ("call", "CallSid", ("CallStatus",)),
    ("verification", "VerificationSid", ("VerificationStatus",)),
    ("task", "TaskSid", ("EventType",)),
)


def _with_and_without_port(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.port is None:
        other = f"{host.removesuffix(':')}:{DEFAULT_PORTS[parts.scheme]}"
    else:
        other = host.rpartition(":")[0]
    return url, parts._replace(netloc=other).geturl()


def _algorithm(settings: str | None) -> str | None:
    """The hash that the header names, SHA-1 without one; None if it is not known."""
    for part in (settings or "").split(",", 8):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return _ALGORITHMS.get(value.strip().upper())
    return "sha1"


def _signed_rest(query: str, body: bytes) -> str | Refused:
    """What is signed behind the URL's path."""
    if not query.isascii():
        return SIGNATURE_MALFORMED
    rest = f"?{query}" if query else ""
    if _BODY_HASH in query:
        try:
            hashes = parse_qs(query, max_num_fields=_MAX_FIELDS).get(_BODY_HASH, [])
        except ValueError:
            return SIGNATURE_MALFORMED
        if len(hashes) != 1:
            return SIGNATURE_MALFORMED
        given = hashes[0].lower().encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(sha256(body).hexdigest().encode(), given):
            return SIGNATURE_WRONG
        return rest
    fields = _fields(body)
    if fields is None:
        return SIGNATURE_MALFORMED
    # Each value of a name once, as Twilio's own libraries do.
    return rest + "".join(name + value for name, value in sorted(set(fields)))


def _fields(body: bytes) -> list[tuple[str, str]] | None:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None


def _own_query(body: bytes) -> str:
    form = body.lstrip()[:1] not in (b"{", b"[") and _fields(body) is not None
    return "" if form else f"{_BODY_HASH}={sha256(body).hexdigest()}"
