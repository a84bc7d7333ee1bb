"""What a connection is called, and whose a name is: one tenant's, and of that the newest session's.

`make_way` refuses what is there before a session is made; `is_first` settles, once it is on the
topic, what several that were asked for at the same time have made of one name.
"""

from __future__ import annotations

import secrets
from typing import Final

from producer.connect.actions import FlowRefused
from producer.connect.connection_records import ConnectionRecords
from producer.connect.flow import inputs as i
from producer.connect.running import FlowRunner
from producer.connect.session import Session
from producer.connect.session_store import SessionStore

_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Names:
    """See the module. All methods may raise TopicError."""

    def __init__(self, store: SessionStore, records: ConnectionRecords, runner: FlowRunner) -> None:
        self._store = store
        self._records = records
        self._runner = runner

    def for_session(self, session: Session, system: str) -> str:
        """What the session's connection will be called."""
        if session.connection_id:
            return session.connection_id
        base = f"{session.tenant}-{system}"[:58]
        taken = {s.flow.connection_id for s in self._store.all() if s.id != session.id}
        if base not in taken and not self._records.there(base):
            return base
        return f"{base}-" + "".join(secrets.choice(_LETTERS) for _ in range(4))

    async def make_way(self, tenant: str, connection_id: str) -> None:
        """End the tenant's open sessions for it; FlowRefused (`exists`) if it is not to be had."""
        if self._records.there(connection_id):
            record = self._records.record(connection_id)
            open_ids = {f"connect:{s.id}" for s in self._store.all() if not s.flow.ended}
            if record is None or record.changed_by not in open_ids:
                raise _exists(connection_id)
        for session in self._store.all():
            if not _is_for(session, connection_id):
                continue
            if session.tenant != tenant:
                raise _exists(connection_id)
            await self._runner.give(session.id, i.Cancel())

    async def is_first(self, session: Session) -> None:
        """Of several that were asked for at once, in whatever processes: the first on the topic
        keeps other tenants out, FlowRefused (`exists`), and of one tenant the newest counts."""
        if not session.connection_id:
            return
        # In the order in which the topic told of them.
        before: list[Session] = []
        for other in self._store.all():
            if other.id == session.id:
                break
            if _is_for(other, session.connection_id):
                before.append(other)
        # Looked for before one is ended: else two could end each other's.
        if any(other.tenant != session.tenant for other in before):
            await self._runner.give(session.id, i.Cancel())
            raise _exists(session.connection_id)
        for other in before:
            await self._runner.give(other.id, i.Cancel())


def _exists(connection_id: str) -> FlowRefused:
    return FlowRefused(
        "exists",
        f"connection {connection_id} is there already, or is being made: choose another id, or "
        "remove that one first",
    )


def _is_for(session: Session, connection_id: str) -> bool:
    """Whether it is open and for this connection: as was asked for, or by the name it was given."""
    names = (session.connection_id, session.flow.connection_id)
    return not session.flow.ended and connection_id in names
