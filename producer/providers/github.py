"""GitHub repository, organisation and app webhooks.

Rules: GitHub documentation, "Validating webhook deliveries" (X-Hub-Signature-256, HMAC-SHA256 of
the raw body) and "Webhook events and payloads". The scheme signs no time, so there is no replay
window: a replayed delivery keeps its X-GitHub-Delivery and is known by it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from urllib.parse import parse_qs, quote_plus

import msgspec
from pydantic import BaseModel, ConfigDict

from credentials.key_ring import Key
from producer.providers import json_body
from producer.providers.provider import Identity, Refusal, Refused, Request, Unreadable, Verified
from producer.providers.resource import event_type_of
from producer.providers.signature_text import from_hex, single, usable_id
from producer.providers.timestamps import from_iso8601
from schemas.errors import SecretFormatError

_PREFIX: Final = "sha256="


class GitHubOptions(BaseModel):
    """GitHub needs no options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Thing(msgspec.Struct, gc=False):
    """Whatever has an id: a repository, an issue, a run."""

    id: int = 0
    number: int = 0
    updated_at: str | None = None
    pull_request: msgspec.Raw = msgspec.Raw()


class _Payload(msgspec.Struct, gc=False):
    action: str | None = None
    ref: str | None = None
    hook_id: int | None = None
    repository: _Thing | None = None
    organization: _Thing | None = None
    installation: _Thing | None = None
    issue: _Thing | None = None
    pull_request: _Thing | None = None
    release: _Thing | None = None
    deployment: _Thing | None = None
    check_run: _Thing | None = None
    check_suite: _Thing | None = None
    workflow_run: _Thing | None = None
    workflow_job: _Thing | None = None


_DECODER: Final = msgspec.json.Decoder(_Payload)

# Which entity an event is about, by its name in X-GitHub-Event. Those left out are about their
# repository, organisation or installation.
_ENTITY: Final[Mapping[str, str]] = {
    "issues": "issue",
    "issue_comment": "issue",
    "pull_request": "pull_request",
    "pull_request_review": "pull_request",
    "pull_request_review_comment": "pull_request",
    "pull_request_review_thread": "pull_request",
    "release": "release",
    "deployment": "deployment",
    "deployment_status": "deployment",
    "check_run": "check_run",
    "check_suite": "check_suite",
    "workflow_run": "workflow_run",
    "workflow_job": "workflow_job",
}
_BY_REF: Final = frozenset({"push", "create", "delete"})
_BY_NUMBER: Final = frozenset({"issue", "pull_request"})


class GitHub:
    """GitHub's scheme and its identity rules."""

    name: ClassVar[str] = "github"
    Options: ClassVar[type[BaseModel]] = GitHubOptions
    kept_headers: Sequence[str] = (
        "x-github-event",
        "x-github-delivery",
        "x-github-hook-id",
        "x-github-hook-installation-target-type",
    )

    def __init__(self, options: BaseModel) -> None:
        del options

    def load_key(self, secret: str) -> object:
        """The secret as it was typed into GitHub, in UTF-8."""
        if not secret:
            raise SecretFormatError("a GitHub webhook secret must not be empty")
        return secret.encode()

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC-SHA256 of the body by any active key."""
        if request.headers.get("x-hub-signature-256") is None:
            return Refused(Refusal.SIGNATURE_MISSING)
        offered = single(request.headers, "x-hub-signature-256")
        if offered is None or not offered.startswith(_PREFIX):
            return Refused(Refusal.SIGNATURE_MALFORMED)
        signature = from_hex(offered[len(_PREFIX) :])
        if signature is None or len(signature) != 32:
            return Refused(Refusal.SIGNATURE_MALFORMED)
        if not keys:
            return Refused(Refusal.NO_ACTIVE_SECRET)
        verified: str | None = None
        for key in keys:
            expected = hmac.digest(key.material, request.body, "sha256")
            if hmac.compare_digest(expected, signature) and verified is None:
                verified = key.name
        return Refused(Refusal.SIGNATURE_WRONG) if verified is None else Verified(verified)

    def identify(self, request: Request) -> Identity | Unreadable:
        """The delivery id; the entity by its numeric id.

        Numeric ids, not names: a renamed or transferred repository keeps its id, and with it
        the order of its events. `updated_at` has a granularity of a second, so equal versions
        say nothing about order.
        """
        event_id = single(request.headers, "x-github-delivery")
        if event_id is None or not usable_id(event_id):
            return Unreadable("id_missing", "there is no usable X-GitHub-Delivery header")
        kind = single(request.headers, "x-github-event")
        if kind is None:
            return Unreadable("type_missing", "there is no usable X-GitHub-Event header")
        body = request.body
        if (request.headers.get("content-type") or "").startswith(
            "application/x-www-form-urlencoded"
        ):
            form = _form_payload(body)
            if form is None:
                return Unreadable("not_form", "the form body has no single payload field")
            body = form
        payload = json_body.decode(body, _DECODER)
        if isinstance(payload, Unreadable):
            return payload
        event_type = event_type_of(
            self.name, kind if payload.action is None else f"{kind}.{payload.action}"
        )
        if event_type is None:
            return Unreadable("type_missing", "the event's name or action is not a plain word")
        resource_type, resource_id, entity = _resource(kind, payload, event_id)
        if not usable_id(resource_id):
            return Unreadable("id_unusable", "the resource id is too long or not printable")
        version = None
        if entity is not None and entity.updated_at is not None:
            version = from_iso8601(entity.updated_at)
        return Identity(
            event_id=event_id,
            event_type=event_type,
            resource_type=resource_type,
            resource_id=resource_id,
            resource_version=version,
            occurred_at_us=version,
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """What GitHub sends; `event_type` as `github.issues.opened` or `issues`."""
        assert isinstance(key, bytes)
        return {
            "content-type": "application/json",
            "x-github-event": event_type.removeprefix("github.").split(".")[0],
            "x-github-delivery": event_id,
            "x-hub-signature-256": _PREFIX + hmac.digest(key, body, "sha256").hex(),
        }


def _resource(kind: str, payload: _Payload, event_id: str) -> tuple[str, str, _Thing | None]:
    repository = payload.repository
    name = _ENTITY.get(kind)
    entity: _Thing | None = getattr(payload, name) if name is not None else None
    if entity is not None and name is not None:
        if name not in _BY_NUMBER:
            return name, str(entity.id), entity
        if repository is not None:
            if name == "issue" and bytes(entity.pull_request) not in (b"", b"null"):
                # A comment on a pull request comes as an issue's, with the same number.
                name = "pull_request"
            return name, f"{repository.id}#{entity.number}", entity
    if kind in _BY_REF and repository is not None and payload.ref:
        # push has refs/heads/main where create and delete have main.
        ref = payload.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return "ref", f"{repository.id}@{ref}", None
    if kind == "ping" and payload.hook_id is not None:
        return "hook", str(payload.hook_id), None
    for name in ("repository", "organization", "installation"):
        thing: _Thing | None = getattr(payload, name)
        if thing is not None:
            # No version: a repository's updated_at is not changed by all that happens in it.
            return name, str(thing.id), None
    return "delivery", event_id, None


def _form_payload(body: bytes) -> bytes | None:
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=8, strict_parsing=True)
    except ValueError:
        return None
    values = fields.get("payload", [])
    return values[0].encode("utf-8", "replace") if len(values) == 1 else None


def form_body(body: bytes) -> bytes:
    """A JSON body as GitHub sends it with the content type `application/x-www-form-urlencoded`."""
    return f"payload={quote_plus(body)}".encode()
