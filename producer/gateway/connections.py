"""The connections that this gateway answers for, in memory; replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from credentials.key_ring import KeyRing
from schemas.connection import Connection, ConnectionState


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A connection made ready for the hot path. `provider` is a `Provider`, `keys` its keys."""

    connection: Connection
    provider: Any
    keys: KeyRing


class ConnectionTable:
    """Connection id → entry. Only what may receive is in it: all others look the same."""

    def __init__(self, environment: str, entries: Iterable[Entry] = ()) -> None:
        self._environment = environment
        self._entries: dict[str, Entry] = {}
        self.replace(entries)

    def replace(self, entries: Iterable[Entry]) -> None:
        """Take these instead of those before, at once for every request from here on."""
        self._entries = {
            entry.connection.id: entry
            for entry in entries
            if entry.connection.state is ConnectionState.ACTIVE
            and entry.connection.environment == self._environment
        }

    def find(self, connection_id: str) -> Entry | None:
        """The entry, or None for an unknown, paused or revoked connection alike."""
        return self._entries.get(connection_id)

    def __len__(self) -> int:
        return len(self._entries)
