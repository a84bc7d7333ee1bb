"""Makes, rotates and revokes API tokens: what is written to their topic, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from credentials.api_token import make_token
from credentials.secret import Secret
from credentials.token_ledger import MAX_TOKENS, TokenLedger, TokenStanding
from schemas.access_codec import API_TOKEN, TOKEN_REVOCATION
from schemas.api_token import ApiToken, Scope, TokenKey, TokenRecord, TokenRevocation
from schemas.errors import ConfigurationError

DAY_US: Final = 86_400_000_000
MAX_LIFE_US: Final = 366 * DAY_US
MAX_NAME_CHARS: Final = 100
#: How long what counts no more is kept to be looked at.
KEPT_US: Final = 90 * DAY_US
_FORGOTTEN_AT_ONCE: Final = 100


class TokensTopic(Protocol):
    """Where records go."""

    def write_all(self, records: Sequence[tuple[bytes, bytes | None]]) -> int:
        """The last one's offset once all are safe; HooklineError if they may not be."""


class TokenEditor:
    """Changes to the tokens of one environment. `ledger` has read all that there is."""

    def __init__(
        self, ledger: TokenLedger, topic: TokensTopic, by: str, now_us: Callable[[], int]
    ) -> None:
        self._ledger = ledger
        self._topic = topic
        self._by = by
        self._now_us = now_us

    def create(
        self, name: str, scopes: Iterable[str], expires_at_us: int, rotated_from: str = ""
    ) -> tuple[Secret, ApiToken]:
        """A new token, to be shown once, and its record; ConfigurationError if it may not be."""
        now_us = self._now_us()
        wanted = tuple(sorted(set(scopes)))
        _may_be(name, wanted, expires_at_us, now_us)
        self._forget(now_us)
        if len(self._ledger.ids()) >= MAX_TOKENS:
            raise ConfigurationError(
                f"there are {MAX_TOKENS} API tokens in {self._ledger.environment}, the most there "
                "may be: what expired or was revoked goes after 90 days"
            )
        while True:
            secret, made = make_token(self._ledger.environment)
            if made.id not in self._ledger.ids():
                break
        token = ApiToken(
            id=made.id,
            environment=self._ledger.environment,
            name=name,
            digest=made.digest,
            scopes=wanted,
            created_at_us=now_us,
            created_by=self._by,
            expires_at_us=expires_at_us,
            rotated_from=rotated_from,
        )
        self._write([(self._key(token.id), API_TOKEN.encode(token))])
        return secret, token

    def rotate(
        self, token_id: str, overlap_us: int, expires_at_us: int | None = None
    ) -> tuple[Secret, ApiToken, ApiToken]:
        """A new token of the same name and scopes, its record, and the old one's, which ends soon.

        The new one first: should this process die in between, both count and neither is missed.
        """
        now_us = self._now_us()
        old = self.active(token_id)
        life_us = min(old.expires_at_us - old.created_at_us, MAX_LIFE_US)
        if expires_at_us is None:
            expires_at_us = now_us + life_us
        # A scope that this build does not know stays out: it could not say what it hands on.
        known = [scope for scope in old.scopes if scope in set(Scope)]
        secret, token = self.create(old.name, known, expires_at_us, rotated_from=old.id)
        ending = replace(
            old, expires_at_us=min(old.expires_at_us, now_us + overlap_us), rotated_to=token.id
        )
        self._write([(self._key(old.id), API_TOKEN.encode(ending))])
        return secret, token, ending

    def revoke(self, token_id: str) -> None:
        """It is accepted no more, whatever its record says, and also if that cannot be read."""
        revocation = TokenRevocation(
            environment=self._ledger.environment,
            id=token_id,
            revoked_at_us=self._now_us(),
            revoked_by=self._by,
        )
        key = self._key(token_id, TokenRecord.REVOCATION)
        self._write([(key, TOKEN_REVOCATION.encode(revocation))])

    def active(self, token_id: str) -> ApiToken:
        """A token that counts; ConfigurationError with the next step for any other."""
        token, standing = (
            self._ledger.token(token_id),
            self._ledger.standing(token_id, self._now_us()),
        )
        if standing is None:
            raise ConfigurationError(
                f"there is no API token {token_id!r} in {self._ledger.environment}: `hookline "
                "tokens list` shows their ids"
            )
        if token is None or standing is not TokenStanding.ACTIVE:
            raise ConfigurationError(
                f"API token {token_id} is {standing.value}: make another with `hookline tokens "
                "create`"
            )
        return token

    def _forget(self, now_us: int) -> None:
        """Take away what has long counted for nothing; the token first, so that it never does."""
        records: list[tuple[bytes, bytes | None]] = []
        for token_id in self._ledger.ids():
            token = self._ledger.token(token_id)
            if token is not None and now_us - token.expires_at_us > KEPT_US:
                records += [(self._key(token_id, record), None) for record in TokenRecord]
        if records:
            self._write(records[: _FORGOTTEN_AT_ONCE * len(TokenRecord)])

    def _key(self, token_id: str, record: TokenRecord = TokenRecord.TOKEN) -> bytes:
        return TokenKey(self._ledger.environment, token_id, record).encode()

    def _write(self, records: list[tuple[bytes, bytes | None]]) -> None:
        last = self._topic.write_all(records)
        for key, value in records:
            self._ledger.apply(key, value, last)


def _may_be(name: str, scopes: tuple[str, ...], expires_at_us: int, now_us: int) -> None:
    problems = []
    if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME_CHARS):
        problems.append(f"--name: say what it is for, in 1 to {MAX_NAME_CHARS} characters")
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        problems.append(
            f"--scopes: {', '.join(map(repr, unknown)) + ' is none; ' if unknown else ''}"
            f"there are {', '.join(Scope)}"
        )
    if expires_at_us <= now_us:
        problems.append("--expires is in the past: write a time to come, such as +90d")
    elif expires_at_us - now_us > MAX_LIFE_US:
        problems.append(
            "--expires: a token lives for 366 days at most; `hookline tokens rotate` gives the "
            "next one with an overlap"
        )
    if problems:
        raise ConfigurationError(problems)
