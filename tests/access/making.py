"""Tokens, and a ledger that has them, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from credentials.api_token import make_token
from credentials.secret import Secret
from credentials.token_ledger import TokenLedger
from schemas.access_codec import API_TOKEN
from schemas.api_token import ApiToken, Scope, TokenKey, TokenRecord

ENVIRONMENT: Final = "test"
NOW_US: Final = 1_800_000_000_000_000
HOUR_US: Final = 3_600_000_000


def issue(
    ledger: TokenLedger,
    scopes: Iterable[str] = Scope,
    *,
    name: str = "a test",
    expires_at_us: int = NOW_US + HOUR_US,
) -> tuple[Secret, str]:
    """A token that the ledger knows from now on, and its id."""
    secret, made = make_token(ledger.environment)
    token = ApiToken(
        id=made.id,
        environment=ledger.environment,
        name=name,
        digest=made.digest,
        scopes=tuple(map(str, scopes)),
        created_at_us=NOW_US,
        expires_at_us=expires_at_us,
    )
    ledger.apply(TokenKey(ledger.environment, made.id).encode(), API_TOKEN.encode(token), 0)
    return secret, made.id


def revoke(ledger: TokenLedger, token_id: str) -> None:
    """What a revocation does to a ledger."""
    key = TokenKey(ledger.environment, token_id, TokenRecord.REVOCATION)
    ledger.apply(key.encode(), b"", 0)
