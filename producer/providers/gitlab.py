"""GitLab's webhooks: a secret token that is sent, or the newer signing token.

The signing token follows the Standard Webhooks specification and signs id, time and body; the
secret token proves only that the sender knows it. Sources: GitLab's documentation, "Webhooks" and
"Webhook events", and its merge request "Expose token presence flags and signing token in Webhooks
API" for the signing token's form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import json_body, timestamps
from producer.providers.gitlab_payloads import DECODER
from producer.providers.guide import Guide
from producer.providers.header_values import any_repeated
from producer.providers.identities import digest, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Provider, Refused, Request, Unreadable, Verified
from producer.providers.refusals import (
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
)
from producer.providers.secret_text import Token, as_token, matching_key
from producer.providers.standard_webhooks import StandardWebhooks, StandardWebhooksOptions

_TOKEN: Final = "x-gitlab-token"
_ID: Final = "webhook-id"
_TIMESTAMP: Final = "webhook-timestamp"
_SIGNATURE: Final = "webhook-signature"
_IDEMPOTENCY: Final = "idempotency-key"
_EVENT: Final = "x-gitlab-event"
_SINGLE: Final = (_TOKEN, _SIGNATURE, _ID, _TIMESTAMP, _IDEMPOTENCY, _EVENT)


class GitLabOptions(ProviderOptions):
    """What a connection may set."""

    tolerance_s: Annotated[
        int,
        Field(
            ge=1,
            le=86_400,
            description="how old or how early a signed webhook may be, in seconds",
        ),
    ] = 300


class GitLab(Provider):
    """Verifies and identifies webhooks of GitLab's projects and groups, and its system hooks."""

    name: ClassVar[str] = "gitlab"
    Options: ClassVar[type[BaseModel]] = GitLabOptions
    guide: ClassVar[Guide] = Guide(
        title="GitLab",
        pages=("Webhooks", "Webhook events"),
        scheme="The secret token itself in `X-Gitlab-Token`; or, with a signing token, Standard "
        "Webhooks: HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`",
        secret="The project or group → Settings → Webhooks → the webhook. A secret that begins "
        "with `whsec_` is taken as the signing token, any other as the secret token. GitLab shows "
        "neither again. To move from one to the other, give both.",
        replay="Signing token: the signed time, at most `tolerance_s` (300 s) from now. Secret "
        "token: none; a copy has the same event id and is recognised.",
        event_id="`webhook-id`, else `Idempotency-Key`, the same when GitLab tries again; before "
        "GitLab 17.4 a digest of the body. (`X-Gitlab-Event-UUID` is shared by all webhooks that "
        "one webhook causes.)",
        event_type="`gitlab.`, `object_kind` and `object_attributes.action`: "
        "`gitlab.merge_request.open`; of system hooks `event_name`",
        resource="By kind, with numeric ids: `issue/51#7`, `merge_request/51!12`, "
        "`ref/51@refs/heads/main`, `pipeline/314`, `job/2718`; comments belong to what they are on",
        version="`object_attributes.updated_at` of issues, merge requests and milestones, in whole "
        "seconds",
        occurred_at="`updated_at`, `finished_at` or `created_at` of the entity",
        options="tolerance_s: 300",
        notes=("Prefer the signing token: a secret token is in every request in plain text.",),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, GitLabOptions)
        self._signed = StandardWebhooks(StandardWebhooksOptions(tolerance_s=options.tolerance_s))
        self.kept_headers: Sequence[str] = (
            _EVENT,
            _ID,
            _TIMESTAMP,
            _IDEMPOTENCY,
            "x-gitlab-event-uuid",
            "x-gitlab-webhook-uuid",
            "x-gitlab-instance",
        )

    def load_key(self, secret: str) -> object:
        """A signing key of `whsec_…`, else a token."""
        if secret.startswith("whsec_"):
            return self._signed.load_key(secret)
        return as_token(secret, "GitLab's secret token")

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """By whichever of the two a key is there for."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        if any_repeated(headers, _SINGLE):
            return SIGNATURE_MALFORMED
        refused: Refused | None = None
        signing = any(not isinstance(key.material, Token) for key in keys)
        if signing and headers.get(_SIGNATURE) is not None:
            verdict = self._signed.verify(request, keys, now_s)
            if isinstance(verdict, Verified):
                return verdict
            refused = verdict
        token = headers.get(_TOKEN)
        if token is not None:
            verified_by = matching_key(token, keys)
            if verified_by is not None:
                return Verified(verified_by)
            refused = refused or SIGNATURE_WRONG
        return refused or SIGNATURE_MISSING

    def identify(self, request: Request) -> Identity | Unreadable:
        """The kind and the entity are in the body, the id of the event in a header."""
        payload = json_body.decode(DECODER, request.body)
        if isinstance(payload, Unreadable):
            return payload
        headers = request.headers
        event_id = headers.get(_ID) or headers.get(_IDEMPOTENCY) or digest(request.body)
        version = payload.version()
        occurred_at = payload.occurred_at()
        return identity(
            self.name,
            event_id,
            payload.event_type(),
            payload.resource(),
            version=_to_us(version),
            occurred_at_us=_to_us(occurred_at),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """GitLab's headers with the secret token or the signature."""
        kind = event_type.removeprefix("gitlab.").partition(".")[0]
        said = {
            "content-type": "application/json",
            _EVENT: f"{kind.replace('_', ' ').title()} Hook",
            _IDEMPOTENCY: event_id,
        }
        if isinstance(key, Token):
            return {**said, _TOKEN: key.text}
        signed = self._signed.sign(body, key, event_id=event_id, event_type=event_type, now_s=now_s)
        return {**said, **signed}


def _to_us(moment: str | int | None) -> int | None:
    # Some payloads say "2026-11-23 10:00:00 UTC", the others ISO 8601.
    if isinstance(moment, str):
        moment = moment.removesuffix(" UTC")
    return None if moment is None else timestamps.to_us(moment, "s")
