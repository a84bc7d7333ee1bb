"""Changes to the connections topic by hand: read all, write, and see that nobody was written over.

Two people may change one connection at the same moment. Who finds, when reading back, that another
record came between what was read and what was written, makes the change again on top of that one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from credentials.reference import parse_reference
from producer.connections.clients import TopicAccess, TopicWriter, read_to_end
from producer.connections.ledger import Ledger
from schemas.codec import CONNECTION, REVOCATION
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection import Connection
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import ConnectionRecord, RecordKey, Revocation, Writer
from schemas.errors import NotAcknowledged, TopicError

_TRIES: Final = 5
_READ_BACK_S: Final = 10.0
_WAIT_MS: Final = 50

Change = Callable[[Ledger], Connection]


class Editor:
    """A session on the topic; a context manager. `by` is who makes the changes."""

    def __init__(self, access: TopicAccess, environment: str, by: str) -> None:
        self._access = access
        self._by = by
        self._consumer = access.reader(_WAIT_MS)
        self._writer: TopicWriter | None = None
        self.environment = environment
        self.ledger = Ledger(environment)

    def __enter__(self) -> Editor:
        try:
            read_to_end(self._access, self._consumer, self.ledger)
        except BaseException:
            self._consumer.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def put(self, connection_id: str, change: Change) -> Connection:
        """Write what `change` makes of the connection; called again if another came between."""
        key = RecordKey(self.environment, connection_id).encode()
        for _ in range(_TRIES):
            known = self.ledger.next_offset
            connection = change(self.ledger)
            before = self.ledger.record(connection_id)
            record = ConnectionRecord(
                connection=connection,
                written_by=Writer.COMMAND,
                changed_at_us=time.time_ns() // 1000,
                changed_by=self._by,
                file_digest=before.file_digest if before is not None else "",
            )
            for secret in connection.secrets:
                # The last look: what is no reference in full form does not get out of here.
                parse_reference(secret.ref)
            offset = self._write(key, CONNECTION.encode(record))
            if not self._read_back(key, known, offset):
                return connection
        raise TopicError(
            f"connection {connection_id} is being changed by somebody else again and again: look "
            "at it with `hookline connections show`, then try again"
        )

    def put_access(self, access: ConnectionAccess) -> None:
        """Write how a connection's system is reached, in place of what there was."""
        for ref in access.credentials.values():
            parse_reference(ref)
        key = RecordKey(self.environment, access.connection, access=True).encode()
        known = self.ledger.next_offset
        self._read_back(key, known, self._write(key, CONNECTION_ACCESS.encode(access)))

    def revoke(self, connection_id: str, secret_name: str = "") -> None:
        """A connection or a secret of it is accepted no more. Needs nothing to be readable."""
        revocation = Revocation(
            environment=self.environment,
            connection=connection_id,
            secret_name=secret_name,
            revoked_at_us=time.time_ns() // 1000,
            revoked_by=self._by,
        )
        key = RecordKey(self.environment, connection_id, True, secret_name).encode()
        self._read_back(
            key, self.ledger.next_offset, self._write(key, REVOCATION.encode(revocation))
        )

    def remove(self, connection_id: str) -> None:
        """Take all records of a connection away, its own first."""
        offset = known = self.ledger.next_offset
        keys = self.ledger.keys(connection_id)
        for key in keys:
            offset = self._write(key.encode(), None)
        if keys:
            self._read_back(keys[-1].encode(), known, offset)

    def _write(self, key: bytes, value: bytes | None) -> int:
        if self._writer is None:
            self._writer = self._access.writer()
        return self._writer.write(key, value)

    def _read_back(self, key: bytes, known: int, offset: int) -> bool:
        """Read until our own record; whether another of its key came before it unseen."""
        until_s = time.monotonic() + _READ_BACK_S
        between = False
        passed: list[tuple[bytes | None, bytes | None, int]] = []
        while time.monotonic() < until_s:
            message = self._consumer.poll(0.5)
            # Errors pass by themselves: the client keeps trying until the time is over.
            if message is None or message.error() is not None:
                continue
            found = message.offset() or 0
            if found < offset:
                between = between or (message.key() == key and found >= known)
            passed.append((message.key(), message.value(), found))
            if found >= offset:
                break
        else:
            raise NotAcknowledged(
                f"the record was written to {self._access.topic} and could not be read back within "
                f"{_READ_BACK_S:g} s: look with `hookline connections list`"
            )
        for one in passed:
            # With another's change between, its record is what the next try builds upon.
            if not (between and one[2] == offset):
                self.ledger.apply(*one)
        self.ledger.next_offset = max(self.ledger.next_offset, offset + 1)
        return between
