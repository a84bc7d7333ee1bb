"""What of GitHub's payloads identity needs: one small type per family, and the table of events.

Resources are named by numeric ids, `1296269#42` and not `acme/shop#42`: a repository keeps its id
when it is renamed or transferred, and under a new name its events would be keyed, and so ordered,
apart from those before. A version is given only where the event carries the state of the resource
itself: a comment that comes late is not made needless by a newer state of its issue.
Source: GitHub's documentation, "Webhook events and payloads".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

# ISO 8601; the push event and some of an installation's have Unix seconds instead.
Moment = str | int | None


class Resource(msgspec.Struct, frozen=True):
    """The resource an event is about; `version` is a time with the granularity of a second."""

    type: str
    id: str | int
    version: Moment = None
    occurred_at: Moment = None


class Payload(msgspec.Struct, frozen=True):
    """Any payload. `resource` is None where only the delivery itself is left as one."""

    action: str | None = None

    def resource(self) -> Resource | None:
        """What it is about."""
        return None


class _Repository(msgspec.Struct, frozen=True):
    id: int
    updated_at: Moment = None
    pushed_at: Moment = None


class _WithId(msgspec.Struct, frozen=True):
    id: int


class _Dated(msgspec.Struct, frozen=True):
    id: int
    updated_at: Moment = None
    submitted_at: Moment = None
    created_at: Moment = None
    published_at: Moment = None
    started_at: Moment = None
    completed_at: Moment = None

    def last_moment(self) -> Moment:
        """When what the event tells of happened, as near as the payload says."""
        return (
            self.updated_at
            or self.submitted_at
            or self.completed_at
            or self.started_at
            or self.published_at
            or self.created_at
        )


class _Links(msgspec.Struct, frozen=True):
    pass


class _Numbered(msgspec.Struct, frozen=True):
    number: int
    updated_at: Moment = None
    # On an issue that is a pull request, links to it; we only ask whether they are there.
    pull_request: _Links | None = None


class Issues(Payload, frozen=True, kw_only=True):
    """`issues`"""

    repository: _Repository
    issue: _Numbered

    def resource(self) -> Resource:
        at = self.issue.updated_at
        return Resource("issue", f"{self.repository.id}#{self.issue.number}", at, at)


class IssueComment(Payload, frozen=True, kw_only=True):
    """`issue_comment`, which GitHub sends for comments on pull requests too."""

    repository: _Repository
    issue: _Numbered
    comment: _Dated

    def resource(self) -> Resource:
        kind = "issue" if self.issue.pull_request is None else "pull_request"
        return Resource(
            kind,
            f"{self.repository.id}#{self.issue.number}",
            occurred_at=self.comment.last_moment(),
        )


class PullRequest(Payload, frozen=True, kw_only=True):
    """`pull_request`"""

    repository: _Repository
    pull_request: _Numbered

    def resource(self) -> Resource:
        at = self.pull_request.updated_at
        return Resource("pull_request", f"{self.repository.id}#{self.pull_request.number}", at, at)


class PullRequestReview(Payload, frozen=True, kw_only=True):
    """`pull_request_review`, `pull_request_review_comment`, `pull_request_review_thread`"""

    repository: _Repository
    pull_request: _Numbered
    review: _Dated | None = None
    comment: _Dated | None = None

    def resource(self) -> Resource:
        told = self.review or self.comment
        return Resource(
            "pull_request",
            f"{self.repository.id}#{self.pull_request.number}",
            occurred_at=self.pull_request.updated_at if told is None else told.last_moment(),
        )


class Push(Payload, frozen=True, kw_only=True):
    """`push`. No version: a ref has none, and its commits' times are their authors' clocks."""

    repository: _Repository
    ref: str

    def resource(self) -> Resource:
        return Resource(
            "ref", f"{self.repository.id}@{self.ref}", occurred_at=self.repository.pushed_at
        )


class CreateOrDelete(Payload, frozen=True, kw_only=True):
    """`create`, `delete`: the ref is without `refs/heads/` or `refs/tags/` here."""

    repository: _Repository
    ref: str
    ref_type: str

    def resource(self) -> Resource:
        kind = "tags" if self.ref_type == "tag" else "heads"
        return Resource("ref", f"{self.repository.id}@refs/{kind}/{self.ref}")


class Release(Payload, frozen=True, kw_only=True):
    """`release`"""

    release: _Dated

    def resource(self) -> Resource:
        return _entity("release", self.release)


class CheckRun(Payload, frozen=True, kw_only=True):
    """`check_run`"""

    check_run: _Dated

    def resource(self) -> Resource:
        return _entity("check_run", self.check_run)


class CheckSuite(Payload, frozen=True, kw_only=True):
    """`check_suite`"""

    check_suite: _Dated

    def resource(self) -> Resource:
        return _entity("check_suite", self.check_suite)


class WorkflowRun(Payload, frozen=True, kw_only=True):
    """`workflow_run`"""

    workflow_run: _Dated

    def resource(self) -> Resource:
        return _entity("workflow_run", self.workflow_run)


class WorkflowJob(Payload, frozen=True, kw_only=True):
    """`workflow_job`"""

    workflow_job: _Dated

    def resource(self) -> Resource:
        return _entity("workflow_job", self.workflow_job)


class Deployment(Payload, frozen=True, kw_only=True):
    """`deployment`, `deployment_status`: a new status also touches the deployment's time."""

    deployment: _Dated

    def resource(self) -> Resource:
        return _entity("deployment", self.deployment)


