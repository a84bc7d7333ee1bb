"""The connections as a long-lived process follows them, and changes on top of what it knows.

As with the editor nobody is written over: a change waits until its own record has been read back,
and is made again on top of another's that came between. Unlike the editor nothing is read first, so
a revocation takes no longer than Kafka takes to confirm it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from credentials.reference import parse_reference
from producer.connections.clients import TopicAccess, TopicWriter
from producer.connections.follower import Listener
from producer.connections.ledger import Ledger
from schemas.codec import CONNECTION, REVOCATION
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import ConnectionRecord, RecordKey, Revocation, Writer
from schemas.errors import NotAcknowledged, TopicError

_TRIES: Final = 5
_READ_BACK_S: Final = 10.0
#: A revocation is safe once Kafka has it; reading it back only shows it here.
_SEEN_S: Final = 2.0
#: How long a change waits for another of this process.
_TURN_S: Final = 15.0

T = TypeVar("T")


class Changed(NamedTuple):
    """What a change makes of a connection; `access` only where that changes too."""

    connection: Connection
    access: ConnectionAccess | None = None


Change = Callable[[Ledger], Changed]


class Together:
    """Several listeners of one follower, told in their order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def began(self, anew: bool) -> None:
        """See `follower.Listener`."""
        for one in self._listeners:
            one.began(anew)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        for one in self._listeners:
            one.came(key, value, offset)

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        for one in self._listeners:
            one.ended(offset)


