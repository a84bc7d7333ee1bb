"""Connect sessions on their compacted topic: followed by every replica, written by whoever acts.

The revision decides: of two that build upon the same one, the record that is first on the topic
counts, for everybody. Who wrote the other one finds that out when reading back, and makes the
winner's record the last again, since compaction keeps the last.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import uuid4

import msgspec

from producer.connect.reached import Reached
from producer.connect.session import Session, from_record
from producer.connections.clients import TopicAccess, TopicWriter
from producer.connections.follower import Follower
from schemas.connect_codec import CONNECT_SESSION
from schemas.connect_session import SessionKey
from schemas.errors import CodecError, TopicError

log = logging.getLogger("hookline.connect")

#: Of one environment, the ended ones of the last hour among them.
MAX_SESSIONS: Final = 10_000
_COUNTED: Final = 4_096
_READ_BACK_S: Final = 10.0
_KEEP_US: Final = 86_400_000_000


class Kept(msgspec.Struct, frozen=True):
    """A session as a record told it."""

    session: Session
    writer: str
    offset: int


class SessionLedger:
    """The sessions of one environment, the record of each that counts. Pure."""

    def __init__(self, environment: str, now_us: Callable[[], int]) -> None:
        self._environment = environment
        self._now_us = now_us
        self.kept: dict[str, Kept] = {}
        self.ignored = 0
        #: The offsets of the last records that counted, the oldest first.
        self.counted: dict[int, None] = {}

    def apply(self, key: bytes | None, value: bytes | None, offset: int) -> str | None:
        """Take a record; the id of the session that it changes, None if it changes none."""
        parsed = SessionKey.decode(key)
        if parsed is None or parsed.environment != self._environment:
            return None
        if value is None:
            return parsed.id if self.kept.pop(parsed.id, None) is not None else None
        try:
            record = CONNECT_SESSION.decode(value)
            session = from_record(record)
        except CodecError as error:
            self.ignored += 1
            log.warning("a connect session cannot be read", extra={"data": {"why": str(error)}})
            return None
        known = self.kept.get(parsed.id)
        if (session.id, session.environment) != (parsed.id, self._environment):
            return None
        if known is not None and session.flow.revision <= known.session.flow.revision:
            return None
        if known is None and len(self.kept) >= MAX_SESSIONS and not self._forget():
            self.ignored += 1
            return None
        self.kept[parsed.id] = Kept(session, record.writer, offset)
        self.counted[offset] = None
        if len(self.counted) > _COUNTED:
            del self.counted[next(iter(self.counted))]
        return parsed.id

    def _forget(self) -> bool:
        """Those that have ended and left nothing behind, and what nobody can want any more."""
        now_us = self._now_us()
        for name, one in list(self.kept.items()):
            over = one.session.expires_at_us
            clean = one.session.flow.ended and not one.session.flow.left_over
            if over < now_us - _KEEP_US or (clean and over < now_us):
                del self.kept[name]
        return len(self.kept) < MAX_SESSIONS


class SessionStore:
    """From `start` to `stop`; its async methods are for one event loop."""

    def __init__(self, access: TopicAccess, environment: str, now_us: Callable[[], int]) -> None:
        self._access = access
        self._environment = environment
        self._now_us = now_us
        self._lock = threading.Lock()
        self._reading = SessionLedger(environment, now_us)
        self._ledger: SessionLedger | None = None
        self._follower = Follower(access, self, expires=True)
        self._reached = Reached()
        self._writer: TopicWriter | None = None
        # One writes after the other: a TopicWriter's records are in order.
        self._pool = ThreadPoolExecutor(1, "hookline-connect-write")
        self._mine = uuid4().hex

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()

    def stop(self, within_s: float) -> None:
        """End."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._follower.stop(within_s)

    def live(self) -> tuple[bool, str]:
        """False when only a new process helps, and why."""
        alive = self._follower.alive
        return alive, "" if alive else "connect sessions are followed no more"

    @property
    def problem(self) -> str:
        """Why the sessions are not known yet; empty once they are."""
        return "" if self._ledger is not None else self._follower.problem or "they are being read"

    def get(self, session_id: str) -> Session | None:
        """One of them as it is now; TopicError while they are not known."""
        with self._lock:
            kept = self._known().kept.get(session_id)
        return kept.session if kept is not None else None

    def all(self) -> list[Session]:
        """All that are remembered; TopicError while they are not known."""
        with self._lock:
            return [kept.session for kept in self._known().kept.values()]

    def _known(self) -> SessionLedger:
        if self._ledger is None:
            raise TopicError(f"connect sessions are not known: {self.problem}")
        return self._ledger

    async def put(self, session: Session) -> bool:
        """Whether this revision counts: it is read back, and another did not come first.

        NotAcknowledged if it is not known whether it is there.
        """
        with self._lock:
            known = self._known().kept.get(session.id)
            full = known is None and len(self._known().kept) >= MAX_SESSIONS
            if full and not self._known()._forget():
                raise TopicError(f"there are {MAX_SESSIONS} connect sessions, the most of them")
        self._reached.bind()
        writer = f"{self._mine}-{uuid4().hex[:8]}"
        offset = await self._write(session, writer)
        await self._reached.past(offset, _READ_BACK_S)
        with self._lock:
            now, won = self._known().kept.get(session.id), offset in self._known().counted
        if won:
            return True
        if now is not None and now.session.flow.revision <= session.flow.revision:
            # Between here and there a crash would leave the loser as the last of its key; the next
            # change of the session mends that, too.
            await self._write(now.session, now.writer)
        return False

    async def turn(self) -> None:
        """Wait until anything has changed."""
        await self._reached.turn()

    async def _write(self, session: Session, writer: str) -> int:
        value = CONNECT_SESSION.encode(session.to_record(writer))
        key = SessionKey(self._environment, session.id).encode()
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, self._write_now, key, value
        )

    def _write_now(self, key: bytes, value: bytes) -> int:
        if self._writer is None:
            writer = self._access.writer()
            if problem := self._access.problem(writer.producer, 5.0):
                raise TopicError(problem)
            self._writer = writer
        return self._writer.write(key, value)

    # What the follower tells, on its thread.

    def began(self, anew: bool) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._reading = SessionLedger(self._environment, self._now_us)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._reading.apply(key, value, offset)
            current = self._reading is self._ledger
        if current:
            self._reached.moved(offset + 1)

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._ledger = self._reading
        self._reached.moved(offset)
