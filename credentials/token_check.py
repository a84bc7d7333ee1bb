"""Who is let in, and to what: the one place that says so, for every caller and every process.

Nothing else compares a digest, an environment, an expiry or a scope.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from credentials.api_token import parse_token
from credentials.token_ledger import TokenStanding
from schemas.api_token import ApiToken, Scope
from schemas.errors import ScopeMissing, TokenOfOtherEnvironment, TokenRefused, TokensUnknown

_NO_DIGEST: Final = bytes(32)


class Tokens(Protocol):
    """The tokens of one environment, as `TokenLedger` and what keeps one up to date have them."""

    @property
    def environment(self) -> str:
        """Whose tokens they are."""

    @property
    def problem(self) -> str:
        """Why they are not known yet, with the next step; empty once they have been read."""

    def token(self, token_id: str) -> ApiToken | None:
        """As it was written."""

    def standing(self, token_id: str, now_us: int) -> TokenStanding | None:
        """What it is at a time."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A token that counts, as those know it who act for its owner."""

    token_id: str
    name: str
    environment: str
    scopes: frozenset[str]
    expires_at_us: int

    def may(self, scope: Scope) -> bool:
        """Whether it has this scope."""
        return scope in self.scopes


def admit(tokens: Tokens, presented: str, now_us: int) -> Admission:
    """Let in who presents this; TokenRefused, or TokensUnknown while the topic is not read."""
    found = parse_token(presented.strip())
    if found.environment != tokens.environment:
        raise TokenOfOtherEnvironment(
            f"this API token is of environment {found.environment}, and this is "
            f"{tokens.environment}: use it there, or make one for here with `hookline tokens "
            f"create --environment {tokens.environment}`",
            "environment",
        )
    if tokens.problem:
        raise TokensUnknown(f"which API tokens there are is not known yet: {tokens.problem}")
    token = tokens.token(found.id)
    # Compared in any case, so that the time does not tell which ids there are.
    right = hmac.compare_digest(token.digest if token is not None else _NO_DIGEST, found.digest)
    if token is None or not right:
        raise TokenRefused(
            f"this API token is not known in {tokens.environment}: make one with `hookline tokens "
            "create`",
            "unknown",
        )
    return again(tokens, found.id, now_us)


def again(tokens: Tokens, token_id: str, now_us: int) -> Admission:
    """Whether a token that was let in counts still; TokenRefused if not."""
    token, standing = tokens.token(token_id), tokens.standing(token_id, now_us)
    if standing is TokenStanding.REVOKED:
        raise TokenRefused(
            f"API token {token_id} was revoked: make one with `hookline tokens create`", "revoked"
        )
    if token is None or standing is None:
        raise TokenRefused(
            f"API token {token_id} is not there any more: make one with `hookline tokens create`",
            "unknown",
        )
    if standing is TokenStanding.EXPIRED:
        expired = datetime.fromtimestamp(token.expires_at_us / 1e6, UTC)
        raise TokenRefused(
            f"API token {token_id} counted until {expired:%Y-%m-%d %H:%M} UTC: make one with "
            "`hookline tokens create`",
            "expired",
        )
    return Admission(
        token_id=token.id,
        name=token.name,
        environment=token.environment,
        scopes=frozenset(token.scopes),
        expires_at_us=token.expires_at_us,
    )


def require(admission: Admission, scope: Scope) -> None:
    """ScopeMissing, with the next step, if the token does not have it."""
    if not admission.may(scope):
        raise ScopeMissing(
            f"API token {admission.token_id} ({admission.name}) has no scope {scope.value}: "
            f"sign in with one that has it, such as from `hookline tokens create --scopes "
            f"{','.join(sorted({*admission.scopes, scope.value}))}`"
        )


def may_grant(admission: Admission, scopes: frozenset[str]) -> None:
    """ScopeMissing if a token would get a scope that its maker does not have."""
    require(admission, Scope.TOKENS_WRITE)
    if beyond := sorted(scopes - admission.scopes):
        raise ScopeMissing(
            f"API token {admission.token_id} has no {', '.join(beyond)} itself, so it cannot give "
            "that to another"
        )
