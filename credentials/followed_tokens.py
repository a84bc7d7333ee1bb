"""The tokens as a process follows them on their topic: what is taken away counts at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from credentials.token_ledger import TokenLedger, TokenStanding
from schemas.access_codec import TOKEN_USE
from schemas.api_token import ApiToken, TokenKey, TokenRecord, TokenUse

MINUTE_US: Final = 60_000_000


class FollowedTokens:
    """Is told of the topic's records by a follower's thread; others ask it.

    While Kafka is away it goes on with what it knows: then above all the console is needed.
    """

    def __init__(self, environment: str, reason: Callable[[], str] = lambda: "") -> None:
        """`reason`: why nothing can be read now."""
        self.environment = environment
        self.reason = reason
        self._ledger = TokenLedger(environment)
        self._reading = self._ledger
        self._known = False

    @property
    def problem(self) -> str:
        """Why the tokens are not known yet; empty from the first time that all were read."""
        return "" if self._known else self.reason() or "the tokens topic is being read"

    def token(self, token_id: str) -> ApiToken | None:
        """As it was written."""
        return self._ledger.token(token_id)

    def standing(self, token_id: str, now_us: int) -> TokenStanding | None:
        """What it is at a time."""
        return self._ledger.standing(token_id, now_us)

    def used_us(self, token_id: str) -> int:
        """When it was last used, as the topic has it."""
        return self._ledger.used_us(token_id)

    def ids(self) -> list[str]:
        """All that there are."""
        return self._ledger.ids()

    def began(self, anew: bool) -> None:
        """Of the follower: it reads from the beginning; what was known stands until it is through.

        Also of a topic that was made anew: it has lost the tokens with their revocations.
        """
        self._reading = TokenLedger(self.environment)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """Of the follower: a record."""
        self._reading.apply(key, value, offset)
        if self._reading is not self._ledger and value is not None:
            parsed = TokenKey.decode(key)
            if parsed is not None and parsed.record is TokenRecord.REVOCATION:
                self._ledger.apply(key, value, offset)

    def ended(self, offset: int) -> None:
        """Of the follower: that was all for now."""
        self._ledger = self._reading
        self._known = True


class LastUses:
    """Which tokens were used, for records of at most one a minute for each: not a write a request.

    Nothing is lost but the last minute, should the process die; a token's use is a help in finding
    those that nobody needs, not a proof.
    """

    def __init__(self, environment: str, used_in: str, now_us: Callable[[], int]) -> None:
        self._environment = environment
        self._used_in = used_in
        self._now_us = now_us
        self._lock = threading.Lock()
        self._noted: dict[str, int] = {}
        self._written: dict[str, int] = {}

    def note(self, token_id: str) -> None:
        """A token that counts was used now."""
        minute_us = self._now_us() // MINUTE_US * MINUTE_US
        with self._lock:
            if self._written.get(token_id) != minute_us:
                self._noted[token_id] = minute_us

    def take(self) -> list[tuple[bytes, bytes]]:
        """The records that are due, each given once. To be asked every minute."""
        with self._lock:
            noted, self._noted = self._noted, {}
            # Only the minute that goes on can be noted again.
            self._written = noted
        return [
            (
                TokenKey(self._environment, token_id, TokenRecord.USE).encode(),
                TOKEN_USE.encode(
                    TokenUse(
                        environment=self._environment,
                        id=token_id,
                        used_at_us=used_us,
                        used_in=self._used_in,
                    )
                ),
            )
            for token_id, used_us in noted.items()
        ]
