"""What the connect-sessions topic holds: of each connect session one record, the newest counts.

`revision` decides between two writers: a record counts only if its revision is above that of the
one before it on the topic, so of two that build upon the same one the first is the one that counts.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

DIGEST_BYTES: Final = 32
#: Small letters and digits: the id is part of secrets' names, where some backends know no capitals.
ID_CHARS: Final = 12

_ENVIRONMENT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_ID: Final = re.compile(rf"[0-9a-z]{{{ID_CHARS}}}", re.ASCII)


class ConnectSession(msgspec.Struct, frozen=True, kw_only=True):
    """One session. `digest` is SHA-256 of its token; `flow` is the flow's state as JSON.

    `systems` are those that may be chosen, all if empty; `system` skips choosing. `origin` is that
    of the page that embeds the component, `writer` tells apart who wrote a revision.
    """

    id: str
    environment: str
    digest: bytes
    tenant: str
    connection_id: str = ""
    systems: tuple[str, ...] = ()
    system: str = ""
    label: str = ""
    locale: str = ""
    origin: str = ""
    created_at_us: int
    created_by: str = ""
    expires_at_us: int
    revision: int
    writer: str
    flow: str

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise ValueError(f"a token's digest has {DIGEST_BYTES} bytes, not {len(self.digest)}")


class SessionKey(msgspec.Struct, frozen=True):
    """A record's key: `environment/session id`."""

    environment: str
    id: str

    def encode(self) -> bytes:
        """As Kafka has it."""
        return f"{self.environment}/{self.id}".encode()

    @classmethod
    def decode(cls, key: bytes | None) -> SessionKey | None:
        """The key, or None if it is not of this form."""
        try:
            environment, session_id = (key or b"").decode("ascii").split("/")
        except ValueError:
            return None
        if not (_ENVIRONMENT.fullmatch(environment) and _ID.fullmatch(session_id)):
            return None
        return cls(environment, session_id)
