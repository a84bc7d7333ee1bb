"""Connections: shown from what is followed, changed by records on their topic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

from msgspec.structs import replace
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from console.access.auditing import audited
from console.api import cursors, models, shown
from console.api.calls import Answering, Call
from console.api.problems import ApiProblem
from credentials.writing import SecretWriter
from producer.connect.rotating import Rotating
from producer.connect.service import ConnectService
from producer.connections.followed import Change, Changed
from producer.connections.ledger import Ledger, Standing
from schemas.connection import Connection, ConnectionState
from schemas.errors import TopicError

T = TypeVar("T")

_US: Final = 1_000_000


class Book(Protocol):
    """The connections, as `FollowedConnections` has them; what waits is for threads."""

    def look(self, at: Callable[[Ledger], T]) -> T:
        """What `at` says of the ledger; TopicError while it is not known."""

    def put(self, connection_id: str, change: Change, by: str) -> Connection:
        """Write what `change` makes of it."""

    def revoke(self, connection_id: str, by: str, secret_name: str = "") -> None:
        """It is accepted no more."""

    def remove(self, connection_id: str) -> None:
        """Take all its records away."""

    def gone(self, connection_id: str) -> bool:
        """Whether nothing is known of it any more."""


class ConnectionCalls:
    """See the module. `writer`: where the secrets of rotations go, if that is set up."""

    def __init__(
        self,
        book: Book,
        service: ConnectService | None,
        writer: SecretWriter | None,
        now_us: Callable[[], int],
    ) -> None:
        self._book = book
        self._service = service
        self._writer = writer
        self._now_us = now_us

    def by_operation(self) -> dict[str, Answering]:
        """Which method answers which operation."""
        return {
            "listConnections": self.all,
            "getConnection": self.one,
            "testConnection": self.test,
            "pauseConnection": self.pause,
            "resumeConnection": self.resume,
            "revokeConnection": self.revoke,
            "rotateSecret": self.rotate,
            "deleteConnection": self.delete,
        }

    async def all(self, call: Call) -> BaseModel:
        """A page of those that fit."""
        query = call.query
        assert isinstance(query, models.ConnectionQuery)
        return await run_in_threadpool(self._page, query)

    def _page(self, query: models.ConnectionQuery) -> models.Connections:
        filters = {"tenant": query.tenant, "state": query.state, "system": query.system}
        after = cursors.read(query.cursor, filters) if query.cursor is not None else ""
        # Sorted outside: the thread that follows Kafka must not wait for that.
        names = sorted(name for name in self._book.look(lambda led: led.ids()) if name > after)
        page: list[models.Connection] = []
        for start in range(0, len(names), 500):
            part = names[start : start + 500]
            page += self._book.look(partial(self._fitting, part, query))
            if len(page) > query.limit:
                shown_ = page[: query.limit]
                return models.Connections(
                    connections=shown_, next_cursor=cursors.make(shown_[-1].id, filters)
                )
        return models.Connections(connections=page, next_cursor=None)

    def _fitting(
        self, names: list[str], query: models.ConnectionQuery, ledger: Ledger
    ) -> list[models.Connection]:
        now_s = self._now_us() / _US
        found = []
        for name in names:
            record, access = ledger.record(name), ledger.access(name)
            if query.tenant and (record is None or record.connection.tenant != query.tenant):
                continue
            if query.system and (access is None or access.system != query.system):
                continue
            standing = ledger.standing(name)
            if standing is None or (query.state and standing.value != query.state):
                continue
            found.append(shown.connection(ledger, name, now_s))
            if len(found) > query.limit:
                break
        return found

    async def one(self, call: Call) -> BaseModel:
        """One of them."""
        return self._shown(call.id)

    def _shown(self, connection_id: str) -> models.Connection:
        now_s = self._now_us() / _US

        def at(ledger: Ledger) -> models.Connection:
            if connection_id not in ledger:
                raise _not_there()
            return shown.connection(ledger, connection_id, now_s)

        return self._book.look(at)

    async def test(self, call: Call) -> BaseModel:
        """Its credentials, now."""
        self._book.look(lambda ledger: _usable(ledger, call.id))
        if self._service is None:
            raise _not_set_up("connect")
        return shown.tested(await self._service.check(call.id))

    async def pause(self, call: Call) -> BaseModel:
        """Until it is resumed."""
        return await self._become(call, ConnectionState.PAUSED, "pause")

    async def resume(self, call: Call) -> BaseModel:
        """Its webhooks are taken again."""
        return await self._become(call, ConnectionState.ACTIVE, "resume")

    async def _become(
        self, call: Call, state: ConnectionState, action: Literal["pause", "resume"]
    ) -> BaseModel:
        before = self._book.look(lambda ledger: _usable(ledger, call.id))
        if before.state is not state:

            def change(ledger: Ledger) -> Changed:
                return Changed(replace(_usable(ledger, call.id), state=state))

            async with audited(
                call.request,
                f"connection.{action}",
                target=call.id,
                connection=call.id,
                urgent=action == "pause",
                via="api",
            ):
                await run_in_threadpool(self._book.put, call.id, change, call.by)
        return self._shown(call.id)

    async def revoke(self, call: Call) -> BaseModel:
        """For good."""
        # What is not known, as while Kafka is read, can be revoked all the same.
        with suppress(TopicError):
            self._book.look(lambda ledger: _known(ledger, call.id))
        await self._revoke(call)
        try:
            found = self._shown(call.id)
        except (ApiProblem, TopicError):
            found = shown.connection(Ledger(""), call.id, 0)
        return found.model_copy(update={"state": Standing.REVOKED.value})

    async def _revoke(self, call: Call) -> None:
        async with audited(
            call.request,
            "connection.revoke",
            target=call.id,
            connection=call.id,
            urgent=True,
            via="api",
        ):
            await run_in_threadpool(self._book.revoke, call.id, call.by)

    async def rotate(self, call: Call) -> BaseModel:
        """A new secret beside the old one, here and at the system."""
        asked = call.body
        assert isinstance(asked, models.Rotation)
        self._book.look(lambda ledger: _usable(ledger, call.id))
        if self._service is None or self._writer is None:
            raise _not_set_up("connect.secrets")
        rotating = Rotating(
            self._book,
            self._service.secrets,
            self._writer,
            self._service.catalogue(),
            lambda ledger: _usable(ledger, call.id),
            now_us=self._now_us,
            by=call.by,
        )
        # Before anything is in the audit log.
        rotating.look()
        async with audited(
            call.request,
            "secret.rotate",
            target=call.id,
            connection=call.id,
            details={"overlap_s": asked.overlap_s},
            via="api",
        ) as change:
            done = await rotating.rotate(asked.overlap_s)
            change.note(added=done.added)
        return models.Rotated(
            connection=self._shown(call.id),
            added=done.added,
            retired=list(done.retired),
            not_after=shown.moment(done.not_after_s),
        )

    async def delete(self, call: Call) -> BaseModel:
        """Revoked first, then cleaned up; with secrets left it stays, revoked, to try again."""
        made_here = self._book.look(lambda ledger: _removable(ledger, call.id))
        if made_here and self._service is None:
            raise _not_set_up("connect")
        left: tuple[str, ...] = ()
        async with audited(
            call.request,
            "connection.remove",
            target=call.id,
            connection=call.id,
            urgent=True,
            via="api",
        ) as change:
            if made_here and self._service is not None:
                left = await self._service.remove(call.id, call.by)
            else:
                await run_in_threadpool(self._book.revoke, call.id, call.by)
                await run_in_threadpool(self._book.remove, call.id)
            gone = await run_in_threadpool(self._book.gone, call.id)
            change.note(removed=gone, left_over=len(left))
        return models.Removed(removed=gone, left_over=list(left))


def _known(ledger: Ledger, connection_id: str) -> None:
    if connection_id not in ledger and not ledger.revoked(connection_id):
        raise _not_there()


def _usable(ledger: Ledger, connection_id: str) -> Connection:
    """The connection, if it may be changed."""
    _known(ledger, connection_id)
    standing = ledger.standing(connection_id)
    if ledger.revoked(connection_id) or standing is Standing.REVOKED:
        raise ApiProblem("revoked", "The connection was revoked, which is for good.")
    record = ledger.record(connection_id)
    if record is None:
        raise ApiProblem(
            "unreadable",
            "The connection's record cannot be read: delete it, or write it again with `hookline "
            "connections apply`.",
        )
    return record.connection


def _removable(ledger: Ledger, connection_id: str) -> bool:
    """Whether the connect flow made it; ApiProblem if it may not be removed here."""
    _known(ledger, connection_id)
    if ledger.access(connection_id) is not None:
        return True
    record = ledger.record(connection_id)
    if record is not None and record.file_digest:
        raise ApiProblem(
            "from_the_file",
            "It is from hookline.yaml, which would bring it back: take it out there, then "
            "`hookline connections remove`. To end it now, revoke it.",
        )
    return False


def _not_there() -> ApiProblem:
    return ApiProblem("not_found", "There is no connection with this id in this environment.")


def _not_set_up(setting: str) -> ApiProblem:
    return ApiProblem(
        "not_configured", f"The connect flow is not set up in this console: set `{setting}`."
    )
