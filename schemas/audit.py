"""The audit log's record, and changes put together from records: pure, for whoever shows them.

A change is two records: the intent, safe on Kafka before anything is touched, and the result. An
intent without a result is a change that may have happened: its process died, or lost its answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

CHANGE_ID_BYTES: Final = 16
MAX_DETAILS: Final = 32
MAX_TEXT_CHARS: Final = 256

_ACTION: Final = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){1,2}", re.ASCII)


class Phase(StrEnum):
    """What a record says of its change."""

    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who does what, when, to what, from where. `details` holds names, counts and times."""

    change_id: bytes
    phase: Phase
    at_us: int
    environment: str
    who: str
    who_name: str = ""
    via: str = ""
    from_where: str = ""
    action: str
    target: str = ""
    connection: str = ""
    request_id: bytes = b""
    details: dict[str, str] = {}
    error_type: str = ""

    def __post_init__(self) -> None:
        if len(self.change_id) != CHANGE_ID_BYTES or len(self.request_id) not in (0, 16):
            raise ValueError("a change id and a request id have 16 bytes")
        if not _ACTION.fullmatch(self.action):
            raise ValueError(f"an action is written as in connection.pause, not {self.action!r}")
        if len(self.details) > MAX_DETAILS:
            raise ValueError(f"an audit record has at most {MAX_DETAILS} details")


class AuditedChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change: what was meant, and how it ended."""

    intent: AuditRecord
    result: AuditRecord | None = None

    @property
    def outcome(self) -> str:
        """`done`, `failed`, or `unknown`: no result was written."""
        return self.result.phase.value if self.result is not None else "unknown"


def changes(records: Iterable[AuditRecord]) -> list[AuditedChange]:
    """The changes that these records are of, the oldest first.

    A result whose intent is older than what was read stands for both.
    """
    found: dict[bytes, AuditedChange] = {}
    for record in records:
        before = found.get(record.change_id)
        if before is None:
            is_intent = record.phase is Phase.INTENT
            found[record.change_id] = AuditedChange(
                intent=record, result=None if is_intent else record
            )
        elif record.phase is not Phase.INTENT:
            found[record.change_id] = AuditedChange(intent=before.intent, result=record)
    return list(found.values())
