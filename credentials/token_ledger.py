"""What the tokens topic says, record by record: pure, no Kafka, no clock.

A revocation has the last word whatever order the records come in, and a record that cannot be read
lets nobody in.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final

from schemas.access_codec import API_TOKEN, TOKEN_USE
from schemas.api_token import ApiToken, TokenKey, TokenRecord
from schemas.errors import CodecError

#: Of one environment; a record of one more is not taken, and said.
MAX_TOKENS: Final = 10_000


class TokenStanding(StrEnum):
    """What a token is, all its records together."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    UNREADABLE = "unreadable"


class TokenLedger:
    """All tokens of one environment. One thread applies, others may read."""

    #: Nothing is in the way of reading what is here; of `Tokens`.
    problem = ""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.next_offset = 0
        #: Records that are none of ours, by what they are: an environment, or what is wrong.
        self.foreign: Counter[str] = Counter()
        self._tokens: dict[str, ApiToken | None] = {}
        self._revoked: set[str] = set()
        self._used_us: dict[str, int] = {}

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> str | None:
        """Take a record; the id of the token that it is about, None if it is not ours."""
        self.next_offset = max(self.next_offset, offset + 1)
        parsed = TokenKey.decode(key)
        if parsed is None:
            self.foreign["a key that is none of ours"] += 1
            return None
        if parsed.environment != self.environment:
            self.foreign[parsed.environment] += 1
            return None
        known = parsed.id in self._tokens or parsed.id in self._revoked
        if not known and value is not None and len(self._tokens) >= MAX_TOKENS:
            # A revocation too: what has no place here is let in nowhere.
            self.foreign[f"beyond {MAX_TOKENS} tokens"] += 1
            return None
        if parsed.record is TokenRecord.TOKEN:
            self._token(parsed.id, value)
        elif parsed.record is TokenRecord.REVOCATION:
            # The key alone says it: a revocation that cannot be read is one all the same.
            (self._revoked.discard if value is None else self._revoked.add)(parsed.id)
        elif known:
            self._use(parsed.id, value)
        return parsed.id

    def _token(self, token_id: str, value: bytes | None) -> None:
        if value is None:
            self._tokens.pop(token_id, None)
            self._used_us.pop(token_id, None)
            return
        try:
            token = API_TOKEN.decode(value)
        except CodecError:
            self._tokens[token_id] = None
            return
        ours = (token.environment, token.id) == (self.environment, token_id)
        self._tokens[token_id] = token if ours else None

    def _use(self, token_id: str, value: bytes | None) -> None:
        try:
            used_us = TOKEN_USE.decode(value or b"").used_at_us
        except CodecError:
            return
        self._used_us[token_id] = max(used_us, self._used_us.get(token_id, 0))

    def ids(self) -> list[str]:
        """Every token that there is a record of, whatever its standing."""
        return list(self._tokens)

    def token(self, token_id: str) -> ApiToken | None:
        """As it was written; None if there is none, or none that can be read."""
        return self._tokens.get(token_id)

    def standing(self, token_id: str, now_us: int) -> TokenStanding | None:
        """What it is at a time; None if there is no record of it."""
        if token_id in self._revoked:
            return TokenStanding.REVOKED
        if token_id not in self._tokens:
            return None
        token = self._tokens[token_id]
        if token is None:
            return TokenStanding.UNREADABLE
        return TokenStanding.EXPIRED if now_us >= token.expires_at_us else TokenStanding.ACTIVE

    def used_us(self, token_id: str) -> int:
        """When it was last used, to the minute; 0 if it is not known to have been."""
        return self._used_us.get(token_id, 0)
