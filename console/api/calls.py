"""What each call does with what it was asked: a method for each operation, by its id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from console.access.auditing import audited
from console.access.guard import visitor_of
from console.api import models, shown
from console.api.problems import ApiProblem, Mistake
from console.connect.links import hosted_link
from producer.connect.service import Catalogue, ConnectService, WantedSession
from producer.connect.system import System

Search = Callable[[Catalogue, str, int], Sequence[System]]

_ALL_SYSTEMS: Final = 1_000


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, read: `id` is what its path names, empty if it names nothing."""

    request: Request
    id: str = ""
    body: BaseModel | None = None
    query: BaseModel | None = None

    @property
    def by(self) -> str:
        """The API token's id."""
        return visitor_of(self.request).admission.token_id


#: What answers an operation.
Answering = Callable[[Call], Awaitable[BaseModel]]


class ConnectCalls:
    """Connect sessions and systems. Without a service each says what to set up."""

    def __init__(
        self,
        service: ConnectService | None,
        search: Search,
        *,
        public_url: str = "",
        origin_allowed: Callable[[str], bool] = lambda origin: True,
    ) -> None:
        self._service = service
        self._search = search
        self._public_url = public_url
        self._origin_allowed = origin_allowed

    def by_operation(self) -> dict[str, Answering]:
        """Which method answers which operation."""
        return {
            "createConnectSession": self.create,
            "getConnectSession": self.session,
            "listSystems": self.systems,
            "getSystem": self.system,
        }

    @property
    def service(self) -> ConnectService:
        """The connect flow; ApiProblem where it is not set up."""
        if self._service is None:
            raise ApiProblem(
                "not_configured",
                "The connect flow is not set up: set `connect.gateway_url` and `connect.secrets`.",
            )
        return self._service

    async def create(self, call: Call) -> BaseModel:
        """A new session."""
        service, wanted = self.service, call.body
        assert isinstance(wanted, models.NewConnectSession)
        self._check(service, wanted)
        details = {"systems": ",".join(wanted.systems) or "all", "system": wanted.system or ""}
        async with audited(
            call.request,
            "connect_session.create",
            target=wanted.tenant,
            connection=wanted.connection_id or "",
            details=details,
            via="api",
        ) as change:
            token, made = await service.create(
                WantedSession(
                    tenant=wanted.tenant,
                    connection_id=wanted.connection_id or "",
                    systems=tuple(wanted.systems),
                    system=wanted.system or "",
                    label=wanted.label,
                    locale=wanted.locale or "",
                    origin=wanted.origin or "",
                    by=call.by,
                )
            )
            change.note(session=made.id)
        base = self._public_url or str(call.request.base_url)
        return models.ConnectSessionMade(
            session=made.id,
            token=token.reveal(),
            url=hosted_link(base, token).reveal(),
            connection_id=made.connection_id or made.flow.connection_id or None,
            expires_at=shown.moment(made.expires_at_us / 1e6),
        )

    def _check(self, service: ConnectService, wanted: models.NewConnectSession) -> None:
        mistakes: list[Mistake] = []
        catalogue = service.catalogue()
        named = [(f"/systems/{number}", one) for number, one in enumerate(wanted.systems)]
        if wanted.system is not None:
            named.append(("/system", wanted.system))
        mistakes += [
            Mistake(detail="There is no such system: GET /systems has all.", pointer=pointer)
            for pointer, one in named
            if catalogue.get(one) is None
        ]
        if wanted.system and wanted.systems and wanted.system not in wanted.systems:
            mistakes.append(Mistake(detail="It is not among /systems.", pointer="/system"))
        if wanted.origin is not None and not self._origin_allowed(wanted.origin):
            text = "It is not among the operator's connect.allowed_origins."
            mistakes.append(Mistake(detail=text, pointer="/origin"))
        if mistakes:
            raise ApiProblem(
                "invalid", "Something that was sent does not exist here.", errors=mistakes
            )

    async def session(self, call: Call) -> BaseModel:
        """How far it has come."""
        return shown.session(call.id, await self.service.view(call.id))

    async def systems(self, call: Call) -> BaseModel:
        """A search."""
        query = call.query
        assert isinstance(query, models.SystemQuery)
        catalogue = self.service.catalogue()
        # A thousand entries and a mistyped word take some milliseconds.
        found: Sequence[System] = await run_in_threadpool(
            self._search, catalogue, query.q.strip(), _ALL_SYSTEMS
        )
        category = query.category.strip().casefold()
        fitting = [
            one
            for one in found
            if not category or category in (name.casefold() for name in one.categories)
        ]
        return models.Systems(systems=[shown.system(one) for one in fitting[: query.limit]])

    async def system(self, call: Call) -> BaseModel:
        """One system."""
        found = self.service.catalogue().get(call.id)
        if found is None:
            raise ApiProblem("not_found", "There is no such system: GET /systems has all.")
        return shown.system_in_full(found)
