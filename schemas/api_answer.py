"""What stands beside the connect sessions on their topic: the answers of the console's API that an
`Idempotency-Key` asks to be kept, so that every replica of the console gives the same one.

What is in an answer is sealed with a key that is made from the caller's own API token: whoever
reads the topic learns when something was asked, and nothing of what was answered.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

REQUEST_BYTES: Final = 16
_ANSWERS: Final = "answers"
_ENVIRONMENT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class AnswerPhase(StrEnum):
    """Of a request with a key: under way, answered, or given up so that it may be tried again."""

    STARTED = "started"
    DONE = "done"
    RELEASED = "released"


class ApiAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One record. `id` is made from the API token's id and the key, `request` is a digest of what
    was asked, `writer` tells apart who took the key, `sealed` is the answer once it is there."""

    id: str
    environment: str
    request: bytes
    writer: str
    phase: AnswerPhase
    at_us: int
    status: int = 0
    sealed: bytes = b""

    def __post_init__(self) -> None:
        if len(self.request) != REQUEST_BYTES:
            raise ValueError(f"a request's digest has {REQUEST_BYTES} bytes")


class AnswerKey(msgspec.Struct, frozen=True):
    """A record's key: `environment/answers/id`, which those who look for sessions pass over."""

    environment: str
    id: str

    def encode(self) -> bytes:
        """As Kafka has it."""
        return f"{self.environment}/{_ANSWERS}/{self.id}".encode()

    @classmethod
    def decode(cls, key: bytes | None) -> AnswerKey | None:
        """The key, or None if it is not of this form."""
        try:
            environment, kind, answer_id = (key or b"").decode("ascii").split("/")
        except ValueError:
            return None
        if kind != _ANSWERS or not (
            _ENVIRONMENT.fullmatch(environment) and _ID.fullmatch(answer_id)
        ):
            return None
        return cls(environment, answer_id)
