"""Jira Cloud's webhooks that an administrator made: `X-Hub-Signature: sha256=…` of the body.

Sources: Atlassian's documentation, "Webhooks" ("Secure admin webhooks", "Webhook request
headers"), "Manage webhooks".
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from pydantic import BaseModel

from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.hmac_options import HmacSignatureOptions
from producer.providers.hmac_signature import HmacSignature
from producer.providers.identities import Resource, digest, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import Identity, Request, Unreadable

_IDENTIFIER: Final = "x-atlassian-webhook-identifier"
_PREFIX: Final = "jira:"
_Id = str | int | None


class JiraOptions(ProviderOptions):
    """There is nothing to set."""


class _Fields(msgspec.Struct, frozen=True):
    updated: str | None = None


class _Issue(msgspec.Struct, frozen=True):
    id: _Id = None
    fields: _Fields | None = None


class _WithId(msgspec.Struct, frozen=True):
    id: _Id = None


class _Link(msgspec.Struct, frozen=True):
    id: _Id = None
    source_issue_id: _Id = msgspec.field(default=None, name="sourceIssueId")


class _Worklog(msgspec.Struct, frozen=True):
    id: _Id = None
    issue_id: _Id = msgspec.field(default=None, name="issueId")


class _User(msgspec.Struct, frozen=True):
    account_id: str | None = msgspec.field(default=None, name="accountId")


class _Event(msgspec.Struct, frozen=True):
    webhook_event: str | None = msgspec.field(default=None, name="webhookEvent")
    timestamp: int | None = None
    issue: _Issue | None = None
    worklog: _Worklog | None = None
    issue_link: _Link | None = msgspec.field(default=None, name="issueLink")
    sprint: _WithId | None = None
    version: _WithId | None = None
    project: _WithId | None = None
    board: _WithId | None = None
    user: _User | None = None


_DECODER: Final = msgspec.json.Decoder(_Event)


class Jira(HmacSignature):
    """Verifies and identifies Jira's events."""

    name: ClassVar[str] = "jira"
    Options: ClassVar[type[BaseModel]] = JiraOptions
    guide: ClassVar[Guide] = Guide(
        title="Jira",
        pages=("Webhooks", "Manage webhooks"),
        scheme="HMAC-SHA256 of the body in hex, `X-Hub-Signature: sha256=…`",
        secret="Settings → System → WebHooks → the webhook → Secret; you choose it, or Jira "
        "generates it and shows it once.",
        replay="None: no time is signed. A copy has the same event id and is recognised.",
        event_id="`X-Atlassian-Webhook-Identifier`, the same when Jira tries again; without it a "
        "digest of the body",
        event_type="`jira.` and `webhookEvent` without `jira:`: `jira.issue_updated`",
        resource="Of all that is about an issue, the issue by its number: `issue/10042`; else the "
        "sprint, version, project, board or user",
        version="Of an issue's own events `issue.fields.updated`",
        occurred_at="`timestamp`",
        notes=(
            "The identifier is a header that the signature does not cover: end TLS only where you "
            "trust what is behind.",
            "Webhooks that an app registers (Connect, OAuth 2.0) are proved by a JWT, not by this.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        super().__init__(
            HmacSignatureOptions(
                header="x-hub-signature",
                prefix="sha256=",
                event_id=f"header:{_IDENTIFIER}",
                event_type="body:/webhookEvent",
            )
        )
        self.kept_headers = (_IDENTIFIER, "x-atlassian-webhook-retry", "x-atlassian-webhook-flow")

    def identify(self, request: Request) -> Identity | Unreadable:
        """The id is in a header, all else in the signed body."""
        event = json_body.decode(_DECODER, request.body)
        if isinstance(event, Unreadable):
            return event
        event_type = event.webhook_event
        version = None
        if event_type is not None:
            # A comment's event has the issue as it was, and says nothing of its fields.
            if event_type.startswith(_PREFIX + "issue_") and event.issue is not None:
                version = _updated_us(event.issue)
            event_type = event_type.removeprefix(_PREFIX)
        return identity(
            self.name,
            request.headers.get(_IDENTIFIER) or digest(request.body),
            event_type,
            _resource(event),
            version=version,
            occurred_at_us=timestamps.to_us(event.timestamp, "ms"),
        )


def _updated_us(issue: _Issue) -> int | None:
    updated = issue.fields.updated if issue.fields is not None else None
    return None if updated is None else timestamps.iso_to_us(updated)


def _resource(event: _Event) -> Resource | None:
    issue = event.issue.id if event.issue is not None else None
    if issue is None and event.worklog is not None:
        issue = event.worklog.issue_id
    if issue is None and event.issue_link is not None:
        issue = event.issue_link.source_issue_id
    if issue is not None:
        return Resource("issue", issue)
    for kind in ("sprint", "version", "project", "board"):
        found = getattr(event, kind)
        if found is not None and found.id is not None:
            return Resource(kind, found.id)
    if event.user is not None and event.user.account_id:
        return Resource("user", event.user.account_id)
    return None
