"""Where an event's identity is, as options of a scheme that does not say it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from producer.providers.identity_sources import (
    IdentitySources,
    SourceText,
    WhenNoResource,
    optional_source,
    parse_header_name,
    parse_source,
)
from producer.providers.options import ProviderOptions


def _checked_header(text: str) -> str:
    return parse_header_name(text)


HeaderName = Annotated[str, AfterValidator(_checked_header)]


class IdentityOptions(ProviderOptions):
    """A source is "body:/pointer", "header:Name" or "literal:text"."""

    event_id: Annotated[
        SourceText,
        Field(description="where the event's own id is, such as header:X-Event-Id or body:/id"),
    ]
    event_type: Annotated[
        SourceText, Field(description="where the event's type is, such as body:/type")
    ]
    resource_type: Annotated[
        SourceText | None,
        Field(description="where the entity's kind is; without it, the type's first segment"),
    ] = None
    resource_id: Annotated[
        SourceText | None,
        Field(description="where the entity's id is; without it, nothing keeps events in order"),
    ] = None
    resource_version: Annotated[
        SourceText | None,
        Field(
            description="where an integer or ISO 8601 time is that grows with each state of the "
            "entity; set it only where a later state makes an earlier event needless"
        ),
    ] = None
    occurred_at: Annotated[
        SourceText | None, Field(description="where the time of the event is (ISO 8601 or Unix)")
    ] = None
    occurred_at_unit: Annotated[
        Literal["s", "ms"], Field(description="what it counts since 1970, where it is a number")
    ] = "s"
    when_no_resource: Annotated[
        WhenNoResource,
        Field(description="what to do with an event in which resource_id finds nothing"),
    ] = "quarantine"

    @model_validator(mode="after")
    def _the_sources_fit_together(self) -> IdentityOptions:
        if self.resource_id is None and (self.resource_type or self.resource_version):
            raise ValueError(
                "resource_type and resource_version say something of a resource: write where "
                "its id is in resource_id, such as body:/data/id"
            )
        return self

    def sources(self) -> IdentitySources:
        return IdentitySources(
            event_id=parse_source(self.event_id),
            event_type=parse_source(self.event_type),
            resource_type=optional_source(self.resource_type),
            resource_id=optional_source(self.resource_id),
            resource_version=optional_source(self.resource_version),
            occurred_at=optional_source(self.occurred_at),
        )
