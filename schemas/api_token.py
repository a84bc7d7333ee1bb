"""What the tokens topic holds: for each API token a record, its revocation, and its last use.

Each has a key of its own, so that neither a rotation nor a late note of a use undoes a revocation.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

DIGEST_BYTES: Final = 32
#: Random letters and digits in the public part of a token.
ID_CHARS: Final = 8

_ENVIRONMENT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_ID: Final = re.compile(rf"[A-Za-z0-9]{{{ID_CHARS}}}", re.ASCII)


class Scope(StrEnum):
    """What a token may do. None includes another; one that a later build knows grants nothing."""

    EVENTS_READ = "events:read"
    PAYLOADS_READ = "payloads:read"
    DEAD_LETTERS_WRITE = "dead-letters:write"
    CONNECTIONS_WRITE = "connections:write"
    ALERTS_WRITE = "alerts:write"
    TOKENS_WRITE = "tokens:write"
    AUDIT_READ = "audit:read"


#: For help texts and pages.
SCOPE_MEANINGS: Final[dict[Scope, str]] = {
    Scope.EVENTS_READ: "see figures, connections, events, requests, dead letters, alerts",
    Scope.PAYLOADS_READ: "see headers and payloads, redacted",
    Scope.DEAD_LETTERS_WRITE: "redrive and discard dead letters, retry parked keys",
    Scope.CONNECTIONS_WRITE: "change, pause, revoke connections and their secrets' references",
    Scope.ALERTS_WRITE: "silence alerts",
    Scope.TOKENS_WRITE: "make and revoke API tokens, with no scope that it has not itself",
    Scope.AUDIT_READ: "see the audit log",
}


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """One token. `digest` is SHA-256 of the whole; itself it is nowhere but with its owner."""

    id: str
    environment: str
    name: str = ""
    digest: bytes
    scopes: tuple[str, ...] = ()
    created_at_us: int
    created_by: str = ""
    expires_at_us: int
    rotated_from: str = ""
    rotated_to: str = ""

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise ValueError(f"a token's digest has {DIGEST_BYTES} bytes, not {len(self.digest)}")


class TokenRevocation(msgspec.Struct, frozen=True, kw_only=True):
    """A token is accepted no more."""

    environment: str
    id: str
    revoked_at_us: int
    revoked_by: str = ""


class TokenUse(msgspec.Struct, frozen=True, kw_only=True):
    """When a token was last used, to the minute, and in which kind of process."""

    environment: str
    id: str
    used_at_us: int
    used_in: str = ""


class TokenRecord(StrEnum):
    """What a key's record is about the token."""

    TOKEN = ""
    REVOCATION = "revoked"
    USE = "used"


class TokenKey(msgspec.Struct, frozen=True):
    """A record's key: `environment/id`, with `/revoked` or `/used` behind it for these two."""

    environment: str
    id: str
    record: TokenRecord = TokenRecord.TOKEN

    def encode(self) -> bytes:
        """As Kafka has it."""
        return "/".join(filter(None, (self.environment, self.id, self.record))).encode()

    @classmethod
    def decode(cls, key: bytes | None) -> TokenKey | None:
        """The key, or None if it is not of this form."""
        try:
            environment, token_id, *rest = (key or b"").decode("ascii").split("/")
            record = TokenRecord(rest[0]) if rest else TokenRecord.TOKEN
        except ValueError:
            return None
        if len(rest) > 1 or (rest and not rest[0]):
            return None
        if not (_ENVIRONMENT.fullmatch(environment) and _ID.fullmatch(token_id)):
            return None
        return cls(environment, token_id, record)
