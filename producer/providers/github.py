"""GitHub's webhooks: `X-Hub-Signature-256` over the raw body, form-encoded ones included.

The scheme signs no timestamp, so there is no replay window, and it signs neither the delivery id
nor the event's name: TLS protects those, and a redelivery has the same id, so that it is
recognised. Source: GitHub's documentation, "Validating webhook deliveries".
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel

from credentials.key_ring import Key
from producer.providers import identifiers, json_body, timestamps
from producer.providers.github_payloads import DECODERS, OTHER, Moment
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated, single
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
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
)
from producer.providers.signature_text import from_hex
from producer.providers.unreadable import Reason, unreadable
from schemas.errors import SecretFormatError

_SIGNATURE: Final = "x-hub-signature-256"
_DELIVERY: Final = "x-github-delivery"
_EVENT: Final = "x-github-event"
_IDENTITY_HEADERS: Final = (_DELIVERY, _EVENT)
_SCHEME: Final = "sha256="
_SIGNATURE_CHARS: Final = len(_SCHEME) + 64
_FORM_FIELD: Final = b"payload="


class GitHubOptions(ProviderOptions):
    """GitHub needs none."""


class GitHub(Provider):
    """Verifies and identifies GitHub's webhooks of repositories, organizations and apps."""

    name: ClassVar[str] = "github"
    Options: ClassVar[type[BaseModel]] = GitHubOptions
    guide: ClassVar[Guide] = Guide(
        title="GitHub",
        pages=("Validating webhook deliveries", "Webhook events and payloads"),
        scheme="HMAC-SHA256 of the body in hex, `X-Hub-Signature-256: sha256=…`",
        secret="The repository, organization or app → Settings → Webhooks → the webhook → Secret. "
        "You choose it there; GitHub does not show it again.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        event_id="`X-GitHub-Delivery`, the same when a delivery is sent again by hand",
        event_type="`github.`, `X-GitHub-Event` and `action`: `github.issues.opened`",
        resource="By event, with numeric ids: `issue/51#7`, `pull_request/51#12`, "
        "`ref/51@refs/heads/main`, `workflow_run/314`; else the repository or organization",
        version="`updated_at` of the entity that the event carries, in whole seconds",
        occurred_at="The entity's or the comment's own time",
        notes=("JSON and form-encoded webhooks are both read.",),
    )

    def __init__(self, options: BaseModel) -> None:
        self.kept_headers: Sequence[str] = (
            _DELIVERY,
            _EVENT,
            "x-github-hook-id",
            "x-github-hook-installation-target-id",
            "x-github-hook-installation-target-type",
        )

    def load_key(self, secret: str) -> object:
        """The secret's UTF-8 bytes, exactly as they were typed at GitHub."""
        if not secret:
            raise SecretFormatError("GitHub's webhook secret is empty: set one at the webhook")
        try:
            return secret.encode()
        except UnicodeEncodeError:
            raise SecretFormatError("GitHub's webhook secret is not text in UTF-8") from None

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC-SHA256 of the raw body; `now_s` is not used, as nothing signed tells a time."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        text = single(headers, _SIGNATURE, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        if len(text) != _SIGNATURE_CHARS or not text.startswith(_SCHEME):
            return SIGNATURE_MALFORMED
        signature = from_hex(text[len(_SCHEME) :])
        if signature is None or any_repeated(headers, _IDENTITY_HEADERS):
            return SIGNATURE_MALFORMED
        verified_by = None
        for key in keys:
            expected = hmac.digest(key.material, request.body, "sha256")
            if hmac.compare_digest(expected, signature) and verified_by is None:
                verified_by = key.name
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The delivery is the event; versions are µs of a time in whole seconds.

        Two states within one second have the same version, so only a smaller one is stale.
        """
        event_id = identifiers.as_id(
            request.headers.get(_DELIVERY), "X-GitHub-Delivery header", Reason.EVENT_ID_MISSING
        )
        if isinstance(event_id, Unreadable):
            return event_id
        event = request.headers.get(_EVENT)
        checked_event = identifiers.as_event_type(event)
        if isinstance(checked_event, Unreadable):
            return checked_event
        body = request.body
        if body.startswith(_FORM_FIELD):
            # application/x-www-form-urlencoded, told by the body: no JSON begins with a p.
            if b"&" in body:
                return unreadable(
                    Reason.FORM_MALFORMED, "the form has more than the one field payload"
                )
            body = unquote_to_bytes(body[len(_FORM_FIELD) :].replace(b"+", b" "))
        payload = json_body.decode(DECODERS.get(checked_event, OTHER), body)
        if isinstance(payload, Unreadable):
            return payload
        event_type = f"github.{checked_event}"
        if payload.action is not None:
            action = identifiers.as_event_type(payload.action)
            # Of repository_dispatch, the action is free text of whoever called the API.
            if not isinstance(action, Unreadable):
                event_type = f"{event_type}.{action}"
        resource = payload.resource()
        if resource is None:
            return Identity(
                event_id=event_id,
                event_type=event_type,
                resource_type="delivery",
                resource_id=event_id,
            )
        resource_id = identifiers.as_id(resource.id, "resource id", Reason.RESOURCE_ID_MISSING)
        if isinstance(resource_id, Unreadable):
            return resource_id
        version = _to_us(resource.version)
        if version is None and resource.version is not None:
            return unreadable(Reason.RESOURCE_VERSION_MALFORMED, "updated_at is no time")
        occurred_at_us = (
            version if resource.occurred_at is resource.version else _to_us(resource.occurred_at)
        )
        return Identity(
            event_id=event_id,
            event_type=event_type,
            resource_type=resource.type,
            resource_id=resource_id,
            resource_version=version,
            occurred_at_us=occurred_at_us,
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """GitHub's headers; of `github.issues.opened` the header has only `issues`."""
        assert isinstance(key, bytes)
        form = body.startswith(_FORM_FIELD)
        return {
            "content-type": "application/x-www-form-urlencoded" if form else "application/json",
            _DELIVERY: event_id,
            _EVENT: event_type.removeprefix("github.").partition(".")[0],
            _SIGNATURE: _SCHEME + hmac.digest(key, body, "sha256").hex(),
        }


def _to_us(moment: Moment) -> int | None:
    return None if moment is None else timestamps.to_us(moment, "s")
