"""Answers that are given again to a request with the same Idempotency-Key, by every replica.

A key is taken by a record on the connect-sessions topic, and the first one on the topic has it. The
answer is kept there sealed: its key is made from the API token that the caller presents each time
and that is kept nowhere, since an answer may hold a connect session's token.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from console.api.answer_ledger import AnswerLedger
from schemas.api_answer import REQUEST_BYTES, AnswerKey, AnswerPhase, ApiAnswer
from schemas.connect_codec import API_ANSWER
from schemas.errors import HooklineError, TopicError

log = logging.getLogger("hookline.api")

MAX_ANSWER_BYTES: Final = 65_536
_READ_BACK_S: Final = 10.0
_NONCE_BYTES: Final = 12


class AnswerTopic(Protocol):
    """Where records go."""

    def write(self, key: bytes, value: bytes | None) -> int:
        """The record's offset once it is safe; HooklineError if it may not be."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request with a key: of whom, under which key, for what; and what seals its answer."""

    token_id: str
    presented: str
    key: str
    method: str
    path: str
    body: bytes

    def __repr__(self) -> str:
        return f"Asked({self.token_id}, {self.method} {self.path})"

    @property
    def id(self) -> str:
        """Of its record."""
        return _digest(self.token_id.encode(), self.key.encode()).hex()

    @property
    def request(self) -> bytes:
        """What tells another request with the same key from this one."""
        return _digest(self.method.encode(), self.path.encode(), self.body)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The key is ours: do what is asked, then `done` or `released`."""

    asked: Asked
    writer: str


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered before."""

    status: int
    body: bytes

    def __repr__(self) -> str:
        return f"KeptAnswer({self.status})"


class InProgress(Exception):
    """The same request is under way, here or elsewhere."""


class OtherRequest(Exception):
    """The key was used for another request."""


class Unsealable(Exception):
    """There is an answer, and it cannot be opened: it was kept by another key of the token."""


class KeptAnswers:
    """A follower's listener; `take`, `done` and `released` wait for Kafka and are for threads."""

    def __init__(
        self,
        topic: AnswerTopic,
        environment: str,
        *,
        reason: Callable[[], str] = lambda: "",
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """`reason`: why the topic cannot be read now."""
        self._topic = topic
        self.environment = environment
        self.reason = reason
        self._now_us = now_us
        self._came = threading.Condition()
        self._reading = AnswerLedger(environment)
        self._known: AnswerLedger | None = None

    # What the follower tells, on its thread.

    def began(self, anew: bool) -> None:
        """See `follower.Listener`."""
        with self._came:
            self._reading = AnswerLedger(self.environment)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        with self._came:
            self._reading.apply(key, value, offset)
            self._came.notify_all()

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        with self._came:
            self._known = self._reading
            self._known.next_offset = max(self._known.next_offset, offset)
            self._came.notify_all()

    # What requests ask.

    def take(self, asked: Asked) -> Taken | KeptAnswer:
        """Take the key, or what was answered; InProgress, OtherRequest, Unsealable; TopicError."""
        with self._came:
            found = self._ledger().get(asked.id, self._now_us())
        if found is not None:
            return self._before(asked, found)
        mine = self._record(asked, secrets.token_hex(8), AnswerPhase.STARTED)
        offset = self._write(mine)
        with self._came:
            seen = self._came.wait_for(
                lambda: self._known is not None and self._known.next_offset > offset, _READ_BACK_S
            )
            found = self._ledger().get(asked.id, self._now_us())
        if not seen:
            raise TopicError("the Idempotency-Key could not be taken in time: try again")
        if found is not None and found.writer == mine.writer:
            return Taken(asked=asked, writer=mine.writer)
        if found is not None and found.phase is AnswerPhase.DONE:
            # Ours is the newest on the topic, and compaction would keep that one alone.
            self._write(found)
        if found is None:
            raise InProgress
        return self._before(asked, found)

    def done(self, taken: Taken, answer: KeptAnswer) -> None:
        """Keep the answer. Never raises, since what was asked has been done: without a record the
        key stays taken for two minutes."""
        if len(answer.body) > MAX_ANSWER_BYTES:
            log.error(
                "an answer is too large to be kept", extra={"data": {"bytes": len(answer.body)}}
            )
            return
        nonce = secrets.token_bytes(_NONCE_BYTES)
        asked = taken.asked
        sealed = nonce + _cipher(asked).encrypt(nonce, answer.body, asked.id.encode())
        self._try(self._record(asked, taken.writer, AnswerPhase.DONE, answer.status, sealed))

    def released(self, taken: Taken) -> None:
        """Nothing was done: the key may be used for another try. Never raises."""
        self._try(self._record(taken.asked, taken.writer, AnswerPhase.RELEASED))

    def _before(self, asked: Asked, found: ApiAnswer) -> KeptAnswer:
        if not hmac.compare_digest(found.request, asked.request):
            raise OtherRequest
        if found.phase is AnswerPhase.STARTED:
            raise InProgress
        nonce, sealed = found.sealed[:_NONCE_BYTES], found.sealed[_NONCE_BYTES:]
        try:
            body = _cipher(asked).decrypt(nonce, sealed, asked.id.encode())
        except (InvalidTag, ValueError):
            raise Unsealable from None
        return KeptAnswer(status=found.status, body=body)

    def _record(
        self, asked: Asked, writer: str, phase: AnswerPhase, status: int = 0, sealed: bytes = b""
    ) -> ApiAnswer:
        return ApiAnswer(
            id=asked.id,
            environment=self.environment,
            request=asked.request,
            writer=writer,
            phase=phase,
            at_us=self._now_us(),
            status=status,
            sealed=sealed,
        )

    def _write(self, record: ApiAnswer) -> int:
        key = AnswerKey(self.environment, record.id).encode()
        return self._topic.write(key, API_ANSWER.encode(record))

    def _try(self, record: ApiAnswer) -> None:
        try:
            self._write(record)
        except HooklineError as error:
            log.warning("an answer was not kept", extra={"data": {"why": str(error)}})

    def _ledger(self) -> AnswerLedger:
        if self._known is None:
            why = self.reason() or "the topic is being read"
            raise TopicError(f"which Idempotency-Keys were used is not known yet: {why}")
        return self._known


def _digest(*parts: bytes) -> bytes:
    # The length before each: no two lists of parts are the same bytes.
    joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return blake2b(joined, digest_size=REQUEST_BYTES).digest()


def _cipher(asked: Asked) -> AESGCM:
    kdf = HKDF(SHA256(), 32, salt=asked.id.encode(), info=b"hookline api answer")
    return AESGCM(kdf.derive(asked.presented.encode()))
