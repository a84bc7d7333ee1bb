"""Sessions of the console: kept here in memory, bounded; a browser holds a random id and no more.

A session says which token it is of, and nothing of what that may do: this is asked anew at each
request, so a revoked or expired token ends its sessions by itself. A restart signs everybody out.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from credentials.token_check import Admission
from schemas.api_token import Scope

MAX_SESSIONS: Final = 1_000
MAX_OF_A_TOKEN: Final = 20
IDLE_S: Final = 12 * 3600.0
MAX_AGE_S: Final = 7 * 86_400.0


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One browser that has signed in."""

    token_id: str
    csrf: str
    began_s: float


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who has sent a request: a token that counts, in a session or by itself (no `csrf` then)."""

    admission: Admission
    csrf: str = ""
    from_where: str = ""

    def may(self, scope: Scope) -> bool:
        """Whether its token has this scope."""
        return self.admission.may(scope)


class Sessions:
    """Those that are open. Times are of a monotonic clock, in s."""

    def __init__(
        self,
        *,
        max_sessions: int = MAX_SESSIONS,
        max_of_a_token: int = MAX_OF_A_TOKEN,
        idle_s: float = IDLE_S,
        max_age_s: float = MAX_AGE_S,
        random: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        self._max_sessions = max_sessions
        self._max_of_a_token = max_of_a_token
        self._idle_s = idle_s
        self._max_age_s = max_age_s
        self._random = random
        # By digest, used last at the end: the ids themselves are with their browsers only, and a
        # look-up by digest takes no time that tells of an id.
        self._open: OrderedDict[bytes, tuple[Session, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, token_id: str, now_s: float) -> tuple[str, Session]:
        """A new session and its id; the one that was idle longest makes room if there must be."""
        of_token = [key for key, (one, _) in self._open.items() if one.token_id == token_id]
        if len(of_token) >= self._max_of_a_token:
            del self._open[of_token[0]]
        elif len(self._open) >= self._max_sessions:
            self._open.popitem(last=False)
        session_id = self._random()
        session = Session(token_id=token_id, csrf=self._random(), began_s=now_s)
        self._open[_key(session_id)] = (session, now_s)
        return session_id, session

    def find(self, session_id: str, now_s: float) -> Session | None:
        """The session, used now; None if there is none or it is too old."""
        key = _key(session_id)
        found = self._open.get(key)
        if found is None:
            return None
        session, used_s = found
        if now_s - used_s > self._idle_s or now_s - session.began_s > self._max_age_s:
            del self._open[key]
            return None
        self._open[key] = (session, now_s)
        self._open.move_to_end(key)
        return session

    def end(self, session_id: str) -> None:
        """It is none any more."""
        self._open.pop(_key(session_id), None)

    def end_of(self, token_id: str) -> None:
        """No session of this token is one any more."""
        for key in [key for key, (one, _) in self._open.items() if one.token_id == token_id]:
            del self._open[key]


def _key(session_id: str) -> bytes:
    return sha256(session_id.encode("utf-8", "surrogatepass")).digest()
