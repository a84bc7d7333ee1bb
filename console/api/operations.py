"""Every call of the API, declared once: routes, checks and the OpenAPI document come from here."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from pydantic import BaseModel

from console.api import models
from schemas.api_token import Scope

PREFIX: Final = "/api/v1"
DOCUMENT: Final = f"{PREFIX}/openapi.json"

Method = Literal["GET", "POST", "DELETE"]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `path` is below the prefix, and may have one parameter, which matches `pattern`.

    `problems` are those besides the ones that every call may have. `keyed`: whether an
    Idempotency-Key counts.
    """

    id: str
    method: Method
    path: str
    pattern: str = ""
    tag: str
    summary: str
    about: str = ""
    scope: Scope
    body: type[BaseModel] | None = None
    body_needed: bool = False
    query: type[BaseModel] | None = None
    answer: type[BaseModel]
    status: int = 200
    problems: tuple[str, ...] = ()
    keyed: bool = False


_WRITE: Final = Scope.CONNECTIONS_WRITE
_READ: Final = Scope.EVENTS_READ
_ONE: Final = "/connections/{id}"
_STATES: Final = ("revoked", "unreadable")
_KEYED: Final = ("key_in_progress", "key_reused", "too_large", "not_json")

OPERATIONS: Final = (
    Operation(
        id="createConnectSession", method="POST", path="/connect-sessions", tag="Connect sessions",
        summary="Let a customer connect a system",
        about="The token in the answer admits your customer's browser for half an hour, and no "
        "API token ever does. Another open session for the same connection ends.",
        scope=_WRITE, body=models.NewConnectSession, body_needed=True,
        answer=models.ConnectSessionMade, status=201,
        problems=("exists", "not_now", "not_configured", *_KEYED), keyed=True,
    ),
    Operation(
        id="getConnectSession", method="GET", path="/connect-sessions/{id}",
        pattern=models.SESSION, tag="Connect sessions", summary="How far a customer has come",
        scope=_WRITE, answer=models.ConnectSession,
        problems=("session_over", "not_configured"),
    ),
    Operation(
        id="listSystems", method="GET", path="/systems", tag="Systems",
        summary="Search the systems that can be connected", scope=_READ,
        query=models.SystemQuery, answer=models.Systems, problems=("not_configured",),
    ),
    Operation(
        id="getSystem", method="GET", path="/systems/{id}", pattern=models.SYSTEM, tag="Systems",
        summary="One system", scope=_READ, answer=models.SystemInFull,
        problems=("not_configured",),
    ),
    Operation(
        id="listConnections", method="GET", path="/connections", tag="Connections",
        summary="The connections, by id", scope=_READ, query=models.ConnectionQuery,
        answer=models.Connections,
    ),
    Operation(
        id="getConnection", method="GET", path=_ONE, pattern=models.PART, tag="Connections",
        summary="One connection", scope=_READ, answer=models.Connection,
    ),
    Operation(
        id="testConnection", method="POST", path=f"{_ONE}/test", pattern=models.PART,
        tag="Connections", summary="Try its credentials now",
        about="Runs the same checks as the connect flow, for a connection that it has made.",
        scope=_WRITE, body=models.Nothing, answer=models.Tested,
        problems=("not_now", "not_configured", *_STATES, *_KEYED), keyed=True,
    ),
    Operation(
        id="pauseConnection", method="POST", path=f"{_ONE}/pause", pattern=models.PART,
        tag="Connections", summary="Take no webhooks until it is resumed",
        about="They are answered 404.", scope=_WRITE, body=models.Nothing,
        answer=models.Connection, problems=(*_STATES, *_KEYED), keyed=True,
    ),
    Operation(
        id="resumeConnection", method="POST", path=f"{_ONE}/resume", pattern=models.PART,
        tag="Connections", summary="Take its webhooks again", scope=_WRITE, body=models.Nothing,
        answer=models.Connection, problems=(*_STATES, *_KEYED), keyed=True,
    ),
    Operation(
        id="revokeConnection", method="POST", path=f"{_ONE}/revoke", pattern=models.PART,
        tag="Connections", summary="Take its webhooks no more, for good",
        about="Every gateway does so within a second. It needs no Idempotency-Key, since twice is "
        "the same as once, and looks at none, so that nothing is in its way.",
        scope=_WRITE, body=models.Nothing, answer=models.Connection,
        problems=("too_large", "not_json"),
    ),
    Operation(
        id="rotateSecret", method="POST", path=f"{_ONE}/rotate-secret", pattern=models.PART,
        tag="Connections", summary="A new signing secret beside the old one",
        about="The system is told, or asked for it, by the request that its entry in the catalogue "
        "has. The new value goes to the secret backend and into no answer; the old one counts "
        "until the overlap is over.",
        scope=_WRITE, body=models.Rotation, answer=models.Rotated,
        problems=(
            "not_rotatable", "not_now", "system_refused", "system_unclear", "not_configured",
            *_STATES, *_KEYED,
        ),
        keyed=True,
    ),
    Operation(
        id="deleteConnection", method="DELETE", path=_ONE, pattern=models.PART, tag="Connections",
        summary="Take it away, and what was made for it",
        about="It is revoked first; then its webhook at the system, its secrets and its records "
        "go. What could not be done is told in the answer. Twice: 404.",
        scope=_WRITE, answer=models.Removed, problems=("from_the_file", "not_now"),
    ),
)  # fmt: skip
