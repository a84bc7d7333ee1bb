"""What the connections topic holds: a record for each connection, one for each revocation, and one
for the access to its system where the connect flow made it (schemas/connection_access.py).

A revocation has a key of its own, so that nothing that is written about the connection, by whoever
and in whatever order, can undo it, and compaction never takes it away.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

from schemas.connection import Connection

_REVOKED: Final = "revoked"
_ACCESS: Final = "access"
_PART: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


class Writer(StrEnum):
    """Who wrote a record last."""

    FILE = "file"
    COMMAND = "command"
    CONNECT = "connect"


class ConnectionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, and who has said so.

    `file_digest` is of the configuration file's entry when the file last had its say.
    """

    connection: Connection
    written_by: Writer
    changed_at_us: int
    changed_by: str = ""
    file_digest: str = ""


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, or the secret of it that `secret_name` names, is accepted no more."""

    environment: str
    connection: str
    secret_name: str = ""
    revoked_at_us: int
    revoked_by: str = ""


class RecordKey(msgspec.Struct, frozen=True):
    """A record's key: `environment/connection`, and behind it for a revocation
    `/revoked[/secret]`, for the access to its system `/access`, which older gateways ignore.

    The environment is in it so that two environments that share a topic by mistake never write
    over each other's connections.
    """

    environment: str
    connection: str
    revocation: bool = False
    secret_name: str = ""
    access: bool = False

    def encode(self) -> bytes:
        """As Kafka has it."""
        parts = [self.environment, self.connection]
        if self.access:
            parts.append(_ACCESS)
        elif self.revocation:
            parts += [_REVOKED, *([self.secret_name] if self.secret_name else [])]
        return "/".join(parts).encode()

    @classmethod
    def decode(cls, key: bytes | None) -> RecordKey | None:
        """The key, or None if it is not of this form."""
        try:
            parts = (key or b"").decode("ascii").split("/")
        except UnicodeDecodeError:
            return None
        if not 2 <= len(parts) <= 4 or not all(map(_PART.fullmatch, parts)):
            return None
        if len(parts) == 2:
            return cls(parts[0], parts[1])
        if parts[2:] == [_ACCESS]:
            return cls(parts[0], parts[1], access=True)
        if parts[2] != _REVOKED:
            return None
        return cls(parts[0], parts[1], True, parts[3] if len(parts) == 4 else "")
