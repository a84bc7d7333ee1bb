"""What goes in and comes out of the API. The OpenAPI document is made from here.

No answer has a field for a secret or a reference, but for the token of a new connect session.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

#: Of a tenant, a connection, a secret: as on the topics.
PART = r"^[a-z0-9][a-z0-9._-]{0,62}$"
SESSION = r"^[0-9a-z]{12}$"
SYSTEM = r"^[a-z0-9][a-z0-9-]{0,39}$"

Part = Annotated[str, StringConstraints(pattern=PART)]
SystemId = Annotated[str, StringConstraints(pattern=SYSTEM)]
OneLine = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Origin = Annotated[
    str, StringConstraints(max_length=300, pattern=r"^https?://[A-Za-z0-9.\[\]:-]{1,250}$")
]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}$")]
#: JSON knows no integers: 60.0 is 60.
Whole = Annotated[
    int, BeforeValidator(lambda v: int(v) if isinstance(v, float) and v.is_integer() else v)
]
State = Literal["active", "paused", "revoked", "unreadable"]


class Asked(BaseModel):
    """A body: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Query(BaseModel):
    """Parameters behind the question mark: texts, so numbers are read from them."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Answered(BaseModel):
    """An answer. More fields may come with time: pass over those that you do not know."""

    model_config = ConfigDict(frozen=True)


class Nothing(Asked):
    """No fields; the body may be left out."""


# Connect sessions.


class NewConnectSession(Asked):
    """A customer of yours is to connect a system."""

    tenant: Part = Field(description="Your customer.", examples=["acme"])
    connection_id: Part | None = Field(
        None, description="The id that the connection gets; without it one is made."
    )
    systems: list[SystemId] = Field(
        [], max_length=100, description="Those that may be chosen; all, if empty."
    )
    system: SystemId | None = Field(
        None, description="The system to connect: nothing is chosen then.", examples=["github"]
    )
    label: OneLine = Field("", description="Shown to your customer, such as a team's name.")
    locale: Locale | None = Field(None, description="BCP 47.", examples=["en"])
    origin: Origin | None = Field(
        None,
        description="Of your page that embeds the component; one of connect.allowed_origins.",
        examples=["https://app.example.com"],
    )


class ConnectSessionMade(Answered):
    """The token is shown this once: hand it to your customer's browser."""

    session: str = Field(description="The id, to look at it later.")
    token: str = Field(description="For `<hookline-connect session>`; counts until it expires.")
    url: str = Field(description="The hosted page; the token stands behind `#`.")
    connection_id: str | None
    expires_at: datetime


class FlowProblem(Answered):
    """What stands in the customer's way, in the customer's words."""

    code: str
    what: str
    why: str
    next: str


class ConnectSession(Answered):
    """How far a customer has come."""

    session: str
    tenant: str
    label: str
    step: Literal[
        "choose", "details", "authorise", "validate", "register", "test", "connected", "cancelled",
        "expired",
    ]  # fmt: skip
    system: str | None
    account: str | None = Field(description="Whose account it is, as the system says.")
    connection: str | None = Field(description="Once it is connected.")
    problem: FlowProblem | None
    expires_at: datetime


# Systems.


class SystemQuery(Query):
    """A search in the catalogue."""

    q: Annotated[str, StringConstraints(max_length=100)] = Field(
        "", description="Part of a name, an alias or a category; mistyped, too."
    )
    category: Annotated[str, StringConstraints(max_length=60)] = Field(
        "", description="Only those of this category."
    )
    limit: int = Field(50, ge=1, le=100)


class System(Answered):
    """A system that can be connected."""

    id: str
    name: str
    about: str
    categories: list[str]
    initials: str
    colour: str
    minutes: int = Field(description="How long it takes a customer, roughly.")


class Systems(Answered):
    """The best first."""

    systems: list[System]


class SystemField(Answered):
    """What a customer is asked for."""

    id: str
    label: str
    required: bool
    secret: bool


class SystemInFull(System):
    """One system, and what it takes to connect it."""

    aliases: list[str]
    authorisation: Literal["api_key", "bearer", "basic", "oauth2_code", "oauth2_client", "none"]
    provider: str = Field(description="The module that verifies its webhooks.")
    registration: Literal["api", "manual"] = Field(
        description="Whether we tell it where webhooks go, or the customer does."
    )
    events: list[str]
    polling: bool
    fields: list[SystemField]
    sources: list[str] = Field(description="The vendor's pages that this is from.")


# Connections.


class ConnectionQuery(Query):
    """Which connections, and from where on."""

    tenant: Part | None = None
    state: State | None = None
    system: SystemId | None = None
    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, StringConstraints(max_length=300)] | None = Field(
        None, description="`next_cursor` of the page before, with the same filters."
    )


class Secret(Answered):
    """A signing secret: never what it is, nor where."""

    name: str
    state: Literal["active", "not yet", "expired", "revoked"]
    not_before: datetime | None
    not_after: datetime | None


class Connection(Answered):
    """One connection."""

    id: str
    tenant: str | None = Field(description="Null where its record cannot be read.")
    provider: str | None
    state: State
    system: str | None = Field(description="Of the catalogue, where the connect flow made it.")
    label: str | None
    account: str | None
    attention: str | None = Field(description="Why somebody must look at it.")
    secrets: list[Secret]
    changed_at: datetime | None
    changed_by: str | None


class Connections(Answered):
    """A page, by id."""

    connections: list[Connection]
    next_cursor: str | None = Field(description="Null on the last page.")


class Check(Answered):
    """One thing that was looked at."""

    id: str
    title: str
    state: Literal["waiting", "running", "passed", "failed", "skipped"]
    detail: str
    took_ms: int | None
    problem: FlowProblem | None


class Tested(Answered):
    """Whether a connection's credentials work."""

    passed: bool
    checks: list[Check]


class Rotation(Asked):
    """How long the old secret counts beside the new one."""

    overlap_s: Whole = Field(
        7 * 86_400,
        ge=0,
        le=90 * 86_400,
        description="For what is still on its way, and for what the system sends again.",
    )


class Rotated(Answered):
    """The names of secrets; the new value is in the secret backend alone."""

    connection: Connection
    added: str
    retired: list[str] = Field(description="They count until `not_after`, if that was not before.")
    not_after: datetime


class Removed(Answered):
    """A connection that is gone."""

    removed: bool
    left_over: list[str] = Field(
        description="What could not be cleaned up, in words: to be done by hand."
    )


# What goes wrong.


class ProblemMistake(Answered):
    """One thing that is wrong: either of the two names its place."""

    detail: str
    pointer: str = Field("", description="In the body (RFC 6901).")
    parameter: str = Field("", description="Behind the question mark, in the path or a header.")


class Problem(Answered):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[ProblemMistake] = []
