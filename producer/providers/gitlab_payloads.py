"""What of GitLab's payloads identity needs, and which entity each kind of event is about.

Entities are named by numeric ids: a project keeps its id when it is renamed or moved. Source:
GitLab's documentation, "Webhook events".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from producer.providers.identities import Resource

Moment = str | int | None
_Id = str | int | None


class _WithId(msgspec.Struct, frozen=True):
    id: _Id = None


class _Numbered(msgspec.Struct, frozen=True):
    iid: _Id = None


class _Attributes(msgspec.Struct, frozen=True):
    id: _Id = None
    iid: _Id = None
    action: str | None = None
    slug: str | None = None
    created_at: Moment = None
    updated_at: Moment = None
    finished_at: Moment = None


class Payload(msgspec.Struct, frozen=True):
    """Any of GitLab's payloads."""

    object_kind: str | None = None
    event_name: str | None = None
    action: str | None = None
    ref: str | None = None
    id: _Id = None
    build_id: _Id = None
    deployment_id: _Id = None
    project_id: _Id = None
    group_id: _Id = None
    project: _WithId | None = None
    object_attributes: _Attributes | None = None
    issue: _Numbered | None = None
    merge_request: _Numbered | None = None
    created_at: Moment = None
    build_finished_at: Moment = None

    def event_type(self) -> str | None:
        """`object_kind.action`; system hooks have `event_name` instead."""
        kind = self.object_kind or self.event_name
        attributes = self.object_attributes
        action = self.action if attributes is None else attributes.action
        return kind if kind is None or not action else f"{kind}.{action}"

    def resource(self) -> Resource | None:
        """What it is about: by the table, else the project or the group; None if neither."""
        make = _RESOURCES.get(self.object_kind or "")
        found = None if make is None else make(self)
        if found is not None:
            return found
        project = self.of_project()
        if project is not None:
            return Resource("project", project)
        return None if self.group_id is None else Resource("group", self.group_id)

    def version(self) -> Moment:
        """The time of the entity's state, where the event carries that state."""
        if self.object_attributes is None or self.object_kind not in _STATES:
            return None
        return self.object_attributes.updated_at

    def occurred_at(self) -> Moment:
        """When what the event tells of happened, as near as the payload says."""
        attributes = self.object_attributes
        if attributes is None:
            return self.build_finished_at or self.created_at
        return attributes.updated_at or attributes.finished_at or attributes.created_at

    def of_project(self) -> _Id:
        """The project's id."""
        if self.project is not None and self.project.id is not None:
            return self.project.id
        return self.project_id


def _ref(payload: Payload) -> Resource | None:
    return Resource("ref", f"{payload.of_project()}@{payload.ref}") if payload.ref else None


def _issue(payload: Payload) -> Resource | None:
    return _numbered(payload, "issue", "#", payload.object_attributes)


def _merge_request(payload: Payload) -> Resource | None:
    return _numbered(payload, "merge_request", "!", payload.object_attributes)


def _commented(payload: Payload) -> Resource | None:
    if payload.merge_request is not None:
        return _numbered(payload, "merge_request", "!", payload.merge_request)
    return _numbered(payload, "issue", "#", payload.issue)


def _numbered(
    payload: Payload, kind: str, mark: str, entity: _Attributes | _Numbered | None
) -> Resource | None:
    if entity is None or entity.iid is None:
        return None
    return Resource(kind, f"{payload.of_project()}{mark}{entity.iid}")


def _by_id(kind: str) -> Callable[[Payload], Resource | None]:
    def make(payload: Payload) -> Resource | None:
        attributes = payload.object_attributes
        if attributes is None or attributes.id is None:
            return None
        return Resource(kind, attributes.id)

    return make


def _job(payload: Payload) -> Resource | None:
    return None if payload.build_id is None else Resource("job", payload.build_id)


def _deployment(payload: Payload) -> Resource | None:
    if payload.deployment_id is None:
        return None
    return Resource("deployment", payload.deployment_id)


def _release(payload: Payload) -> Resource | None:
    return None if payload.id is None else Resource("release", payload.id)


def _wiki_page(payload: Payload) -> Resource | None:
    attributes = payload.object_attributes
    if attributes is None or attributes.slug is None:
        return None
    return Resource("wiki_page", f"{payload.of_project()}/{attributes.slug}")


#: Kinds whose payload carries the entity's whole state.
_STATES: Final = frozenset({"issue", "work_item", "merge_request", "milestone"})
_RESOURCES: Final[Mapping[str, Callable[[Payload], Resource | None]]] = MappingProxyType(
    {
        "build": _job,
        "deployment": _deployment,
        "emoji": _commented,
        "feature_flag": _by_id("feature_flag"),
        "issue": _issue,
        "merge_request": _merge_request,
        "milestone": _by_id("milestone"),
        "note": _commented,
        "pipeline": _by_id("pipeline"),
        "push": _ref,
        "release": _release,
        "tag_push": _ref,
        "wiki_page": _wiki_page,
        "work_item": _issue,
    }
)

DECODER: Final = msgspec.json.Decoder(Payload)