class FollowedConnections:
    """A follower's listener that also writes. Its methods wait for Kafka: they are for threads."""

    def __init__(
        self,
        access: TopicAccess,
        environment: str,
        *,
        reason: Callable[[], str] = lambda: "",
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """`reason`: why the topic cannot be read now, as its follower says."""
        self._topic_access = access
        self._now_us = now_us
        self.reason = reason
        self.environment = environment
        self._came = threading.Condition()
        self._reading = Ledger(environment)
        self._known: Ledger | None = None
        #: By the key of a change that is under way: what has come of it meanwhile.
        self._watched: dict[bytes, list[tuple[int, bytes | None]]] = {}
        self._writing = threading.Lock()
        self._writer: TopicWriter | None = None

    # What the follower tells, on its thread.

    def began(self, anew: bool) -> None:
        """See `follower.Listener`."""
        with self._came:
            self._reading = Ledger(self.environment)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        with self._came:
            self._reading.apply(key, value, offset)
            if key is not None and (seen := self._watched.get(key)) is not None:
                seen.append((offset, value))
            self._came.notify_all()

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        with self._came:
            self._known = self._reading
            self._known.next_offset = max(self._known.next_offset, offset)
            self._came.notify_all()

    # What others ask.

    def look(self, at: Callable[[Ledger], T]) -> T:
        """What `at` says of the ledger, during which it does not change: be brief. TopicError while
        it is not known."""
        with self._came:
            return at(self._ledger())

    def put(self, connection_id: str, change: Change, by: str) -> Connection:
        """Write what `change` makes of the connection; called again if another came between."""
        key = RecordKey(self.environment, connection_id).encode()
        with self._turn():
            try:
                with self._came:
                    self._watched[key] = []
                    # A copy: what is read meanwhile does not change what is built upon.
                    about = _about(self._ledger(), connection_id)
                for _ in range(_TRIES):
                    connection = self._put_once(key, about, change, by)
                    if connection is not None:
                        return connection
            finally:
                with self._came:
                    self._watched.pop(key, None)
        raise TopicError(
            f"connection {connection_id} is being changed by somebody else again and again: look "
            "at it, then try again"
        )

    def _put_once(self, key: bytes, about: Ledger, change: Change, by: str) -> Connection | None:
        """The connection, or None with what came between taken into `about`."""
        changed = change(about)
        connection = changed.connection
        before = about.record(connection.id)
        record = ConnectionRecord(
            connection=connection,
            written_by=Writer.COMMAND,
            changed_at_us=self._now_us(),
            changed_by=by,
            file_digest=before.file_digest if before is not None else "",
        )
        for secret in connection.secrets:
            # The last look: what is no reference in full form does not get out of here.
            parse_reference(secret.ref)
        value = CONNECTION.encode(record)
        records: list[tuple[bytes, bytes | None]] = []
        if changed.access is not None:
            for ref in changed.access.credentials.values():
                parse_reference(ref)
            access_key = RecordKey(self.environment, connection.id, access=True).encode()
            records.append((access_key, CONNECTION_ACCESS.encode(changed.access)))
        offset = self._write([*records, (key, value)])
        if not self._seen(offset, _READ_BACK_S):
            raise NotAcknowledged(
                f"the change of {connection.id} was written to {self._topic_access.topic} and "
                f"could not be read back within {_READ_BACK_S:g} s: look at it, then try again"
            )
        with self._came:
            # The same words twice are a retry of the client.
            between = [
                (at, other)
                for at, other in self._watched[key]
                if about.next_offset <= at < offset and other != value
            ]
        if not between:
            return connection
        for at, other in between:
            about.apply(key, other, at)
        # Revocations of it may have come, too.
        self.look(lambda ledger: _take_revocations(ledger, connection.id, about))
        about.next_offset = offset + 1
        return None

    def revoke(self, connection_id: str, by: str, secret_name: str = "") -> None:
        """A connection or a secret of it is accepted no more. Needs nothing to be known."""
        revocation = Revocation(
            environment=self.environment,
            connection=connection_id,
            secret_name=secret_name,
            revoked_at_us=self._now_us(),
            revoked_by=by,
        )
        key = RecordKey(self.environment, connection_id, True, secret_name).encode()
        # Not in turn: nothing that this process is doing may hold it up.
        self._seen(self._write([(key, REVOCATION.encode(revocation))]), _SEEN_S)

    def remove(self, connection_id: str) -> None:
        """Take all records of a connection away, its own first."""
        with self._turn():
            keys = self.look(lambda ledger: ledger.keys(connection_id))
            if keys:
                offset = self._write([(key.encode(), None) for key in keys])
                self._seen(offset, _SEEN_S)

    def gone(self, connection_id: str, within_s: float = 0.5) -> bool:
        """Whether nothing is known of it any more, or is not soon: others may have removed it."""

        def nothing() -> bool:
            ledger = self._ledger()
            there = connection_id in ledger or ledger.revoked(connection_id)
            return not there and ledger.access(connection_id) is None

        with self._came:
            return self._came.wait_for(nothing, within_s)

    def _ledger(self) -> Ledger:
        if self._known is None:
            why = self.reason() or "the topic is being read"
            raise TopicError(f"which connections there are is not known yet: {why}")
        return self._known

    def _turn(self) -> _Turn:
        return _Turn(self._writing)

    def _write(self, records: Sequence[tuple[bytes, bytes | None]]) -> int:
        writer = self._writer
        if writer is None:
            # Two that come first at once make two, of which one is let go.
            writer = self._writer = self._topic_access.writer()
        return writer.write_all(records)

    def _seen(self, offset: int, within_s: float) -> bool:
        """Wait until the follower has read the record; False if it has not in time."""
        with self._came:
            return self._came.wait_for(
                lambda: self._known is not None and self._known.next_offset > offset, within_s
            )


class _Turn:
    """One change of this process at a time, and none that waits for ever."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=_TURN_S):
            raise TopicError("other changes are under way for long: is Kafka slow? Try again")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _about(ledger: Ledger, connection_id: str) -> Ledger:
    """A ledger of this one connection."""
    about = Ledger(ledger.environment)
    record, access = ledger.record(connection_id), ledger.access(connection_id)
    key = RecordKey(ledger.environment, connection_id)
    if record is not None:
        about.apply(key.encode(), CONNECTION.encode(record), 0)
    elif ledger.problem(connection_id):
        about.apply(key.encode(), b"", 0)
    if access is not None:
        access_key = msgspec.structs.replace(key, access=True)
        about.apply(access_key.encode(), CONNECTION_ACCESS.encode(access), 0)
    _take_revocations(ledger, connection_id, about)
    about.next_offset = ledger.next_offset
    return about


def _take_revocations(ledger: Ledger, connection_id: str, about: Ledger) -> None:
    names = ["", *ledger.revoked_secrets(connection_id)]
    for name in names if ledger.revoked(connection_id) else names[1:]:
        # A revocation's key alone says it.
        about.apply(RecordKey(ledger.environment, connection_id, True, name).encode(), b"", 0)