class OfRepository(Payload, frozen=True, kw_only=True):
    """Events of a repository that are not a state of it: stars, forks, members, labels."""

    repository: _Repository

    def resource(self) -> Resource:
        return Resource("repository", self.repository.id)


class RepositoryState(Payload, frozen=True, kw_only=True):
    """`repository`, `public`"""

    repository: _Repository

    def resource(self) -> Resource:
        at = self.repository.updated_at
        return Resource("repository", self.repository.id, at, at)


class OfOrganization(Payload, frozen=True, kw_only=True):
    """Events of an organization: its members, teams and blocked users."""

    organization: _WithId

    def resource(self) -> Resource:
        return Resource("organization", self.organization.id)


class Installation(Payload, frozen=True, kw_only=True):
    """`installation`"""

    installation: _Dated

    def resource(self) -> Resource:
        return _entity("installation", self.installation)


class OfInstallation(Payload, frozen=True, kw_only=True):
    """`installation_repositories`, `installation_target`: what changed, not the whole state."""

    installation: _Dated

    def resource(self) -> Resource:
        return Resource("installation", self.installation.id)


class Hook(Payload, frozen=True, kw_only=True):
    """`ping`, `meta`"""

    hook_id: int

    def resource(self) -> Resource:
        return Resource("hook", self.hook_id)


class Other(Payload, frozen=True, kw_only=True):
    """An event that is not in the table, today's or one that GitHub adds."""

    repository: _Repository | None = None
    organization: _WithId | None = None

    def resource(self) -> Resource | None:
        if self.repository is not None:
            return Resource("repository", self.repository.id)
        if self.organization is not None:
            return Resource("organization", self.organization.id)
        return None


def _entity(kind: str, entity: _Dated) -> Resource:
    # Where an entity has no updated_at, no other of its times grows with every state.
    return Resource(kind, entity.id, entity.updated_at, entity.last_moment())


_PAYLOADS: Final[Mapping[str, type[Payload]]] = {
    "check_run": CheckRun,
    "check_suite": CheckSuite,
    "create": CreateOrDelete,
    "delete": CreateOrDelete,
    "deployment": Deployment,
    "deployment_status": Deployment,
    "fork": OfRepository,
    "installation": Installation,
    "installation_repositories": OfInstallation,
    "installation_target": OfInstallation,
    "issue_comment": IssueComment,
    "issues": Issues,
    "member": OfRepository,
    "membership": OfOrganization,
    "meta": Hook,
    "org_block": OfOrganization,
    "organization": OfOrganization,
    "ping": Hook,
    "public": RepositoryState,
    "pull_request": PullRequest,
    "pull_request_review": PullRequestReview,
    "pull_request_review_comment": PullRequestReview,
    "pull_request_review_thread": PullRequestReview,
    "push": Push,
    "release": Release,
    "repository": RepositoryState,
    "star": OfRepository,
    "team": OfOrganization,
    "team_add": OfOrganization,
    "watch": OfRepository,
    "workflow_job": WorkflowJob,
    "workflow_run": WorkflowRun,
}

#: A decoder for each event of `X-GitHub-Event`, and the one for all others.
DECODERS: Final[Mapping[str, msgspec.json.Decoder[Payload]]] = MappingProxyType(
    {event: msgspec.json.Decoder(payload) for event, payload in _PAYLOADS.items()}
)
OTHER: Final[msgspec.json.Decoder[Payload]] = msgspec.json.Decoder(Other)
