"""What the connections topic says, record by record: pure, no Kafka, no clock, no secret.

A revocation has the last word whatever order the records come in, and a record that cannot be read
never counts as the one before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import KeysView
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from schemas.codec import CONNECTION
from schemas.connect_codec import CONNECTION_ACCESS
from schemas.connection import Connection, ConnectionState
from schemas.connection_access import ConnectionAccess
from schemas.connection_record import ConnectionRecord, RecordKey
from schemas.errors import CodecError

#: Of one environment; a record of one more is not taken, and said.
MAX_CONNECTIONS: Final = 100_000


class Standing(StrEnum):
    """What a connection is, all its records together."""

    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"
    UNREADABLE = "unreadable"


class Ledger:
    """All records of one environment, the last of each key.

    `access`: also what it takes to ask the systems, which a gateway does not.
    """

    def __init__(self, environment: str, *, access: bool = True) -> None:
        self.environment = environment
        self._with_access = access
        self.next_offset = 0
        #: Records that are none of ours, by what they are: an environment, or what is wrong.
        self.foreign: Counter[str] = Counter()
        self._values: dict[RecordKey, bytes] = {}
        self._records: dict[str, ConnectionRecord] = {}
        self._problems: dict[str, str] = {}
        self._access: dict[str, ConnectionAccess] = {}
        self._revoked: set[str] = set()
        self._revoked_secrets: dict[str, set[str]] = {}

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> str | None:
        """Take a record; the id of the connection that it is about, None if it is not ours."""
        self.next_offset = max(self.next_offset, offset + 1)
        parsed = RecordKey.decode(key)
        if parsed is None:
            self.foreign["a key that is none of ours"] += 1
            return None
        if parsed.environment != self.environment:
            self.foreign[parsed.environment] += 1
            return None
        name = parsed.connection
        known = len(self._records) + len(self._problems)
        if parsed.access and not self._with_access:
            return None
        own = not parsed.revocation
        if own and name not in self and known >= MAX_CONNECTIONS:
            self.foreign[f"beyond {MAX_CONNECTIONS} connections"] += 1
            return None
        if value is None:
            self._values.pop(parsed, None)
        else:
            self._values[parsed] = value
        if parsed.access:
            self._take_access(name, value)
        elif parsed.revocation:
            self._revoke(parsed, value is not None)
        else:
            self._connection(name, value)
        return name

    def _revoke(self, key: RecordKey, revoked: bool) -> None:
        # The key alone says it: a revocation that cannot be read is one all the same.
        if not key.secret_name:
            (self._revoked.add if revoked else self._revoked.discard)(key.connection)
            return
        names = self._revoked_secrets.setdefault(key.connection, set())
        (names.add if revoked else names.discard)(key.secret_name)
        if not names:
            del self._revoked_secrets[key.connection]

    def _connection(self, name: str, value: bytes | None) -> None:
        self._records.pop(name, None)
        self._problems.pop(name, None)
        if value is None:
            return
        try:
            record = CONNECTION.decode(value)
        except CodecError as error:
            self._problems[name] = str(error)
            return
        found = record.connection
        if (found.environment, found.id) != (self.environment, name):
            self._problems[name] = (
                f"the record is of {found.environment}/{found.id} and its key says "
                f"{self.environment}/{name}: write it again with `hookline connections apply`"
            )
            return
        self._records[name] = record

    def _take_access(self, name: str, value: bytes | None) -> None:
        self._access.pop(name, None)
        if value is None:
            return
        try:
            found = CONNECTION_ACCESS.decode(value)
        except CodecError:
            # Webhooks do not need it, and who does finds that it is not there.
            self.foreign["an access that cannot be read"] += 1
            return
        if (found.environment, found.connection) == (self.environment, name):
            self._access[name] = found

    def __contains__(self, connection_id: object) -> bool:
        return connection_id in self._records or connection_id in self._problems

    def ids(self) -> list[str]:
        """Every connection that there is a record of, whatever its standing."""
        return [*self._records, *self._problems]

    def record(self, connection_id: str) -> ConnectionRecord | None:
        """As it was written; None if there is none, or none that can be read."""
        return self._records.get(connection_id)

    def access(self, connection_id: str) -> ConnectionAccess | None:
        """How to get at its system; None if the connect flow did not make it."""
        return self._access.get(connection_id)

    def problem(self, connection_id: str) -> str:
        """Why its record cannot be read; empty if it can."""
        return self._problems.get(connection_id, "")

    def standing(self, connection_id: str) -> Standing | None:
        """What it is; None if there is no record of it."""
        if connection_id not in self:
            return None
        if connection_id in self._revoked:
            return Standing.REVOKED
        record = self._records.get(connection_id)
        if record is None:
            return Standing.UNREADABLE
        return {
            ConnectionState.ACTIVE: Standing.ACTIVE,
            ConnectionState.PAUSED: Standing.PAUSED,
            ConnectionState.REVOKED: Standing.REVOKED,
        }[record.connection.state]

    def revoked_secrets(self, connection_id: str) -> frozenset[str]:
        """The names of its secrets that are accepted no more."""
        return frozenset(self._revoked_secrets.get(connection_id, ()))

    def revoked(self, connection_id: str) -> bool:
        """Whether there is a revocation of all of it, also without a record of itself."""
        return connection_id in self._revoked

    def servable(self, connection_id: str) -> Connection | None:
        """The connection with the secrets that count, if it is active."""
        if self.standing(connection_id) is not Standing.ACTIVE:
            return None
        connection = self._records[connection_id].connection
        out = self.revoked_secrets(connection_id)
        if not out:
            return connection
        return replace(
            connection, secrets=tuple(s for s in connection.secrets if s.name not in out)
        )

    def keys(self, connection_id: str) -> list[RecordKey]:
        """The keys of all that is held about a connection, its own first."""
        found = [key for key in self._values if key.connection == connection_id]
        return sorted(found, key=lambda key: (key.revocation, key.access, key.secret_name))

    def all_keys(self) -> KeysView[RecordKey]:
        """Of every record that counts."""
        return self._values.keys()

    def values(self) -> list[tuple[bytes, bytes]]:
        """Every record that counts, as it came: what a snapshot holds."""
        return [(key.encode(), value) for key, value in self._values.items()]
