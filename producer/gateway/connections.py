"""The connections that this gateway answers for, in memory; replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from credentials.key_ring import KeyRing
from schemas.connection import Connection, ConnectionState, SecretReference


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A connection made ready for the hot path. `provider` is a `Provider`, `keys` its keys.

    `waiting`: the secrets that no backend has said anything of yet.
    """

    connection: Connection
    provider: Any
    keys: KeyRing
    waiting: tuple[SecretReference, ...] = ()

    def unsure(self, now_s: float) -> bool:
        """Whether a key that counts at `now_s` may be missing, so that what no key has signed may
        be authentic all the same."""
        return self.keys.silent(now_s) or any(secret.active(now_s) for secret in self.waiting)


class ConnectionTable:
    """Connection id → entry. Only what may receive is in it: all others look the same.

    Written by one thread at a time and read on every request: each change is one operation on a
    dict or a set, which the interpreter does not interrupt.
    """

    def __init__(
        self, environment: str, entries: Iterable[Entry] = (), *, complete: bool = True
    ) -> None:
        """`complete`: these are all there are; else what is not found may yet come."""
        self._environment = environment
        self._entries: dict[str, Entry] = {}
        self._waiting: set[str] = set()
        self.complete = complete
        for entry in entries:
            self.put(entry)

    def put(self, entry: Entry) -> None:
        """Answer with it from the next request on, if it may receive."""
        connection = entry.connection
        if (
            connection.state is ConnectionState.ACTIVE
            and connection.environment == self._environment
        ):
            self._entries[connection.id] = entry
            self._waiting.discard(connection.id)
        else:
            self.take_out(connection.id)

    def take_out(self, connection_id: str) -> None:
        """Know it no more, from the next request on."""
        self._entries.pop(connection_id, None)
        self._waiting.discard(connection_id)

    def hold(self, connection_id: str) -> None:
        """It is there and cannot be served now: its senders are to try again."""
        self._waiting.add(connection_id)
        self._entries.pop(connection_id, None)

    def find(self, connection_id: str) -> Entry | None:
        """The entry, or None for an unknown, paused or revoked connection alike."""
        return self._entries.get(connection_id)

    def unsettled(self, connection_id: str) -> bool:
        """Whether one that is not found may be there all the same."""
        return not self.complete or connection_id in self._waiting

    def entries(self) -> list[Entry]:
        """All that are served now."""
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)
