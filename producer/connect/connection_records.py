"""The connections topic as the connect flow has it: followed, and written two records at a time.

Of two sessions that write one name at the same time, in whatever processes, the first on the topic
has it: who comes second sees what his record took the place of, and puts it back.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec

from producer.connect.reached import Reached
from producer.connections.clients import TopicAccess, TopicWriter
from producer.connections.follower import Follower
from producer.connections.ledger import Ledger
from schemas.codec import CONNECTION, REVOCATION
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import ConnectionRecord, RecordKey, Revocation, Writer
from schemas.errors import TopicError

T = TypeVar("T")

_READ_BACK_S: Final = 10.0
#: Of a race that is over within milliseconds.
_MAX_DISPLACED: Final = 100
#: What a session is called as the one who wrote a record.
_SESSION: Final = "connect:"


class _Displaced(msgspec.Struct, frozen=True):
    """A session's record that another session's, at `offset`, took the place of."""

    offset: int
    record: ConnectionRecord
    access: ConnectionAccess | None


class ConnectionRecords:
    """From `start` to `stop`; its async methods are for one event loop."""

    def __init__(self, access: TopicAccess, environment: str) -> None:
        self.environment = environment
        self._access = access
        self._lock = threading.Lock()
        self._reading = Ledger(environment)
        self._known: Ledger | None = None
        self._displaced: dict[str, _Displaced] = {}
        self._access_before: dict[str, ConnectionAccess] = {}
        self._follower = Follower(access, self)
        self._reached = Reached()
        self._writer: TopicWriter | None = None
        self._pool = ThreadPoolExecutor(1, "hookline-connect-records")

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()

    def stop(self, within_s: float) -> None:
        """End."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._follower.stop(within_s)

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        alive = self._follower.alive
        return alive, "" if alive else "connections are followed no more"

    def record(self, connection_id: str) -> ConnectionRecord | None:
        """As it was written last; TopicError while it is not known."""
        with self._lock:
            return self._ledger().record(connection_id)

    def there(self, connection_id: str) -> bool:
        """Whether there is one of this name, readable or not, or a revocation of it."""
        with self._lock:
            ledger = self._ledger()
            return connection_id in ledger or ledger.revoked(connection_id)

    def access(self, connection_id: str) -> ConnectionAccess | None:
        """How to get at its system."""
        with self._lock:
            return self._ledger().access(connection_id)

    def _ledger(self) -> Ledger:
        if self._known is None:
            why = self._follower.problem or "they are being read"
            raise TopicError(f"connections are not known: {why}")
        return self._known

    async def put(self, connection: Connection, access: ConnectionAccess) -> bool:
        """Write both; False if the name is somebody else's: `access.changed_by` tells whose."""
        by = access.changed_by
        if not self._may(connection.id, by):
            return False
        record = ConnectionRecord(
            connection=connection,
            written_by=Writer.CONNECT,
            changed_at_us=access.changed_at_us,
            changed_by=by,
        )
        key = RecordKey(self.environment, connection.id)
        # The access first: whoever sees the connection can get at its system.
        offset = await self._write(_both(key, record, access))
        with self._lock:
            displaced = self._displaced.get(connection.id)
        if displaced is not None and displaced.offset == offset:
            # Killed before this, ours stays, and the one who was first finds it at his next write.
            await self._write(_both(key, displaced.record, displaced.access))
            return False
        if displaced is not None and displaced.record.changed_by == by:
            # Who came second puts ours back.
            return True
        return self._may(connection.id, by)

    def _may(self, connection_id: str, by: str) -> bool:
        with self._lock:
            ledger = self._ledger()
            found = ledger.record(connection_id)
            free = connection_id not in ledger and not ledger.revoked(connection_id)
        return free or (found is not None and found.changed_by == by)

    async def revoke(self, connection_id: str, by: str, now_us: int) -> None:
        """No gateway takes a webhook of it from now on."""
        revocation = Revocation(
            environment=self.environment,
            connection=connection_id,
            revoked_at_us=now_us,
            revoked_by=by,
        )
        key = RecordKey(self.environment, connection_id, revocation=True)
        await self._write([(key.encode(), REVOCATION.encode(revocation))])

    async def remove(self, connection_id: str, by: str = "") -> None:
        """Take all records of it away, its own first; with `by`, only what is theirs."""
        with self._lock:
            keys = self._theirs(connection_id, by) if by else self._all(connection_id)
        if keys:
            await self._write([(key.encode(), None) for key in keys])

    def _all(self, connection_id: str) -> list[RecordKey]:
        key = RecordKey(self.environment, connection_id)
        access = RecordKey(self.environment, connection_id, access=True)
        return list(dict.fromkeys([key, *self._ledger().keys(connection_id), access]))

    def _theirs(self, connection_id: str, by: str) -> list[RecordKey]:
        ledger = self._ledger()
        found, access = ledger.record(connection_id), ledger.access(connection_id)
        if found is not None and found.changed_by == by:
            return self._all(connection_id)
        keys = []
        if connection_id not in ledger and not ledger.revoked(connection_id):
            # Whoever wrote it may have died before it was read back here.
            keys.append(RecordKey(self.environment, connection_id))
        if access is None or access.changed_by == by:
            keys.append(RecordKey(self.environment, connection_id, access=True))
        return keys

    async def turn(self) -> None:
        """Wait until anything has changed."""
        await self._reached.turn()

    async def _write(self, records: list[tuple[bytes, bytes | None]]) -> int:
        """The offset of the last of them, once it is read back."""
        self._reached.bind()
        loop = asyncio.get_running_loop()
        offset = await loop.run_in_executor(self._pool, self._write_now, records)
        await self._reached.past(offset, _READ_BACK_S)
        return offset

    def _write_now(self, records: list[tuple[bytes, bytes | None]]) -> int:
        if self._writer is None:
            writer = self._access.writer()
            if problem := self._access.problem(writer.producer, 5.0):
                raise TopicError(problem)
            self._writer = writer
        return self._writer.write_all(records)

    # What the follower tells, on its thread.

    def began(self, anew: bool) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._reading = Ledger(self.environment)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            current = self._reading is self._known
            if current:
                self._compared(key, value, offset)
            else:
                self._reading.apply(key, value, offset)
        if current:
            self._reached.moved(offset + 1)

    def _compared(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Take a record, and note what of another session it takes the place of."""
        parsed, ledger = RecordKey.decode(key), self._reading
        name = parsed.connection if parsed is not None else ""
        record, access = ledger.record(name), ledger.access(name)
        if ledger.apply(key, value, offset) is None or parsed is None or parsed.revocation:
            return
        if parsed.access:
            now = ledger.access(name)
            if access is not None and now is not None and _another(access, now):
                _note(self._access_before, name, access)
            return
        after = ledger.record(name)
        if record is not None and after is not None and _another(record, after):
            both = (ledger.access(name), self._access_before.get(name))
            its = (one for one in both if one and one.changed_by == record.changed_by)
            _note(self._displaced, name, _Displaced(offset, record, next(its, None)))

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._known = self._reading
        self._reached.moved(offset)


def _both(
    key: RecordKey, record: ConnectionRecord, access: ConnectionAccess | None
) -> list[tuple[bytes, bytes | None]]:
    found: list[tuple[bytes, bytes | None]] = []
    if access is not None:
        beside = RecordKey(key.environment, key.connection, access=True)
        found.append((beside.encode(), CONNECTION_ACCESS.encode(access)))
    return [*found, (key.encode(), CONNECTION.encode(record))]


def _another(
    one: ConnectionRecord | ConnectionAccess, other: ConnectionRecord | ConnectionAccess
) -> bool:
    """Whether two sessions wrote them."""
    both = (one.changed_by, other.changed_by)
    return both[0] != both[1] and all(by.startswith(_SESSION) for by in both)


def _note(noted: dict[str, T], name: str, one: T) -> None:
    noted.pop(name, None)
    noted[name] = one
    if len(noted) > _MAX_DISPLACED:
        del noted[next(iter(noted))]
